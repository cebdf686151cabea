"""The middleware: plain views, synchronous and asynchronous, know the user of an access token."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from unittest import mock

import pytest
from asgiref.sync import SyncToAsync, async_to_sync, sync_to_async
from django.contrib.auth.decorators import login_required, user_passes_test
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import SynchronousOnlyOperation
from django.core.signals import got_request_exception
from django.db import OperationalError, connection
from django.http import HttpResponse, JsonResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory
from django.urls import path
from django.views.debug import ExceptionReporter
from rest_framework.response import Response
from rest_framework.views import APIView

from jwt_sessions import credentials, sessions
from jwt_sessions.credentials import create_credential, exchange_credential
from jwt_sessions.exceptions import EndReason
from jwt_sessions.middleware import JWTSessionMiddleware
from jwt_sessions.models import Session
from jwt_sessions.types import ClientSecret
from tests.clients import Device
from tests.documentation import ROOT, python_blocks
from tests.factories import UserFactory
from tests.services import Service
from tests.statements import statements

pytestmark = pytest.mark.django_db

DJANGO = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
OURS = "jwt_sessions.middleware.JWTSessionMiddleware"
LOOKS = f"{__name__}.looking_middleware"
ALONE, BEHIND_DJANGO = [OURS], [*DJANGO, OURS]
COOKIE = "__Host-Http-jwt_sessions_refresh"
ANONYMOUS = {"user": None, "sid": None}


def said(user, auth):
    return JsonResponse(
        {"user": str(user.pk) if user.is_authenticated else None, "sid": auth.claims.get("sid") if auth else None}
    )


def who(request):
    return said(request.user, request.auth)


async def awho(request):
    return said(await request.auser(), request.auth)


def often(request):
    assert str(request.user) == str(async_to_sync(request.auser)())
    return said(request.user, request.auth)


async def aoften(request):
    first, second = await asyncio.gather(request.auser(), request.auser())
    assert first is second
    # What auser has found is at hand without another look.
    assert request.user == first
    return said(request.user, request.auth)


def silent(request):
    return HttpResponse("nobody asked")


async def asilent(request):
    return HttpResponse("nobody asked")


def broken(request):
    raise RuntimeError(f"for {request.user}")


async def abroken(request):
    raise RuntimeError(f"for {await request.auser()}")


def session_of(request):
    return HttpResponse(request.auth.session.device_name)


async def asession_of(request):
    await request.auser()
    return HttpResponse(await sync_to_async(lambda: request.auth.session.device_name)())


async def impatient(request):
    return said(request.user, request.auth)


class WhoOfAPI(APIView):
    permission_classes = ()

    def get(self, request):
        assert request._request.user is request.user
        return Response({"user": str(request.user.pk), "sid": request.auth and request.auth.claims["sid"]})


def is_staff(user):
    return user.is_staff


def looking_middleware(get_response):
    def look(request):
        assert request.user is not None
        assert str(request.user)
        return get_response(request)

    return look


urlpatterns = [
    path("sync/who/", who),
    path("async/who/", awho),
    path("sync/often/", often),
    path("async/often/", aoften),
    path("sync/silent/", silent),
    path("async/silent/", asilent),
    path("sync/broken/", broken),
    path("async/broken/", abroken),
    path("sync/members/", login_required(who)),
    path("async/members/", login_required(awho)),
    path("sync/staff/", user_passes_test(is_staff)(who)),
    path("async/staff/", user_passes_test(is_staff)(awho)),
    path("sync/session/", session_of),
    path("async/session/", asession_of),
    path("impatient/", impatient),
    path("api/", WhoOfAPI.as_view()),
]


class Browser:
    """Calls the views of one kind. ``pair`` is a sign-in that took place before."""

    def __init__(self, kind, user):
        self.kind = kind
        self.user = user
        self.pair = sessions.start(user)
        self.client = Client() if kind == "sync" else AsyncClient()

    @property
    def signed_in(self):
        return {"user": str(self.user.pk), "sid": str(self.pair.session.pk)}

    def get(self, name, *, authorization=None, **headers):
        if authorization is None:
            authorization = f"Bearer {self.pair.access_token}"
        if authorization:
            headers["Authorization"] = authorization
        url = f"/{self.kind}/{name}/"
        if self.kind == "sync":
            return self.client.get(url, headers=headers)
        return async_to_sync(self.client.get)(url, headers=headers)

    def who(self, **headers):
        return self.get("who", **headers).json()


@pytest.fixture(autouse=True)
def plain_views(settings):
    settings.ROOT_URLCONF = __name__
    settings.LOGIN_URL = "/sign-in/"
    settings.MIDDLEWARE = ALONE


@pytest.fixture(params=["sync", "async"])
def browser(request, user):
    return Browser(request.param, user)


@pytest.fixture(params=[ALONE, BEHIND_DJANGO], ids=["alone", "behind Django's"])
def middleware(request, settings):
    settings.MIDDLEWARE = request.param


# Who the user is


def test_a_good_token_says_who_the_user_is(middleware, browser, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert browser.who() == browser.signed_in


def test_the_scheme_is_read_in_any_case(browser):
    assert browser.who(authorization=f"bEARER  {browser.pair.access_token} ") == browser.signed_in


@pytest.mark.parametrize("authorization", ["", "Basic YW5uOnB3", "Bearerless", "Token abc"])
def test_without_an_access_token_the_user_is_anonymous(middleware, browser, authorization, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert browser.who(authorization=authorization) == ANONYMOUS


@pytest.mark.parametrize(
    "garbage",
    [
        "Bearer",
        "Bearer ",
        "Bearer abc",
        "Bearer a b",
        "Bearer \xff\xfe.\x80.\x81",
        "Bearer " + "a" * 20_000,
        "bearer ...",
    ],
)
def test_garbage_is_an_anonymous_user_and_costs_nothing(middleware, browser, garbage, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = browser.get("who", authorization=garbage)
    assert (response.status_code, response.json()) == (200, ANONYMOUS)


def test_a_forged_token_is_an_anonymous_user(middleware, browser, django_assert_num_queries):
    head, _, signature = browser.pair.access_token.rpartition(".")
    forged = f"{head}.{'A' * len(signature)}"
    with django_assert_num_queries(0):
        assert browser.who(authorization=f"Bearer {forged}") == ANONYMOUS


def test_a_refresh_token_is_no_access_token(browser):
    assert browser.who(authorization=f"Bearer {browser.pair.refresh_token}") == ANONYMOUS


def test_an_expired_token_is_an_anonymous_user(clock, middleware, browser, django_assert_num_queries):
    browser.pair = sessions.start(browser.user)
    assert browser.who() == browser.signed_in
    clock.shift(timedelta(minutes=5))
    with django_assert_num_queries(0):
        assert browser.who() == ANONYMOUS


def test_the_end_of_a_session_bites_on_the_next_request(middleware, browser):
    assert browser.who() == browser.signed_in
    sessions.end(browser.pair.session, reason=EndReason.ENDED_BY_ADMIN)
    assert browser.who() == ANONYMOUS


def test_a_deactivated_user_is_anonymous_and_the_end_is_stored(middleware, browser):
    type(browser.user).objects.update(is_active=False)
    assert browser.who() == ANONYMOUS
    assert Session.objects.get().end_reason == EndReason.USER_INACTIVE


def test_an_api_credential_is_somebody_without_a_row(middleware, browser, django_assert_num_queries):
    new = create_credential(name="nightly import")
    secret = ClientSecret(str(new.credential.client_id), new.client_secret)
    token = exchange_credential(secret, request=RequestFactory().post("/")).access_token
    with django_assert_num_queries(1):
        answer = browser.who(authorization=f"Bearer {token}")
    assert answer == {"user": str(new.credential.client_id), "sid": None}


# Beside Django's own session


@pytest.mark.parametrize("authorization", ["", "Basic YW5uOnB3"])
def test_without_an_access_token_who_an_earlier_middleware_found_stays(settings, browser, authorization):
    settings.MIDDLEWARE = BEHIND_DJANGO
    other = UserFactory()
    browser.client.force_login(other)
    assert browser.who(authorization=authorization) == {"user": str(other.pk), "sid": None}


def test_an_access_token_wins_over_the_cookie_of_another_user(settings, browser, django_assert_num_queries):
    settings.MIDDLEWARE = BEHIND_DJANGO
    browser.client.force_login(UserFactory())
    with django_assert_num_queries(1):
        assert browser.who() == browser.signed_in


@pytest.mark.parametrize("bad", ["Bearer", "Bearer abc", "ended"])
def test_a_bad_access_token_is_anonymous_although_a_cookie_is_good(settings, browser, bad):
    settings.MIDDLEWARE = BEHIND_DJANGO
    browser.client.force_login(browser.user)
    if bad == "ended":
        sessions.end(browser.pair.session, reason=EndReason.LOGOUT)
        bad = None
    assert browser.who(authorization=bad) == ANONYMOUS


def test_what_an_earlier_middleware_put_into_auth_stays():
    request = RequestFactory().get("/")
    request.user, request.auth = "an earlier user", "an earlier token"
    JWTSessionMiddleware(silent)(request)
    assert (request.user, request.auth) == ("an earlier user", "an earlier token")


def test_without_a_token_auth_is_none_itself():
    request = RequestFactory().get("/")
    JWTSessionMiddleware(silent)(request)
    assert request.auth is None
    assert type(request.user) is AnonymousUser
    assert type(async_to_sync(request.auser)()) is AnonymousUser


# What it costs


def test_a_view_that_does_not_look_costs_nothing(middleware, browser, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert browser.get("silent").content == b"nobody asked"


def test_however_often_a_view_looks_it_costs_one_statement(middleware, browser, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert browser.get("often").json() == browser.signed_in


def test_a_refused_token_is_looked_at_once(middleware, browser):
    sessions.end(browser.pair.session, reason=EndReason.LOGOUT)
    answers = []
    assert statements(lambda: answers.append(browser.get("often").json())) == ["SELECT"]
    assert answers == [ANONYMOUS]


def test_with_nothing_checked_the_claims_alone_decide(jwt_settings, middleware, browser, django_assert_num_queries):
    jwt_settings(SESSION_CHECK="none")
    with django_assert_num_queries(0):
        assert browser.who() == browser.signed_in


def test_a_request_is_a_sign_of_the_user_unless_it_is_marked_as_background(clock, browser):
    browser.pair = sessions.start(browser.user)
    session = browser.pair.session
    clock.shift(timedelta(minutes=2))
    for headers, moved in ({"X-Session-Background": "1"}, False), ({}, True):
        before = Session.objects.get(pk=session.pk).last_active_at
        assert browser.who(**headers) == browser.signed_in
        after = Session.objects.get(pk=session.pk).last_active_at
        assert (after > before) is moved


def test_a_request_that_nobody_asks_about_is_no_sign_of_the_user(clock, browser):
    browser.pair = sessions.start(browser.user)
    before = Session.objects.get(pk=browser.pair.session.pk).last_active_at
    clock.shift(timedelta(minutes=2))
    browser.get("silent")
    assert Session.objects.get(pk=browser.pair.session.pk).last_active_at == before


@pytest.mark.parametrize("view", [asilent, awho])
@pytest.mark.parametrize("signed_in", [True, False])
def test_asynchronous_requests_change_threads_only_to_read(user, view, signed_in):
    headers = {"Authorization": f"Bearer {sessions.start(user).access_token}"} if signed_in else {}
    request = AsyncRequestFactory().get("/", headers=headers)
    call, hops = SyncToAsync.__call__, []

    async def counted(self, *args, **kwargs):
        hops.append(self.func)
        return await call(self, *args, **kwargs)

    with mock.patch.object(SyncToAsync, "__call__", counted):
        async_to_sync(JWTSessionMiddleware(view))(request)
    assert len(hops) == (view is awho and signed_in)


def test_the_synchronous_user_in_an_asynchronous_view_is_refused_as_djangos_own_is(user):
    headers = {"Authorization": f"Bearer {sessions.start(user).access_token}"}
    with pytest.raises(SynchronousOnlyOperation):
        async_to_sync(AsyncClient().get)("/impatient/", headers=headers)


def test_an_outage_of_the_database_makes_nobody_anonymous(middleware, browser):
    def fail(execute, sql, params, many, context):
        raise OperationalError("the server closed the connection")

    with connection.execute_wrapper(fail), pytest.raises(OperationalError):
        browser.get("who")


# Django's decorators, caches and error reports


def test_login_required(middleware, browser):
    assert browser.get("members").json() == browser.signed_in
    refused = browser.get("members", authorization="Bearer abc")
    assert (refused.status_code, refused["Location"]) == (302, f"/sign-in/?next=/{browser.kind}/members/")


def test_user_passes_test(middleware, browser):
    assert browser.get("staff").status_code == 302
    type(browser.user).objects.update(is_staff=True)
    assert browser.get("staff").json() == browser.signed_in


def test_login_required_for_every_view(settings, browser):
    settings.MIDDLEWARE = [*ALONE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert browser.get("silent").status_code == 200
    assert browser.get("silent", authorization="").status_code == 302


@pytest.mark.parametrize("authorization", [None, ""])
def test_no_cache_between_gives_one_users_page_to_another(middleware, browser, authorization):
    assert "Authorization" in browser.get("who", authorization=authorization)["Vary"].split(", ")


def test_djangos_cache_for_all_pages_keeps_users_apart(settings, user):
    settings.MIDDLEWARE = [
        "django.middleware.cache.UpdateCacheMiddleware",
        OURS,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    ann, bob = Browser("sync", user), Browser("sync", UserFactory())
    for _ in range(2):
        assert [ann.who(), bob.who(), ann.who(authorization="")] == [ann.signed_in, bob.signed_in, ANONYMOUS]
    with mock.patch.object(sessions, "authorize") as authorize:
        assert ann.who() == ann.signed_in
    authorize.assert_not_called()


def reports_of(browser):
    """What Django would send to ADMINS about an error in a view."""
    errors = []

    def keep(request, **kwargs):
        errors.append((request, *sys.exc_info()))

    browser.client.raise_request_exception = False
    browser.client.cookies[COOKIE] = browser.pair.refresh_token
    got_request_exception.connect(keep)
    try:
        assert browser.get("broken").status_code == 500
    finally:
        got_request_exception.disconnect(keep)
    # Written here, as a report asks for the user: the thread of an asynchronous error has a connection of its own.
    reporters = [ExceptionReporter(*error) for error in errors]
    return [text for each in reporters for text in (each.get_traceback_html(), each.get_traceback_text())]


def assert_hidden(browser, texts):
    access = browser.pair.access_token
    for text in texts:
        for secret in (access, access.rpartition(".")[2], browser.pair.refresh_token):
            assert secret not in text


def test_the_report_of_an_error_in_a_view_hides_the_tokens(middleware, browser):
    texts = reports_of(browser)
    assert f"for {browser.user}" in texts[0]
    assert_hidden(browser, texts)


def test_the_report_of_an_outage_hides_the_tokens(middleware, browser):
    def fail(execute, sql, params, many, context):
        raise OperationalError("the server closed the connection")

    with connection.execute_wrapper(fail):
        texts = reports_of(browser)
    assert "the server closed the connection" in texts[0]
    assert_hidden(browser, texts)


# CSRF


@pytest.fixture
def change_address(settings):
    """The view of the documentation that is exempt from the check."""
    block = next(block for block in python_blocks(ROOT / "docs" / "plain-views.md") if "csrf_exempt" in block)
    namespace = {"__name__": "example"}
    exec(block, namespace)
    settings.MIDDLEWARE = [DJANGO[0], "django.middleware.csrf.CsrfViewMiddleware", *BEHIND_DJANGO[1:]]
    with mock.patch(f"{__name__}.urlpatterns", [*urlpatterns, path("address/", namespace["change_address"])]):
        yield lambda client, **headers: client.post("/address/", {"email": "ann@example.org"}, headers=headers)


def test_a_token_of_an_api_credential_has_no_address_to_change(change_address, db):
    new = credentials.create_credential(name="A service")
    secret = ClientSecret(str(new.credential.client_id), new.client_secret)
    token = exchange_credential(secret, request=RequestFactory().post("/")).access_token
    client = Client(enforce_csrf_checks=True)
    assert change_address(client, Authorization=f"Bearer {token}").status_code == 403


def test_a_client_with_a_token_needs_no_csrf_token(change_address, user):
    answer = change_address(
        Client(enforce_csrf_checks=True), Authorization=f"Bearer {sessions.start(user).access_token}"
    )
    assert (answer.status_code, answer.json()) == (200, {"email": "ann@example.org"})
    user.refresh_from_db()
    assert user.email == "ann@example.org"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer abc"}])
def test_a_foreign_site_cannot_use_the_session_cookie_at_an_exempt_view(change_address, user, headers):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    before = user.email
    assert change_address(client, **headers).status_code == 401
    user.refresh_from_db()
    assert user.email == before


# Django REST framework behind it


@pytest.fixture(params=[(ALONE, 1), (BEHIND_DJANGO, 1), ([*ALONE, LOOKS], 2)], ids=["alone", "django", "looked"])
def api(request, settings):
    settings.MIDDLEWARE, statements = request.param
    return statements


def test_a_view_of_rest_framework_authenticates_as_ever(api, user, django_assert_num_queries):
    pair = sessions.start(user)
    with django_assert_num_queries(api):
        response = Client().get("/api/", headers={"Authorization": f"Bearer {pair.access_token}"})
    assert response.json() == {"user": str(user.pk), "sid": str(pair.session.pk)}


def test_a_view_of_rest_framework_refuses_as_ever(api, user):
    pair = sessions.start(user)
    sessions.end(pair.session, reason=EndReason.LOGOUT)
    response = Client().get("/api/", headers={"Authorization": f"Bearer {pair.access_token}"})
    assert (response.status_code, response.json()["code"]) == (401, "SESSION_ENDED")
    assert 'error="invalid_token"' in response["WWW-Authenticate"]
    assert Client().get("/api/").json() == {"user": "None", "sid": None}


def test_attack_the_token_of_a_credential_is_no_way_into_the_admin(client, settings):
    """Plain views, the admin among them, go by the rights of request.user."""
    settings.ROOT_URLCONF = "example_project.urls"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "jwt_sessions.middleware.JWTSessionMiddleware"]
    administrator = UserFactory(is_staff=True, is_superuser=True)
    service = Service(user=administrator).exchanged()
    assert client.get("/admin/", headers=service.bearer).status_code == 302
    device = Device(administrator).sign_in()
    assert client.get("/admin/", headers=device.bearer).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_view_that_reads_the_session_of_a_deleted_user_is_answered_with_401(browser, jwt_settings):
    jwt_settings(SESSION_CHECK="none")
    assert browser.get("session").status_code == 200
    browser.user.delete()
    response = browser.get("session")
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    assert response["Vary"] == "Authorization"
