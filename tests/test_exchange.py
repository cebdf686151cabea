"""The exchange of simplejwt's refresh tokens: what passes, once, and what it is worth; and what never passes."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import sys
import threading
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.signals import user_logged_in
from django.core.signals import got_request_exception
from django.db import DatabaseError, connection, connections, transaction
from django.test import Client
from django.utils import timezone
from django.views.debug import ExceptionReporter
from jwt.utils import base64url_decode, base64url_encode
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from example_project.accounts.models import Tenant, User
from jwt_sessions import login, sessions, signals
from jwt_sessions.exceptions import InvalidToken, IssueDenied
from jwt_sessions.login import simplejwt as simplejwt_rules
from jwt_sessions.models import ExchangedToken, Session
from jwt_sessions.sessions import purge
from tests.clients import CHROME, Device
from tests.factories import PASSWORD, UserFactory

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
REFRESH = "urn:ietf:params:oauth:token-type:refresh_token"
URL = "/auth/token/"
SIGNING_KEY = api_settings.SIGNING_KEY
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def switched_on(jwt_settings):
    jwt_settings(EXCHANGE_SIMPLEJWT_TOKENS=True)


@pytest.fixture
def simplejwt(monkeypatch):
    """Change what simplejwt was configured with."""

    def change(**keys: object) -> None:
        for key, value in keys.items():
            monkeypatch.setattr(api_settings, key, value)

    return change


def parameters(token: object, **more: object) -> dict[str, Any]:
    return {"grant_type": GRANT, "subject_token": str(token), "subject_token_type": REFRESH, **more}


def exchange(token: object, headers: dict[str, str] | None = None, **more: object) -> Any:
    http = Client(headers={"user-agent": CHROME, **(headers or {})})
    return http.post(URL, parameters(token, **more), content_type="application/json")


def assert_refused(response: Any, status: int = 400, code: str = "INVALID_TOKEN", error: str = "invalid_grant") -> None:
    body = response.json()
    assert (response.status_code, body["code"], body["error"]) == (status, code, error)
    assert not Session.objects.exists()
    assert not ExchangedToken.objects.exists()


def signed(**claims: object) -> str:
    """A token that says what one of simplejwt's would, but for some claims; ``None`` leaves one out."""
    now = int(timezone.now().timestamp())
    genuine = {"token_type": "refresh", "exp": now + 3600, "iat": now, "jti": uuid4().hex, "user_id": "1"}
    payload = {name: value for name, value in {**genuine, **claims}.items() if value is not None}
    return jwt.encode(payload, SIGNING_KEY, "HS256")


# What passes


def test_a_token_is_exchanged_for_a_session(user):
    answer = exchange(RefreshToken.for_user(user), device_name="Ann's phone").json()
    assert answer["issued_token_type"] == ACCESS
    assert set(answer) == {
        *("access_token", "token_type", "expires_in", "refresh_token", "refresh_in"),
        *("session_id", "session_expires_at", "idle_expires_at", "issued_token_type"),
    }
    device = Device(user)
    device.tokens = answer
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200
    session = Session.objects.get()
    assert (session.user, session.device_name, str(session.pk)) == (user, "Ann's phone", answer["session_id"])
    assert session.device_info == "Chrome on Windows"


def test_a_form_is_taken_as_rfc_8693_sends_it(user, client):
    body = urlencode(parameters(RefreshToken.for_user(user), requested_token_type=ACCESS, scope="", actor_token=""))
    response = client.post(URL, body, content_type="application/x-www-form-urlencoded")
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert response["Pragma"] == "no-cache"


def test_the_refresh_token_can_come_in_a_cookie(user):
    response = exchange(RefreshToken.for_user(user), delivery="cookie", headers={"Sec-Fetch-Site": "same-origin"})
    assert "refresh_token" not in response.json()
    assert response.cookies["__Host-Http-jwt_sessions_refresh"]["httponly"]


def test_a_token_may_be_for_another_audience_and_for_a_tenant(user, jwt_settings):
    jwt_settings(AUDIENCES=["api", "app"])
    tenant = Tenant.objects.create(pk="acme", name="Acme")
    tenant.memberships.create(user=user, accepted_at=timezone.now())
    answer = exchange(RefreshToken.for_user(user), audience="app", tenantId="acme").json()
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert (claims["aud"], claims["tenantId"], answer["tenantId"]) == ("app", "acme", "acme")


def test_nobody_signs_in_by_an_exchange_but_a_session_starts(user, caplog):
    heard = []

    def listen(sender, signal, **kwargs):
        heard.append(signal)

    for signal in (user_logged_in, signals.session_started):
        signal.connect(listen)
    token = RefreshToken.for_user(user)
    with caplog.at_level(logging.INFO, "jwt_sessions.security"):
        exchange(token)
    for signal in (user_logged_in, signals.session_started):
        signal.disconnect(listen)
    assert heard == [signals.session_started]
    session = Session.objects.get()
    assert f"session {session.pk} of user {user.pk} is for a token of simplejwt" in caplog.text
    assert str(token) not in caplog.text
    assert token["jti"] not in caplog.text


def test_a_token_of_an_older_simplejwt_names_its_user_by_a_number(user, simplejwt):
    simplejwt(USER_ID_FIELD="is_active")
    assert exchange(signed(user_id=1)).status_code == 200
    assert Session.objects.get().user == user


def test_a_user_is_found_by_the_field_and_claim_of_the_project(user, simplejwt):
    simplejwt(USER_ID_FIELD="email", USER_ID_CLAIM="sub")
    assert exchange(signed(sub=user.email, user_id=None)).status_code == 200
    assert Session.objects.get().user == user


# What it is worth


def test_a_session_counts_from_when_the_token_was_issued(user, clock):
    issued = datetime(2026, 3, 1, 12, tzinfo=UTC)
    token = RefreshToken.for_user(user)
    clock.shift(5 * HOUR)
    answer = exchange(token).json()
    session = Session.objects.get()
    assert session.authenticated_at == session.created_at == issued
    assert session.last_active_at == issued + 5 * HOUR
    assert session.refresh_expires_at == issued + 5 * HOUR + 7 * DAY
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert claims["auth_time"] == issued.timestamp()
    assert claims["iat"] == (issued + 5 * HOUR).timestamp()


def test_without_time_zones_a_session_counts_from_the_same_moment(user, clock, settings):
    settings.USE_TZ, settings.TIME_ZONE = False, "Asia/Tokyo"
    token = RefreshToken.for_user(user)
    clock.shift(HOUR)
    pair = login.exchange_token(str(token))
    assert pair.session.created_at == timezone.now() - HOUR
    assert ExchangedToken.objects.get().expires_at == timezone.now() + 23 * HOUR


def test_where_simplejwt_rotates_a_token_says_nothing_of_a_recent_login(user, clock, simplejwt):
    simplejwt(ROTATE_REFRESH_TOKENS=True)
    exchange(RefreshToken.for_user(user))
    assert Session.objects.get().authenticated_at == timezone.now() - DAY


def test_a_token_from_a_clock_that_is_ahead_counts_from_now(user, clock):
    token = RefreshToken.for_user(user)
    token.set_iat(at_time=timezone.now() + timedelta(milliseconds=900))
    exchange(token)
    assert Session.objects.get().created_at == timezone.now()


def test_a_session_that_would_be_over_is_not_started(user, clock, jwt_settings):
    jwt_settings(MAX_SESSION_LIFETIME=HOUR)
    token = RefreshToken.for_user(user)
    clock.shift(HOUR)
    response = exchange(token)
    assert_refused(response, code="SESSION_ENDED")
    assert response.json()["reason"] == "max_lifetime"
    clock.shift(-timedelta(seconds=1))
    assert exchange(token).json()["expires_in"] == 1


def test_the_limit_on_sessions_counts_exchanged_ones(user, jwt_settings):
    jwt_settings(MAX_CONCURRENT_SESSIONS=1)
    first, second = (exchange(RefreshToken.for_user(user)).json() for _ in range(2))
    assert Session.objects.get(pk=first["session_id"]).end_reason == "session_limit"
    assert Session.objects.get(pk=second["session_id"]).ended_at is None


# Once


def test_a_token_is_exchanged_once(user, caplog):
    token = RefreshToken.for_user(user)
    assert exchange(token).status_code == 200
    with caplog.at_level(logging.WARNING, "jwt_sessions.security"):
        response = exchange(token)
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_TOKEN")
    assert f"a token of user {user.pk} was exchanged before" in caplog.text
    assert Session.objects.get().ended_at is None
    assert ExchangedToken.objects.count() == 1


def test_another_token_of_the_same_user_is_another_device(user):
    for _device in range(2):
        assert exchange(RefreshToken.for_user(user)).status_code == 200
    assert Session.objects.not_ended().count() == 2


def test_attack_another_spelling_of_an_exchanged_signature(user):
    token = str(RefreshToken.for_user(user))
    assert exchange(token).status_code == 200
    # 32 bytes are 43 characters of base64url, and the last of them has two bits to spare.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(token[-1])
    spellings = [token[:-1] + alphabet[last ^ bits] for bits in (1, 2, 3)]
    for spelling in (*spellings, f"{token}=", f"{token}\n", f" {token}"):
        assert exchange(spelling).json()["code"] == "INVALID_TOKEN"
    assert Session.objects.count() == 1


def test_attack_the_other_signature_that_is_as_good(user, monkeypatch):
    """Of an ECDSA signature (r, s) anybody can make (r, n - s), and that one is valid too."""
    key, backend = ec.generate_private_key(ec.SECP256R1()), RefreshToken().get_token_backend()
    changed = {"algorithm": "ES256", "prepared_signing_key": key, "prepared_verifying_key": key.public_key()}
    for name, value in changed.items():
        monkeypatch.setitem(vars(backend), name, value)
    token = str(RefreshToken.for_user(user))
    text, _, signature = token.rpartition(".")
    raw = base64url_decode(signature)
    s = P256_ORDER - int.from_bytes(raw[32:], "big")
    other = f"{text}.{base64url_encode(raw[:32] + s.to_bytes(32, 'big')).decode()}"
    assert RefreshToken(other).payload == RefreshToken(token).payload
    assert [exchange(each).status_code for each in (token, other)] == [200, 400]


def test_a_token_without_an_id_is_exchanged_once_too(user, simplejwt):
    simplejwt(JTI_CLAIM=None)
    tokens = [signed(jti=None, user_id=str(user.pk), n=n) for n in range(2)]
    assert [exchange(token).status_code for token in (*tokens, *tokens)] == [200, 200, 400, 400]


def test_every_digest_can_be_stored(db):
    """MariaDB refuses some sequences of 128 bits as a UUID."""
    now = timezone.now()
    rows = [ExchangedToken(digest=simplejwt_rules._digest(f"{n}.{n}"), expires_at=now) for n in range(2000)]
    ExchangedToken.objects.bulk_create(rows)
    assert ExchangedToken.objects.count() == len(rows)


def test_a_denied_exchange_leaves_the_token_unused(user):
    def deny(draft, **kwargs):
        raise IssueDenied("Not today.")

    token = RefreshToken.for_user(user)
    signals.pre_issue.connect(deny)
    try:
        assert_refused(exchange(token), 403, "ISSUE_DENIED", "access_denied")
    finally:
        signals.pre_issue.disconnect(deny)
    assert exchange(token).status_code == 200


def test_a_refused_session_leaves_the_token_unused(user, jwt_settings):
    jwt_settings(MAX_CONCURRENT_SESSIONS=1, ON_SESSION_LIMIT="refuse")
    other, token = sessions.start(user), RefreshToken.for_user(user)
    assert exchange(token).json()["code"] == "SESSION_LIMIT"
    sessions.end(other.session, reason="logout")
    assert exchange(token).status_code == 200


def test_an_exchange_inside_a_transaction_of_the_caller_spoils_nothing_when_it_is_refused(user):
    token = str(RefreshToken.for_user(user))
    login.exchange_token(token)
    with transaction.atomic():
        with pytest.raises(InvalidToken):
            login.exchange_token(token)
        UserFactory()
    assert User.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", [None, 1])
def test_of_racing_exchanges_one_wins(jwt_settings, limit):
    jwt_settings(MAX_CONCURRENT_SESSIONS=limit)
    threads, rounds = 6, 3
    for _round in range(rounds):
        token, barrier = str(RefreshToken.for_user(UserFactory())), threading.Barrier(threads)

        def race(_number: int, token: str = token, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            try:
                return str(login.exchange_token(token).session.pk)
            except InvalidToken as error:
                return error.code
            finally:
                connections.close_all()

        with ThreadPoolExecutor(threads) as pool:
            answers = Counter(pool.map(race, range(threads)))
        assert answers.pop("INVALID_TOKEN") == threads - 1
        assert list(answers) == [str(Session.objects.latest("pk").pk)]
    assert Session.objects.not_ended().count() == ExchangedToken.objects.count() == rounds


# What never passes


def test_while_the_setting_is_off_the_grant_is_unknown(user, jwt_settings):
    jwt_settings(EXCHANGE_SIMPLEJWT_TOKENS=False)
    response = exchange(RefreshToken.for_user(user))
    assert_refused(response, code="INVALID_REQUEST", error="unsupported_grant_type")


ATTACKS = {
    "garbage": lambda user: "garbage",
    "nothing but dots": lambda user: "..",
    "a lone surrogate": lambda user: "\ud800.a.b",
    "letters that are no ASCII": lambda user: "é.é.é",
    "an access token": AccessToken.for_user,
    "our own access token": lambda user: sessions_of_another_database(user).access_token,
    "our own refresh token": lambda user: sessions_of_another_database(user).refresh_token,
    "signed by another key": lambda user: jwt.encode(RefreshToken.for_user(user).payload, "k" * 64, "HS256"),
    "not signed at all": lambda user: jwt.encode(RefreshToken.for_user(user).payload, None, "none"),
    "another algorithm": lambda user: jwt.encode(
        RefreshToken.for_user(user).payload, api_settings.SIGNING_KEY, "HS512"
    ),
    "expired": lambda user: signed(user_id=str(user.pk), exp=int(timezone.now().timestamp()) - 1),
    "without an expiry": lambda user: signed(user_id=str(user.pk), exp=None),
    "without an id": lambda user: signed(user_id=str(user.pk), jti=None),
    "without a type": lambda user: signed(user_id=str(user.pk), token_type=None),
    "without the time of issue": lambda user: signed(user_id=str(user.pk), iat=None),
    "of nobody": lambda user: signed(user_id=None),
    "of an unknown user": lambda user: signed(user_id=str(uuid4())),
    "of a list of users": lambda user: signed(user_id=[str(user.pk)]),
    "of a user by what is no key": lambda user: signed(user_id="ann"),
    "of a user by what is too long for a key": lambda user: signed(user_id="9" * 400),
    "of a user by what no database stores": lambda user: signed(user_id="\0"),
    "an expiry beyond all times": lambda user: signed(user_id=str(user.pk), exp=10**30),
    "an infinite expiry": lambda user: signed(user_id=str(user.pk), exp=float("inf")),
    "a time of issue that is no number": lambda user: signed(user_id=str(user.pk), iat="now"),
    "not yet valid": lambda user: signed(user_id=str(user.pk), nbf=int(timezone.now().timestamp()) + 60),
}


def sessions_of_another_database(user: User) -> Any:
    """Tokens of this package for a session of which no row is left."""
    pair = sessions.start(user)
    pair.session.delete()
    return pair


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_what_is_no_good_token_of_simplejwt(user, attack):
    assert_refused(exchange(ATTACKS[attack](user)))


def test_refusals_are_all_alike(user):
    deactivated = UserFactory(is_active=False)
    exchanged = RefreshToken.for_user(user)
    exchange(exchanged)
    tokens = ["garbage", signed(user_id="0"), signed(user_id=str(deactivated.pk)), exchanged]
    assert len({exchange(token).content for token in tokens}) == 1


def test_attack_an_access_token_where_simplejwt_does_not_tell_types_apart(user, simplejwt):
    token = AccessToken.for_user(user)
    simplejwt(TOKEN_TYPE_CLAIM=None)
    assert_refused(exchange(token))


@pytest.mark.parametrize(("field", "value"), [("last_login", "null"), ("is_active", "true"), ("is_active", "1.0")])
def test_attack_a_token_of_nobody_finds_a_user_all_the_same(user, simplejwt, field, value):
    value = json.loads(value)
    assert User.objects.get(**{field: value}) == user
    simplejwt(USER_ID_FIELD=field)
    token = RefreshToken()
    token["user_id"] = value
    assert_refused(exchange(token))


def test_attack_a_token_of_several_users(user, simplejwt):
    UserFactory()
    simplejwt(USER_ID_FIELD="is_active")
    assert_refused(exchange(signed(user_id="True")))


@pytest.mark.parametrize("checks_activity", [True, False])
def test_attack_a_token_of_a_deactivated_user(user, simplejwt, checks_activity):
    token = RefreshToken.for_user(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    simplejwt(CHECK_USER_IS_ACTIVE=checks_activity)
    assert_refused(exchange(token))


def test_attack_a_token_of_a_deleted_user(user):
    token = RefreshToken.for_user(user)
    user.delete()
    assert_refused(exchange(token))


def test_attack_a_token_of_a_user_whom_the_projects_rule_refuses(user, simplejwt):
    simplejwt(USER_AUTHENTICATION_RULE=lambda user: not user.email)
    assert_refused(exchange(RefreshToken.for_user(user)))


def test_attack_a_token_from_before_the_password_changed_where_simplejwt_looks(user, simplejwt):
    simplejwt(CHECK_REVOKE_TOKEN=True)
    token, other = RefreshToken.for_user(user), RefreshToken.for_user(UserFactory())
    user.set_password("another " + PASSWORD)
    user.save()
    assert_refused(exchange(token))
    assert exchange(other).status_code == 200


def test_attack_a_token_from_before_the_token_version_was_raised(user):
    token = RefreshToken.for_user(user)
    sessions.raise_version(user)
    assert_refused(exchange(token))


def test_a_user_who_has_to_sign_in_again_cannot_exchange_instead(user, clock):
    token = RefreshToken.for_user(user)
    clock.shift(1)
    sessions.require_reauthentication(user)
    assert_refused(exchange(token), code="REAUTHENTICATION_REQUIRED")


def test_attack_a_client_that_authenticates_wrongly(user):
    headers = {"Authorization": "Basic " + base64.b64encode(b"some:client").decode()}
    assert_refused(exchange(RefreshToken.for_user(user), headers), 401, "INVALID_CLIENT", "invalid_client")


def test_attack_a_foreign_site_signs_its_visitor_in_by_cookie(user):
    token = RefreshToken.for_user(user)
    response = exchange(token, delivery="cookie", headers={"Origin": "https://evil.example"})
    assert_refused(response, 403, "INVALID_REQUEST", "invalid_request")
    assert not response.cookies


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("subject_token", {"subject_token": ""}),
        ("subject_token", {"subject_token": ["a", "b"]}),
        ("subject_token_type", {"subject_token_type": None}),
        ("subject_token_type", {"subject_token_type": ACCESS}),
        ("subject_token_type", {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}),
        ("requested_token_type", {"requested_token_type": REFRESH}),
        ("delivery", {"delivery": "post"}),
        ("device_name", {"device_name": "n" * 101}),
    ],
)
def test_a_parameter_that_is_missing_or_wrong_is_named(user, client, field, changes):
    body = {**parameters(RefreshToken.for_user(user)), **changes}
    response = client.post(URL, body, content_type="application/json")
    assert_refused(response, code="INVALID_REQUEST", error="invalid_request")
    assert response.json()["field"] == field


def test_an_audience_that_may_not_be_issued_is_an_invalid_target(user):
    response = exchange(RefreshToken.for_user(user), resource="https://elsewhere.example")
    assert_refused(response, code="INVALID_REQUEST", error="invalid_target")


def test_a_tenant_that_did_not_accept_the_user_is_forbidden(user):
    assert_refused(exchange(RefreshToken.for_user(user), tenantId="0"), 403, "TENANT_FORBIDDEN", "access_denied")


# What leaks


@pytest.fixture
def reports():
    """What Django would send to ADMINS about each error, and what a plain traceback says."""
    texts = []

    def report(request, **kwargs):
        reporter = ExceptionReporter(request, *sys.exc_info())
        texts.extend((reporter.get_traceback_html(), reporter.get_traceback_text()))
        texts.append("".join(traceback.format_exception(*sys.exc_info())))

    got_request_exception.connect(report)
    yield texts
    got_request_exception.disconnect(report)


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_no_token_in_the_report_of_an_error_when_the_database_breaks(user, client, reports, caplog, content_type):
    client.raise_request_exception = False
    token = str(RefreshToken.for_user(user))
    body = parameters(token) if content_type.endswith("json") else urlencode(parameters(token))
    for passing in itertools.count():
        statements = iter(range(passing + 1))

        def execute(call, sql, params, many, context, statements=statements, last=passing):
            if next(statements, None) == last:
                raise DatabaseError("the server closed the connection")
            return call(sql, params, many, context)

        with connection.execute_wrapper(execute):
            response = client.post(URL, body, content_type=content_type)
        if response.status_code == 200:
            break
        assert response.status_code in (500, 503)
    assert len(reports) >= 3 * 5
    assert "the server closed the connection" in reports[0]
    secrets = token.split(".")[1:]
    assert [secret for text in (*reports, caplog.text) for secret in secrets if secret in text] == []


# What it costs, and what is left


@pytest.mark.django_db
def test_garbage_costs_no_query(django_assert_num_queries):
    with django_assert_num_queries(0):
        exchange("garbage")


def test_an_exchange_costs_two_statements_more_than_a_start(user, django_assert_num_queries):
    token = str(RefreshToken.for_user(user))
    # The user; account and memberships; the transaction: begin, exchanged token, session, refresh token, end.
    with django_assert_num_queries(8):
        login.exchange_token(token)


def test_the_row_is_purged_when_the_token_would_have_expired_anyway(user, clock, simplejwt):
    token = RefreshToken.for_user(user)
    exchange(token)
    clock.shift(DAY - timedelta(seconds=1))
    assert_purged(0)
    assert exchange(token).status_code == 400
    clock.shift(1)
    assert_purged(1)


def test_the_row_outlives_the_leeway_that_simplejwt_allows(user, clock, monkeypatch):
    monkeypatch.setattr(RefreshToken(str(RefreshToken.for_user(user))).get_token_backend(), "leeway", 60)
    token = RefreshToken.for_user(user)
    exchange(token)
    clock.shift(DAY + timedelta(seconds=59))
    assert_purged(0)
    assert exchange(token).status_code == 400
    assert Session.objects.count() == 1


def assert_purged(rows: int) -> None:
    before = ExchangedToken.objects.count()
    list(purge())
    assert before - ExchangedToken.objects.count() == rows
