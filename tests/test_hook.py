"""``pre_issue``: what a receiver may add, shorten and refuse; and what the other signals' receivers cannot break."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.db import connection
from django.dispatch import Signal
from django.urls import reverse
from django.utils import timezone

from jwt_sessions import conf, sessions, signals
from jwt_sessions.exceptions import EndReason, IssueDenied, IssueFailed
from jwt_sessions.models import Credential, RefreshToken, Session
from jwt_sessions.tokens import access
from jwt_sessions.tokens.claims import RESERVED_CLAIMS
from jwt_sessions.types import Draft
from tests.clients import CHROME, Device
from tests.factories import PASSWORD, UserFactory
from tests.services import Service

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def connect():
    """Connect receivers to a signal of this package, ``pre_issue`` by default, until the test ends."""
    connected = []

    def connect_receiver(receiver: Callable[..., Any], signal: Signal = signals.pre_issue) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect_receiver
    for signal, receiver in connected:
        signal.disconnect(receiver)


def changing(change: Callable[[Draft], object]) -> Callable[..., None]:
    """A receiver that changes the draft."""

    def receiver(draft: Draft, **kwargs: Any) -> None:
        change(draft)

    return receiver


def setting(**values: Any) -> Callable[..., None]:
    return changing(lambda draft: [setattr(draft, name, value) for name, value in values.items()])


def raising(error: BaseException) -> Callable[..., None]:
    def receiver(**kwargs: Any) -> None:
        raise error

    return receiver


def claims_of(device):
    return access.decode(device.tokens["access_token"], timezone.now())


def sign_in(device):
    return device.post("login", {"email": device.user.email, "password": PASSWORD})


def state():
    return list(Session.objects.values()), list(RefreshToken.objects.values())


def test_the_draft_says_what_is_about_to_be_issued(user, connect, jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"])
    drafts = []
    connect(changing(drafts.append))
    device = Device(user).sign_in(device_name="Laptop")
    device.refresh(audience="reports")
    first, second = drafts
    assert (first.token_type, first.user, first.audience) == ("user", user, "api")
    assert (first.claims, first.expires_in) == ({}, timedelta(minutes=5))
    assert (first.session.device_name, first.session.generation) == ("Laptop", 0)
    assert (first.client.ip_address, first.client.device) == ("127.0.0.1", "Chrome on Windows")
    assert first.client.user_agent == CHROME
    assert (second.audience, second.session.pk, second.session.generation) == ("reports", first.session.pk, 1)


@pytest.mark.parametrize("owned", [True, False])
def test_the_draft_of_a_credential_says_what_is_about_to_be_issued(user, connect, jwt_settings, owned):
    jwt_settings(
        AUDIENCES=["api", "reports"],
        TENANTS=lambda user: ["acme"],
        ACCESS_TOKEN_LIFETIME={"user": MINUTE, "personal": 2 * MINUTE, "api": 3 * MINUTE},
    )
    drafts, senders = [], []
    connect(lambda sender, draft, **kwargs: (senders.append(sender), drafts.append(copy.deepcopy(draft))))
    service = Service(user=user if owned else None, audience="reports", tenant="acme", claims={"plan": "gold"})
    service.http.post(
        reverse("jwt_sessions:token"),
        {"grant_type": "client_credentials"},
        headers={**service.basic, "user-agent": CHROME},
    )
    (draft,) = drafts
    assert senders == [Credential]
    assert (draft.token_type, draft.user) == (("personal", user) if owned else ("api", None))
    assert (draft.credential, draft.session) == (service.credential, None)
    assert (draft.audience, draft.tenant) == ("reports", "acme")
    assert (draft.claims, draft.expires_in) == ({"plan": "gold"}, 2 * MINUTE if owned else 3 * MINUTE)
    assert (draft.client.ip_address, draft.client.device) == ("127.0.0.1", "Chrome on Windows")


def test_the_draft_of_a_session_has_no_credential(user, connect):
    drafts = []
    connect(changing(drafts.append))
    Device(user).sign_in().refresh()
    assert [draft.credential for draft in drafts] == [None, None]


def test_every_way_to_a_token_asks(user, connect, jwt_settings):
    jwt_settings(ALLOW_RENEWAL=True, TENANTS=lambda user: ["acme"])
    asked = []
    connect(changing(lambda draft: asked.append((draft.token_type, draft.tenant))))
    device = Device(user).sign_in()
    device.refresh()
    device.refresh(tenantId="acme")
    assert device.post("renew", **device.bearer).status_code == 200
    assert device.post("reauthenticate", {"password": PASSWORD}, **device.bearer).status_code == 200
    assert Service(user=user).exchange().status_code == Service().exchange().status_code == 200
    sessions = [("user", None), ("user", None), ("user", "acme"), ("user", "acme"), ("user", "acme")]
    assert asked == [*sessions, ("personal", None), ("api", None)]


@pytest.mark.parametrize("door", ["login", "refresh", "renew", "reauthenticate", "personal", "api"])
def test_claims_of_receivers_are_in_every_token(user, connect, jwt_settings, door):
    jwt_settings(ALLOW_RENEWAL=True)
    device = Device(user).sign_in()
    connect(changing(lambda draft: draft.claims.update(door=door)))
    doors = {
        "login": lambda: sign_in(device),
        "refresh": device.refresh,
        "renew": lambda: device.post("renew", **device.bearer),
        "reauthenticate": lambda: device.post("reauthenticate", {"password": PASSWORD}, **device.bearer),
        "personal": lambda: Service(user=user).exchange(),
        "api": lambda: Service().exchange(),
    }
    token = doors[door]().json()["access_token"]
    assert access.decode(token, timezone.now())["door"] == door


@pytest.mark.parametrize("owned", [True, False])
def test_receivers_are_asked_in_their_order_for_credentials_too(user, connect, owned):
    service = Service(user=user if owned else None, claims={"order": [0]})
    connect(changing(lambda draft: draft.claims["order"].append(1)))
    connect(changing(lambda draft: draft.claims["order"].append(2)))
    for _exchange in range(2):
        service.exchange()
        assert access.decode(service.access_token, timezone.now())["order"] == [0, 1, 2]
    assert service.credential.claims == {"order": [0]}


def test_from_python_without_a_request_the_client_is_unknown(user, connect):
    drafts = []
    connect(changing(drafts.append))
    sessions.start(user)
    client = drafts[0].client
    assert (client.ip_address, client.browser, client.system, client.user_agent, client.device) == (
        None,
        "",
        "",
        "",
        "",
    )


def test_claims_that_are_added_are_in_the_token(device, connect):
    connect(changing(lambda draft: draft.claims.update(plan="gold", limits={"a": [1, None, True, "ü"]})))
    device.refresh()
    claims = claims_of(device)
    assert (claims["plan"], claims["limits"]) == ("gold", {"a": [1, None, True, "ü"]})
    assert device.call().status_code == 200


def test_receivers_run_in_the_order_in_which_they_were_connected(device, connect):
    connect(changing(lambda draft: draft.claims.update(order=[1])))
    connect(changing(lambda draft: draft.claims["order"].append(2)))
    connect(setting(expires_in=timedelta(minutes=2)))
    connect(changing(lambda draft: setattr(draft, "expires_in", draft.expires_in / 2)))
    device.refresh()
    assert claims_of(device)["order"] == [1, 2]
    assert device.tokens["expires_in"] == 60


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (timedelta(minutes=1), 60),
        (timedelta(minutes=5), 300),
        (timedelta(minutes=6), 300),
        (timedelta.max, 300),
        (timedelta(seconds=1.9), 1),
    ],
)
def test_a_lifetime_can_be_shortened_and_never_be_made_longer(clock, device, connect, expires_in, seconds):
    connect(setting(expires_in=expires_in))
    device.refresh()
    claims = claims_of(device)
    assert device.tokens["expires_in"] == claims["exp"] - claims["iat"] == seconds


def test_a_lifetime_never_passes_the_deadline_of_the_session(clock, device, connect, jwt_settings):
    connect(setting(expires_in=timedelta(minutes=4)))
    jwt_settings(MAX_SESSION_LIFETIME=timedelta(minutes=3))
    device.refresh()
    assert device.tokens["expires_in"] == 180


def claiming(name: str) -> Callable[..., None]:
    return changing(lambda draft: draft.claims.update({name: 1}))


def nested() -> list[Any]:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


BAD = [
    *[pytest.param(claiming(name), id=name) for name in sorted(RESERVED_CLAIMS)],
    pytest.param(changing(lambda draft: draft.claims.update(at=timezone.now())), id="not-json"),
    pytest.param(changing(lambda draft: draft.claims.update(number=float("nan"))), id="nan"),
    pytest.param(changing(lambda draft: draft.claims.update(number=float("inf"))), id="infinity"),
    pytest.param(changing(lambda draft: draft.claims.update(loop=draft.claims)), id="circular"),
    pytest.param(changing(lambda draft: draft.claims.update(deep=nested())), id="deep"),
    pytest.param(changing(lambda draft: draft.claims.update({1: "one"})), id="key-no-string"),
    pytest.param(changing(lambda draft: draft.claims.update(big="x" * 4096)), id="too-large"),
    pytest.param(setting(claims=None), id="no-claims"),
    pytest.param(setting(claims=[("plan", "gold")]), id="claims-no-dict"),
    pytest.param(setting(expires_in=timedelta(0)), id="zero"),
    pytest.param(setting(expires_in=timedelta(seconds=-1)), id="negative"),
    pytest.param(setting(expires_in=300), id="number"),
    pytest.param(setting(expires_in=None), id="none"),
    pytest.param(raising(RuntimeError("canary")), id="exception"),
    pytest.param(raising(KeyError("canary")), id="key-error"),
    pytest.param(raising(IssueFailed("canary")), id="issue-failed"),
]  # fmt: skip


@pytest.mark.parametrize("receiver", BAD)
def test_a_receiver_that_breaks_lets_nobody_in_and_stores_nothing(user, connect, caplog, receiver):
    connect(receiver)
    caplog.set_level(logging.ERROR, "jwt_sessions")
    response = sign_in(Device(user))
    assert response.status_code == 503
    assert response.json() == {
        "detail": "The token could not be issued.",
        "code": "ISSUE_FAILED",
        "terminal": False,
    }
    assert response["Cache-Control"] == "no-store"
    assert state() == ([], [])
    assert any(record.name == "jwt_sessions" for record in caplog.records)
    user.refresh_from_db()
    assert user.last_login is None


@pytest.mark.parametrize("receiver", BAD)
def test_a_receiver_that_breaks_leaves_the_refresh_token_unused(device, connect, receiver):
    before, token = state(), device.tokens["refresh_token"]
    connect(receiver)
    response = device.refresh()
    assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
    assert (response.json()["code"], response.json()["terminal"]) == ("ISSUE_FAILED", False)
    assert "canary" not in response.content.decode()
    assert state() == before
    signals.pre_issue.disconnect(receiver)
    assert device.refresh(token).status_code == 200


@pytest.mark.parametrize("receiver", BAD)
def test_a_receiver_that_breaks_gives_no_credential_a_token(db, connect, receiver):
    service = Service()
    connect(receiver)
    response = service.exchange()
    assert (response.status_code, response.json()["code"]) == (503, "ISSUE_FAILED")
    assert "canary" not in response.content.decode()


@pytest.mark.parametrize(
    ("error", "said"), [(IssueDenied("Pay first."), "Pay first."), (IssueDenied(), "The token was denied.")]
)
def test_a_denied_sign_in_says_why_and_stores_nothing(user, connect, error, said):
    connect(raising(error))
    response = sign_in(Device(user))
    assert response.status_code == 403
    assert response.json() == {"detail": said, "code": "ISSUE_DENIED", "terminal": False}
    assert state() == ([], [])


def test_a_denied_refresh_leaves_the_refresh_token_unused(device, connect):
    before, token, receiver = state(), device.tokens["refresh_token"], raising(IssueDenied("Pay first."))
    connect(receiver)
    response = device.refresh()
    signals.pre_issue.disconnect(receiver)
    assert response.status_code == 403
    assert response.json() == {
        "error": "access_denied",
        "error_description": "Pay first.",
        "code": "ISSUE_DENIED",
        "terminal": False,
    }
    assert state() == before
    assert device.refresh(token).status_code == 200


def test_a_denied_sign_in_replaces_no_other_session(device, connect):
    connect(raising(IssueDenied()))
    other = Device(device.user)
    refused = other.post("login", {"email": device.user.email, "password": PASSWORD, "replace_others": True})
    assert refused.status_code == 403
    assert device.call().status_code == 200


def test_a_right_password_that_is_denied_is_no_failed_attempt(user, connect, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="2/hour")
    connect(raising(IssueDenied()))
    assert [sign_in(Device(user)).status_code for _ in range(4)] == [403] * 4


def test_after_a_refusal_no_later_receiver_is_asked(device, connect):
    asked = []
    connect(raising(IssueDenied()))
    connect(changing(asked.append))
    device.refresh()
    assert asked == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_process_that_is_told_to_stop_stops(user, connect, error):
    connect(raising(error()))
    with pytest.raises(error):
        sessions.start(user)


@pytest.mark.django_db(transaction=True)
def test_receivers_are_asked_outside_any_transaction_also_under_atomic_requests(user, connect, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    inside = []
    connect(changing(lambda draft: inside.append(connection.in_atomic_block)))
    device = Device(user).sign_in()
    assert device.refresh().status_code == 200
    assert device.refresh().status_code == 200
    assert inside == [False, False, False]


def test_what_is_asked_about_is_not_yet_stored(user, connect):
    seen = []
    connect(changing(lambda draft: seen.append((Session.objects.count(), RefreshToken.objects.count()))))
    device = Device(user).sign_in()
    device.refresh()
    assert seen == [(0, 0), (1, 1)]


@pytest.mark.parametrize("spare", [0, -1])
def test_a_token_may_be_as_large_as_the_setting_says_and_no_larger(device, connect, jwt_settings, monkeypatch, spare):
    monkeypatch.setattr(access, "make_jti", lambda: "j" * 22)
    device.refresh()
    size = len(device.tokens["access_token"])
    jwt_settings(MAX_ACCESS_TOKEN_BYTES=size + spare)
    token = device.tokens["refresh_token"]
    assert device.refresh().status_code == (200 if spare == 0 else 503)
    jwt_settings(MAX_ACCESS_TOKEN_BYTES=conf.Settings().MAX_ACCESS_TOKEN_BYTES)
    assert device.refresh(token).status_code == 200


# The other signals tell what has happened: a receiver that raises changes nothing.


@pytest.mark.parametrize(
    "signal", [signals.session_started, signals.session_refreshed, signals.session_ended, signals.refresh_token_reused]
)
def test_a_receiver_of_another_signal_that_raises_changes_nothing(clock, user, connect, caplog, signal):
    connect(raising(RuntimeError("canary")), signal)
    device = Device(user).sign_in()
    first = device.tokens["refresh_token"]
    assert device.refresh().status_code == 200
    assert device.call().status_code == 200
    clock.shift(timedelta(minutes=1))
    reused = device.refresh(first)
    assert (reused.status_code, reused.json()["code"]) == (400, "INVALID_TOKEN")
    assert device.call().json()["reason"] == "token_reuse"
    assert "canary" in caplog.text


def test_each_signal_tells_what_it_says_it_tells(clock, user, connect):
    told = []
    for name in ("session_started", "session_refreshed", "session_ended", "refresh_token_reused"):
        connect(lambda signal, name=name, **facts: told.append((name, facts)), getattr(signals, name))
    device = Device(user).sign_in()
    first = device.tokens["refresh_token"]
    device.refresh()
    device.refresh(first)
    device.call()
    clock.shift(timedelta(minutes=1))
    device.refresh(first)
    session = Session.objects.get()
    assert {facts["sender"] for _name, facts in told} == {Session}
    assert {facts["session"] for _name, facts in told} == {session}
    assert [name for name, _facts in told] == [
        "session_started",
        "session_refreshed",
        "session_refreshed",
        "session_ended",
        "refresh_token_reused",
    ]
    started, rotated, replayed, ended, reused = (facts for _name, facts in told)
    assert started["user"] == rotated["user"] == user
    assert started["request"].path == "/auth/login/"
    assert rotated["request"].path == reused["request"].path == "/auth/token/"
    assert (rotated["rotated"], replayed["rotated"]) == (True, False)
    assert ended["reason"] is EndReason.TOKEN_REUSE
    assert reused["generation"] == 0


# What a token is for was checked before receivers are asked, so they cannot change it.


@pytest.mark.parametrize("name", ["token_type", "user", "credential", "session", "audience", "tenant", "client"])
def test_attack_a_receiver_that_changes_what_the_token_is_for_gets_none(device, connect, name):
    before = state()
    connect(changing(lambda draft: setattr(draft, name, "victim")))
    assert device.refresh().status_code == 503
    assert state() == before


def test_attack_a_receiver_that_changes_the_session_changes_a_copy(user, device, connect):
    def change(draft):
        draft.session.generation, draft.session.jwt_version, draft.session.audience = 7, 99, "web"
        draft.session.user = other

    other = UserFactory()
    connect(changing(change))
    device.refresh()
    claims = claims_of(device)
    assert (claims["gen"], claims["jwt_version"], claims["client_id"]) == (1, 0, "api")
    assert claims["sub"] == str(user.pk)
    signed_in = Device(user).sign_in()
    assert claims_of(signed_in)["sub"] == str(user.pk)
    assert {session.user_id for session in Session.objects.all()} == {user.pk}


def test_attack_a_receiver_that_changes_a_credential_changes_a_copy(connect):
    def change(draft):
        draft.credential.expires_at, draft.credential.pk = None, "victim"
        draft.expires_in = timedelta(days=1)

    service = Service(expires_at=timezone.now() + timedelta(minutes=1))
    connect(changing(change))
    answer = service.exchange().json()
    assert answer["expires_in"] <= 60
    assert jwt.decode(answer["access_token"], options={"verify_signature": False})["client_id"] == service.client_id


@pytest.mark.parametrize(
    "claims", [{"x": "\ud800"}, {"\ud800": 1}, {"x": {1: 2}}, {"x": [{True: 3}]}, {"x": ({None: 4},)}]
)
def test_claims_that_json_has_no_word_for_are_refused(device, connect, claims):
    before = state()
    connect(changing(lambda draft: draft.claims.update(claims)))
    assert device.refresh().status_code == 503
    assert state() == before


def test_claims_in_any_script_are_as_they_were_said(device, connect):
    connect(changing(lambda draft: draft.claims.update(name="Zoë Ångström 🙂", nul="\0")))
    device.refresh()
    assert (claims_of(device)["name"], claims_of(device)["nul"]) == ("Zoë Ångström 🙂", "\0")
    assert device.call().status_code == 200


def test_a_reason_that_utf_8_cannot_say_is_no_failure(user, device, connect):
    connect(raising(IssueDenied("no \ud800")))
    assert (sign_in(Device(user)).status_code, device.refresh().status_code) == (403, 403)


def test_a_lifetime_of_less_than_a_second_is_none(device, connect):
    connect(setting(expires_in=timedelta(milliseconds=999)))
    assert device.refresh().status_code == 503


@pytest.mark.parametrize("receiver", [raising(IssueDenied()), raising(RuntimeError())])
def test_a_credential_that_got_no_token_was_not_used(connect, receiver):
    service = Service()
    connect(receiver)
    assert service.exchange().status_code in (403, 503)
    assert service.credential.last_used_at is None
