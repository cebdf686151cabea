"""Introspection (RFC 7662): what a good token says; of anything else not even why; and that looking changes nothing."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jwt_sessions import credentials, sessions
from jwt_sessions.models import Credential, RefreshToken, Session, TenantActivity, TokenVersion
from jwt_sessions.tokens import access
from jwt_sessions.tokens import opaque as refresh_tokens
from tests.clients import Device
from tests.effort import rounds
from tests.factories import UserFactory
from tests.services import Service
from tests.session_ends import NAMES, WAYS, idling, outliving_the_maximum, reusing

pytestmark = pytest.mark.django_db

INACTIVE = b'{"active":false}'


@pytest.fixture
def service(db) -> Service:
    return Service(may_introspect=True)


@pytest.fixture
def tenants(jwt_settings):
    jwt_settings(TENANTS=lambda user: ["acme"], IDLE_TIMEOUT=timedelta(minutes=10))


def assert_inactive(service, *tokens):
    for token in tokens:
        response = service.introspect(token)
        assert (response.status_code, response.content) == (200, INACTIVE)
        assert response["Cache-Control"] == "no-store"


def assert_active(service, *tokens):
    for token in tokens:
        response = service.introspect(token)
        assert (response.status_code, response.json()["active"]) == (200, True)
        assert response["Cache-Control"] == "no-store"


def claims_of(token):
    return access.decode(token, timezone.now())


# What is good


def test_the_access_token_of_a_user_says_what_it_claims(device, user, service):
    token = device.tokens["access_token"]
    said = service.introspect(token).json()
    assert said == {"active": True, "token_type": "Bearer", "username": user.email, **claims_of(token)}
    assert (said["type"], said["sub"], said["gen"]) == ("user", str(user.pk), 0)


@pytest.mark.parametrize("owned", [True, False])
def test_the_access_token_of_a_credential_says_what_it_claims(user, service, owned):
    other = Service(user=user if owned else None, claims={"plan": "gold"}).exchanged()
    said = service.introspect(other.access_token).json()
    named = {"username": user.email} if owned else {}
    assert said == {"active": True, "token_type": "Bearer", **named, **claims_of(other.access_token)}
    assert said["plan"] == "gold"


WORDS = {"username": "root@example.com", "active": False, "token_type": "refresh_token", "token_use": "refresh"}


@pytest.mark.parametrize("owned", [True, False])
def test_attack_claims_of_a_credential_in_the_words_of_the_server(user, service, owned):
    other = Service(user=user if owned else None, claims={**WORDS, "plan": "gold"}).exchanged()
    said = service.introspect(other.access_token).json()
    assert {name: said.get(name) for name in [*WORDS, "plan"]} == {
        "active": True,
        "token_type": "Bearer",
        "token_use": None,
        "username": user.email if owned else None,
        "plan": "gold",
    }


def test_a_refresh_token_says_whose_it_is_and_is_taken_for_no_access_token(clock, device, user, service):
    said = service.introspect(device.tokens["refresh_token"]).json()
    assert said == {
        "active": True,
        "token_type": "refresh_token",
        "token_use": "refresh",
        "username": user.email,
        "iss": "jwt-sessions",
        # Who looks for itself in "aud" must not find nothing, which some take for "good everywhere".
        "aud": "jwt-sessions",
        "sub": str(user.pk),
        "client_id": "api",
        "sid": device.tokens["session_id"],
        "auth_time": int(timezone.now().timestamp()),
        "exp": int((timezone.now() + timedelta(days=7)).timestamp()),
    }


def test_a_refresh_token_that_never_expires_has_no_exp(user, service, jwt_settings):
    jwt_settings(REFRESH_TOKEN_LIFETIME=None)
    assert "exp" not in service.introspect(Device(user).sign_in().tokens["refresh_token"]).json()


def test_attack_a_claim_of_a_project_is_not_taken_for_the_answer(user, service, jwt_settings):
    jwt_settings(CLAIMS={"active": lambda user, draft: False, "token_type": lambda user, draft: "refresh_token"})
    said = service.introspect(Device(user).sign_in().tokens["access_token"]).json()
    assert (said["active"], said["token_type"]) == (True, "Bearer")


def test_the_hint_does_not_matter(device, service):
    for hint in ("access_token", "refresh_token", "nonsense"):
        for name in ("access_token", "refresh_token"):
            data = {"token": device.tokens[name], "token_type_hint": hint}
            assert service.post("introspect", data).json()["active"] is True


def test_a_caller_may_ask_about_its_own_token(service):
    assert_active(service, service.exchanged().access_token)


def test_a_predecessor_is_good_while_it_is_honoured(clock, device, service):
    first = device.tokens["refresh_token"]
    device.refresh()
    second = device.tokens["refresh_token"]
    clock.shift(timedelta(hours=1))
    assert_active(service, first, second)
    device.refresh()
    clock.shift(timedelta(seconds=29))
    assert_active(service, first, device.tokens["refresh_token"])
    clock.shift(timedelta(seconds=1))
    assert_inactive(service, first)
    assert_active(service, second)


def test_a_predecessor_that_nobody_missed_is_good_no_longer_than_the_window(clock, device, service):
    first = device.tokens["refresh_token"]
    device.refresh()
    clock.shift(timedelta(hours=24) - timedelta(seconds=1))
    assert_active(service, first)
    clock.shift(timedelta(seconds=1))
    assert_inactive(service, first)


def test_a_flagged_user_has_to_sign_in_again_to_refresh_and_calls_until_then(device, service):
    sessions.require_reauthentication(device.user)
    assert_inactive(service, device.tokens["refresh_token"])
    assert device.call().status_code == 200
    assert_active(service, device.tokens["access_token"])


# What is not


@pytest.mark.parametrize(("way", "reason"), WAYS, ids=lambda way: NAMES.get(way) or getattr(way, "__name__", None))
def test_the_tokens_of_an_ended_session_are_inactive(clock, device, service, jwt_settings, way, reason):
    arguments = (device, jwt_settings, clock) if way in (idling, outliving_the_maximum, reusing) else (device,)
    tokens = [device.tokens["access_token"], device.tokens["refresh_token"]]
    assert_active(service, *tokens)
    way(*arguments)
    assert_inactive(service, *tokens, device.tokens["access_token"], device.tokens["refresh_token"])


def delete_session(device):
    Session.objects.all().delete()


def delete_user(device):
    device.user.delete()


@pytest.mark.parametrize("delete", [delete_session, delete_user])
def test_the_tokens_of_what_is_deleted_are_inactive(device, service, delete):
    delete(device)
    assert_inactive(service, device.tokens["access_token"], device.tokens["refresh_token"])


def test_an_access_token_is_inactive_past_its_expiry(clock, device, service):
    clock.shift(timedelta(minutes=5))
    assert_inactive(service, device.tokens["access_token"])
    assert_active(service, device.tokens["refresh_token"])


def test_an_access_token_is_inactive_past_its_soft_expiry(clock, user, service, jwt_settings):
    jwt_settings(SOFT_EXPIRY=timedelta(minutes=1))
    token = Device(user).sign_in().tokens["access_token"]
    assert_active(service, token)
    clock.shift(timedelta(minutes=1))
    assert_inactive(service, token)


def test_a_refresh_token_is_inactive_past_its_expiry(clock, device, service):
    clock.shift(timedelta(days=7))
    assert_inactive(service, device.tokens["refresh_token"])


def test_an_access_token_for_a_tenant_gone_idle_is_inactive(clock, user, service, tenants, jwt_settings):
    jwt_settings(ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    device = Device(user).sign_in(tenantId="acme")
    token = device.tokens["access_token"]
    TenantActivity.objects.update(last_active_at=timezone.now() - timedelta(minutes=11))
    assert_inactive(service, token)
    assert_active(service, device.tokens["refresh_token"])


def test_tokens_from_before_a_reauthentication_are_inactive(device, service):
    old = [device.tokens["access_token"], device.tokens["refresh_token"]]
    response = device.post("reauthenticate", {"password": "correct horse battery staple"}, **device.bearer)
    assert response.status_code == 200
    assert_inactive(service, *old)
    assert_active(service, response.json()["access_token"], response.json()["refresh_token"])


@pytest.mark.parametrize(
    ("owned", "end"),
    [(owned, end) for owned in (True, False) for end in ("revoke", "expire", "delete")]
    + [(True, "deactivate"), (True, "raise_version")],
)
def test_the_token_of_a_dead_credential_is_inactive(user, service, owned, end):
    other = Service(user=user if owned else None).exchanged()
    assert_active(service, other.access_token)
    row = other.credential
    {
        "revoke": lambda: credentials.revoke_credential(row),
        "expire": lambda: Credential.objects.filter(pk=row.pk).update(expires_at=timezone.now()),
        "delete": row.delete,
        "deactivate": lambda: type(user).objects.update(is_active=False),
        "raise_version": lambda: sessions.raise_version(user),
    }[end]()
    assert_inactive(service, other.access_token)


def signed_with(change):
    """A token as a device's, with other claims."""

    def sign(device):
        claims = claims_of(device.tokens["access_token"])
        return access.encode({**claims, **change(claims)})

    return sign


FOREIGN = {
    "another issuer": signed_with(lambda claims: {"iss": "https://elsewhere.example"}),
    "another audience": signed_with(lambda claims: {"aud": "elsewhere"}),
    "another subject": signed_with(lambda claims: {"sub": str(UserFactory().pk)}),
    "another session": signed_with(lambda claims: {"sid": "00000000-0000-4000-8000-000000000000"}),
    "no session": signed_with(lambda claims: {"sid": "x"}),
    "a later generation": signed_with(lambda claims: {"gen": 1}),
    "another type": signed_with(lambda claims: {"type": "api"}),
    "an unknown type": signed_with(lambda claims: {"type": "robot"}),
    "from the future": signed_with(lambda claims: {"iat": claims["iat"] + 60}),
    "a broken signature": lambda device: device.tokens["access_token"][:-6] + "AAAAAA",
    "another spelling": lambda device: device.tokens["access_token"] + "=",
    "a space": lambda device: " " + device.tokens["access_token"],
    "a cut refresh token": lambda device: device.tokens["refresh_token"][:-1],
    "a forged refresh token": lambda device: "jsr_" + "A" * 92,
    "a session id": lambda device: device.tokens["session_id"],
    "nothing to see": lambda device: "x",
    "beyond ASCII": lambda device: "é.é.é",
    "NUL": lambda device: "\0",
    "huge": lambda device: "a" * 60_000,
}


@pytest.mark.parametrize("forge", FOREIGN.values(), ids=FOREIGN)
def test_attack_what_is_foreign_or_malformed_is_inactive_and_no_more_is_said(device, service, forge):
    token = forge(device)
    assert_inactive(service, token)
    assert_active(service, device.tokens["access_token"], device.tokens["refresh_token"])


def test_attack_a_refresh_token_nobody_was_given(device, service):
    session = Session.objects.get()
    for generation in (0, 1, 2**31 - 1):
        assert_inactive(service, refresh_tokens.make(session.pk, generation).text)
    assert device.refresh().status_code == 200


def test_a_token_under_a_key_of_the_past_or_of_nobody_is_inactive(device, service, settings):
    token, refresh_token = device.tokens["access_token"], device.tokens["refresh_token"]
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another key that is long enough for anybody"
    assert_inactive(service, token, refresh_token)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert_active(service, token, refresh_token)


# That looking changes nothing


def state():
    models = (Session, RefreshToken, TenantActivity, TokenVersion)
    return [list(model.objects.order_by("pk").values()) for model in models]


def test_looking_is_no_activity_and_no_first_use(clock, device, service):
    first = device.tokens["refresh_token"]
    device.refresh()
    clock.shift(timedelta(minutes=2))
    before = state()
    assert_active(service, first, device.tokens["refresh_token"], device.tokens["access_token"])
    assert state() == before
    assert Session.objects.get().first_used_at is None


def test_attack_showing_an_old_refresh_token_here_ends_no_session(clock, device, service):
    first = device.tokens["refresh_token"]
    device.refresh()
    device.call()
    clock.shift(timedelta(minutes=1))
    before = state()
    assert_inactive(service, first)
    assert state() == before
    assert device.refresh().status_code == 200


def test_a_session_that_is_over_is_not_ended_by_looking(device, service):
    Session.objects.update(refresh_expires_at=timezone.now())
    before = state()
    assert_inactive(service, device.tokens["access_token"], device.tokens["refresh_token"])
    assert state() == before
    assert Session.objects.get().ended_at is None


@pytest.mark.parametrize("check", ["database", "none"])
def test_looking_costs_one_statement_besides_the_callers_own_check(clock, device, service, jwt_settings, check):
    jwt_settings(SESSION_CHECK=check)
    other = Service(user=device.user).exchanged()
    service.introspect("x")  # notes its use
    tokens = [device.tokens["access_token"], device.tokens["refresh_token"], other.access_token]
    costs = []
    for token in [*tokens, "x", "jsr_" + "A" * 92]:
        with CaptureQueriesContext(connection) as queries:
            service.introspect(token)
        costs.append([query["sql"].split()[0] for query in queries])
    assert costs == [["SELECT"] * 2] * 3 + [["SELECT"]] * 2
    sessions.end_all(device.user, reason="logout")
    assert_inactive(service, *tokens[:2])


# Who may ask, and how


def test_the_method_is_post(service):
    response = service.http.get("/auth/introspect/", headers=service.basic)
    assert (response.status_code, response["Allow"]) == (405, "POST, OPTIONS")


def test_a_missing_token_is_named(service):
    for data in ({}, {"token": ""}):
        response = service.post("introspect", data)
        assert (response.status_code, response.json()["field"]) == (400, "token")


def test_json_is_taken_too(device, service):
    data = {"token": device.tokens["access_token"], **service.body}
    assert service.http.post("/auth/introspect/", data, content_type="application/json").json()["active"] is True


def test_the_access_token_of_a_caller_is_no_client_authentication(device, service):
    service.exchanged()
    for bearer in (service.bearer, device.bearer):
        assert service.post("introspect", {"token": service.access_token}, headers=bearer).status_code == 401


@pytest.fixture
def fuzzed(db):
    """A signed-in device, and a service that asks about what is made of its tokens."""
    device = Device(UserFactory()).sign_in()
    return device, Service(may_introspect=True)


@settings(max_examples=rounds(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    token=st.one_of(
        st.text(min_size=1),
        st.text("jsr_AB-_=.", min_size=1),
        st.builds("{}.{}.{}".format, *[st.text("eyJhbGciOiJub25lIn0_-=")] * 3),
    )
)
@example(token="eyJhbGciOiJub25lIn0.e30.")
@example(token="\ud800")
@example(token="..")
def test_attack_no_text_at_all_is_anything_but_inactive(fuzzed, token):
    _device, service = fuzzed
    body = json.dumps({"token": token, **service.body})
    response = service.http.post("/auth/introspect/", body, content_type="application/json")
    assert (response.status_code, response.content) == (200, INACTIVE)


@settings(max_examples=rounds(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["access_token", "refresh_token"]), data=st.data())
def test_attack_no_genuine_token_with_one_other_character_is_active(fuzzed, name, data):
    device, service = fuzzed
    token = device.tokens[name]
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != token[at]))
    assert_inactive(service, token[:at] + other + token[at + 1 :])
