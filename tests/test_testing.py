"""What users' own tests get: a signed-in client, a clock that stands, assertions that pass and fail as they say."""

from __future__ import annotations

import asyncio
import time
import unittest
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.signals import user_logged_out
from django.db import connection
from django.http import JsonResponse
from django.test import AsyncClient, TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from jwt_sessions import sessions, signals
from jwt_sessions.exceptions import EndReason, InvalidTarget, InvalidToken, SessionEnded, TenantForbidden
from jwt_sessions.models import RefreshToken, Session, SessionPolicy, TokenVersion
from jwt_sessions.testing import (
    FrozenClock,
    SessionClient,
    assert_live_sessions,
    assert_session_ended,
    assert_session_live,
    frozen_time,
)
from jwt_sessions.tokens import access
from tests.clients import CHROME
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOBODY = UUID(int=0)


def plain(request):
    return JsonResponse({"user": str(request.user.pk)})


async def aplain(request):
    return JsonResponse({"user": str((await request.auser()).pk)})


class API(APIView):
    def get(self, request):
        return Response({"user": str(request.user.pk)})


urlpatterns = [path("plain/", plain), path("aplain/", aplain), path("rest/", API.as_view())]


@pytest.fixture
def client(user):
    client = SessionClient()
    client.sign_in(user)
    return client


# The client


def test_the_client_signs_in_without_http(user, django_assert_num_queries):
    told = []

    def tell(request, **kwargs):
        told.append(request)

    signals.session_started.connect(tell)
    try:
        client = SessionClient(headers={"user-agent": CHROME}, REMOTE_ADDR="192.0.2.7")
        pair = client.sign_in(user, device_name="Ann's phone")
    finally:
        signals.session_started.disconnect(tell)
    assert pair is client.pair
    session = Session.objects.with_device_info().get()
    assert (session.pk, session.user_id) == (pair.session.pk, user.pk)
    assert (session.device_name, session.device_info) == ("Ann's phone", "Chrome on Windows")
    assert session.ip_address == "192.0.2.7"
    assert [request.headers["User-Agent"] for request in told] == [CHROME]


def test_the_client_is_authenticated(client, user):
    assert client.get("/api/me/").json()["email"] == user.email
    posted = client.post("/api/notes/", {"title": "by the client"}, format="json")
    assert (posted.status_code, posted.json()["title"]) == (201, "by the client")


def test_the_client_is_authenticated_in_plain_views(client, user, settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["jwt_sessions.middleware.JWTSessionMiddleware"]
    assert client.get("/plain/").json() == {"user": str(user.pk)}
    assert async_to_sync(AsyncClient().get)("/aplain/", headers=client.bearer).json() == {"user": str(user.pk)}


def test_audience_and_tenant_are_those_asked_for(user, jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"], TENANTS=lambda user: ["acme"])
    client = SessionClient()
    pair = client.sign_in(user, audience="reports", tenant="acme")
    claims = access.decode(pair.access_token, timezone.now())
    assert (claims["aud"], claims["tenantId"]) == ("reports", "acme")
    claims = access.decode(client.refresh(audience="api").access_token, timezone.now())
    assert (claims["aud"], "tenantId" in claims) == ("api", False)
    with pytest.raises(TenantForbidden):
        client.sign_in(user, tenant="umbrella")
    with pytest.raises(InvalidTarget):
        client.sign_in(user, audience="elsewhere")


def test_one_client_may_replace_the_others(user, client):
    other = SessionClient()
    other.sign_in(user, replace_others=True)
    assert_session_ended(client.jwt_session, EndReason.REPLACED)
    assert_session_live(other.jwt_session)


def test_a_refresh_gives_the_client_new_tokens(clock, user):
    client = SessionClient()
    before = client.sign_in(user)
    clock.shift(timedelta(minutes=10))
    assert client.get("/api/me/").json()["code"] == "EXPIRED_TOKEN"
    pair = client.refresh()
    assert pair is client.pair
    assert pair.refresh_token != before.refresh_token
    assert client.get("/api/me/").status_code == 200
    assert client.jwt_session.generation == 1


def test_a_refresh_in_the_background_is_no_sign_of_the_user(clock, user, jwt_settings):
    jwt_settings(ROTATE_REFRESH_TOKENS=False)
    client = SessionClient()
    client.sign_in(user)
    clock.shift(timedelta(minutes=10))
    client.refresh(background=True)
    assert client.jwt_session.last_active_at == client.jwt_session.created_at
    client.refresh()
    assert client.jwt_session.last_active_at == timezone.now()


def test_what_a_verb_refuses_the_client_raises(client):
    sessions.end(client.jwt_session, reason=EndReason.ENDED_BY_ADMIN)
    assert client.get("/api/me/").json()["reason"] == "ended_by_admin"
    with pytest.raises(SessionEnded):
        client.refresh()


def test_the_session_is_fresh_from_the_database(client):
    Session.objects.update(device_name="renamed")
    assert client.jwt_session.device_name == "renamed"
    Session.objects.all().delete()
    with pytest.raises(Session.DoesNotExist):
        assert client.jwt_session


def test_signing_out_ends_the_session_and_makes_the_client_anonymous(client, user):
    session, told = client.jwt_session, []

    def tell(user, **kwargs):
        told.append(user)

    user_logged_out.connect(tell)
    try:
        assert client.sign_out() is True
    finally:
        user_logged_out.disconnect(tell)
    assert told == [user]
    assert_session_ended(session, EndReason.LOGOUT)
    assert client.get("/api/me/").json() == {"detail": "Authentication credentials were not provided."}


def test_signing_out_of_a_dead_session_says_so(client):
    sessions.end(client.jwt_session, reason=EndReason.ENDED_BY_USER)
    assert client.sign_out() is False


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.pair,
        lambda client: client.bearer,
        lambda client: client.jwt_session,
        lambda client: client.refresh(),
        lambda client: client.sign_out(),
    ],
)
def test_without_a_sign_in_the_client_says_what_to_do(ask):
    with pytest.raises(RuntimeError, match=r"call sign_in\(user\) first"):
        ask(SessionClient())


def test_logging_out_as_with_rest_framework_forgets_the_tokens_and_ends_nothing(client):
    session = client.jwt_session
    client.logout()
    assert client.get("/api/me/").status_code == 401
    assert_session_live(session)


def test_what_rest_frameworks_client_can_do_still_works(client, settings):
    assert isinstance(client, APIClient)
    settings.ROOT_URLCONF = __name__
    other = UserFactory()
    client.force_authenticate(other)
    assert client.get("/rest/").json() == {"user": str(other.pk)}
    client.force_authenticate(None)
    client.force_login(other)
    assert client.session["_auth_user_id"] == str(other.pk)


def test_a_request_keeps_an_authorization_of_its_own(client):
    other = SessionClient()
    other.sign_in(UserFactory(email="other@example.com"))
    assert client.get("/api/me/", headers=other.bearer).json()["email"] == "other@example.com"
    assert client.get("/api/me/", headers={"Authorization": ""}).status_code == 401


def test_the_client_shows_no_token(client):
    shown = repr(client) + repr(client.pair)
    assert client.pair.access_token not in shown
    assert client.pair.refresh_token not in shown


# The clock


def test_time_stands_until_it_is_moved():
    before = timezone.now()
    with frozen_time(NOON) as clock:
        assert timezone.now() == timezone.now() == NOON
        clock.shift(timedelta(hours=1))
        assert timezone.now() == NOON + timedelta(hours=1)
        clock.shift(-timedelta(hours=2))
        assert timezone.now() == NOON - timedelta(hours=1)
        clock.move_to(NOON + timedelta(days=1))
        assert timezone.localtime() == NOON + timedelta(days=1)
    assert timezone.now() >= before


def test_the_innermost_clock_counts_and_an_error_gives_time_back():
    with frozen_time(NOON):
        with pytest.raises(KeyError), frozen_time(NOON + timedelta(days=1)):
            assert timezone.now() == NOON + timedelta(days=1)
            raise KeyError
        assert timezone.now() == NOON
    assert not isinstance(timezone.now, FrozenClock)


def test_sessions_and_tokens_obey_the_clock(user, jwt_settings):
    jwt_settings(IDLE_TIMEOUT=timedelta(hours=1))
    with frozen_time(NOON) as clock:
        client = SessionClient()
        pair = client.sign_in(user)
        claims = access.decode(pair.access_token, timezone.now())
        assert (claims["iat"], pair.session.created_at) == (int(NOON.timestamp()), NOON)
        clock.shift(timedelta(minutes=5) - timedelta(seconds=1))
        assert client.get("/api/me/").status_code == 200
        clock.shift(timedelta(seconds=1))
        assert client.get("/api/me/").json()["code"] == "EXPIRED_TOKEN"
        client.refresh()
        assert client.jwt_session.last_active_at == timezone.now()
        clock.shift(timedelta(hours=1))
        assert_session_ended(pair.session, EndReason.IDLE_TIMEOUT)
        with pytest.raises(SessionEnded):
            client.refresh()


def test_a_token_from_the_future_is_refused(client):
    with frozen_time(timezone.now() - timedelta(hours=1)), pytest.raises(InvalidToken):
        sessions.authorize(client.pair.access_token)


@frozen_time(NOON)
def test_it_decorates_functions(user):
    assert sessions.start(user).session.created_at == NOON


def test_it_decorates_coroutine_functions():
    @frozen_time(NOON)
    async def told():
        await asyncio.sleep(0)
        return timezone.now()

    assert asyncio.run(told()) == NOON
    assert timezone.now() != NOON


@frozen_time(NOON)
class TestDecoratedClass(TestCase):
    client_class = SessionClient

    def test_every_test_of_the_class_is_frozen(self):
        self.client.sign_in(UserFactory())
        self.assertEqual(self.client.jwt_session.created_at, NOON)

    def test_the_assertions_work_with_unittest(self):
        with self.assertRaisesRegex(self.failureException, "does not exist"):
            assert_session_live(NOBODY)


def test_other_clocks_go_on():
    with frozen_time(NOON):
        assert abs(time.time() - NOON.timestamp()) > 1
        assert abs(datetime.now(UTC) - NOON) > timedelta(seconds=1)


@pytest.mark.parametrize("use_tz", [True, False])
def test_the_moment_must_be_of_the_kind_that_the_project_uses(settings, use_tz):
    settings.USE_TZ = use_tz
    right, wrong = (NOON, NOON.replace(tzinfo=None)) if use_tz else (NOON.replace(tzinfo=None), NOON)
    with pytest.raises(ValueError, match=f"must be {'aware' if use_tz else 'naive'}, as USE_TZ is {use_tz}"):
        frozen_time(wrong)
    with frozen_time(right) as clock:
        assert timezone.now() == right
        with pytest.raises(ValueError, match="must be"):
            clock.move_to(wrong)


# The assertions


@pytest.fixture
def frozen():
    with frozen_time(NOON) as clock:
        yield clock


@pytest.fixture
def session(frozen, user):
    return sessions.start(user, device_name="Phone").session


def failure(assertion, *arguments):
    with pytest.raises(AssertionError) as raised:
        assertion(*arguments)
    return str(raised.value)


def test_a_living_session(session, user):
    assert_session_live(session)
    assert_session_live(session.pk)
    assert_live_sessions(user, 1)
    message = failure(assert_session_ended, session)
    assert message == (
        f"Session {session.pk} lives until 2026-03-08T12:00:00+00:00 ('expired', set by refresh token);"
        " it is 2026-03-01T12:00:00+00:00."
    )
    assert failure(assert_session_ended, session.pk, "logout") == message


def test_a_living_session_without_deadlines(session, jwt_settings):
    jwt_settings(MAX_SESSION_LIFETIME=None)
    Session.objects.update(refresh_expires_at=None)
    assert_session_live(session)
    assert failure(assert_session_ended, session) == f"Session {session.pk} lives and has no deadline."


def test_a_session_that_was_ended(session, user):
    sessions.end(session.pk, reason=EndReason.LOGOUT)
    assert session.ended_at is None
    assert_session_ended(session)
    assert_session_ended(session.pk, "logout")
    assert_session_ended(session, EndReason.LOGOUT)
    assert_live_sessions(user, 0)
    end = "it ended by 'logout', at 2026-03-01T12:00:00+00:00."
    assert failure(assert_session_live, session) == f"Session {session.pk} does not live: {end}"
    assert (
        failure(assert_session_ended, session, "idle_timeout")
        == f"Session {session.pk} was to end by 'idle_timeout', but {end}"
    )


def test_an_unsaved_end_counts_for_nothing(session):
    session.ended_at, session.end_reason = NOON, EndReason.LOGOUT
    assert_session_live(session)


def end_by_policy(session):
    SessionPolicy.objects.create(audience="api", max_lifetime=timedelta(hours=1))


@pytest.mark.parametrize(
    ("die", "later", "reason"),
    [
        (lambda session: None, timedelta(days=7), EndReason.EXPIRED),
        (end_by_policy, timedelta(hours=1), EndReason.MAX_LIFETIME),
        (lambda session: TokenVersion.objects.raise_for(session.user), timedelta(0), EndReason.VERSION_RAISED),
        (lambda session: type(session.user).objects.update(password="x"), timedelta(0), EndReason.PASSWORD_CHANGED),
        (lambda session: type(session.user).objects.update(is_active=False), timedelta(0), EndReason.USER_INACTIVE),
    ],
)
def test_a_session_that_is_over_before_anybody_wrote_it(session, frozen, die, later, reason):
    die(session)
    frozen.shift(later)
    with CaptureQueriesContext(connection) as queries:
        assert_session_ended(session, reason)
        message = failure(assert_session_live, session)
        wrong = failure(assert_session_ended, session, "logout")
        assert_live_sessions(session.user, 0)
    assert message.endswith(f"does not live: it ended by {reason.value!r}, which the next request will write.")
    assert wrong.endswith(
        f"was to end by 'logout', but it ended by {reason.value!r}, which the next request will write."
    )
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}
    assert Session.objects.get().ended_at is None


def test_a_deleted_session_is_over_without_a_reason(session, user):
    RefreshToken.objects.all().delete()
    Session.objects.all().delete()
    assert_session_ended(session)
    assert_session_ended(session.pk)
    assert_live_sessions(user, 0)
    assert failure(assert_session_live, session) == f"Session {session.pk} does not exist."
    message = f"Session {session.pk} does not exist, so it has no reason 'logout'."
    assert failure(assert_session_ended, session, "logout") == message


def test_a_reason_that_there_is_not_is_a_mistake_of_the_test(session):
    with pytest.raises(ValueError, match="sign_out"):
        assert_session_ended(session, "sign_out")


def test_counting_the_living_sessions_of_a_user(session, user, frozen):
    frozen.shift(timedelta(seconds=1))
    second = SessionClient(headers={"user-agent": CHROME})
    second.sign_in(user)
    third = sessions.start(user).session
    sessions.start(UserFactory())
    assert_live_sessions(user, 3)
    sessions.end(third, reason=EndReason.LOGOUT)
    assert_live_sessions(user, 2)
    assert failure(assert_live_sessions, user, 1) == (
        f"{user} has 2 living sessions, not 1.\n  {second.pair.session.pk} Chrome on Windows\n  {session.pk} Phone"
    )
    sessions.end_all(user, reason=EndReason.LOGOUT)
    assert failure(assert_live_sessions, user, 2) == f"{user} has 0 living sessions, not 2."


def test_the_failures_are_those_of_unittest_and_pytest():
    assert unittest.TestCase.failureException is AssertionError
    with pytest.raises(unittest.TestCase.failureException):
        assert_session_live(NOBODY)
