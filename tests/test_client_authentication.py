"""Client authentication (RFC 6749 §2.3.1): wrong in any way is one answer, guessing ends in 429, no secret shows."""

from __future__ import annotations

import base64
import hmac
import logging
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jwt_sessions import credentials
from jwt_sessions.credentials import clients
from jwt_sessions.exceptions import InvalidClient
from jwt_sessions.models import Credential, RefreshToken, Session
from jwt_sessions.types import ClientSecret
from tests.clients import Device
from tests.factories import PASSWORD
from tests.services import Service, basic

pytestmark = pytest.mark.django_db

GRANT = {"grant_type": "client_credentials"}
DOORS = ["token", "introspect", "revoked"]


@pytest.fixture
def service(db) -> Service:
    return Service(may_introspect=True)


@pytest.fixture(autouse=True)
def unthrottled(jwt_settings):
    """But where throttling is what a test is about."""
    jwt_settings(LOGIN_THROTTLE=None)


def knock(service, door, headers, **body):
    if door == "revoked":
        return service.http.get("/auth/revoked.json", headers=headers)
    parameters = GRANT if door == "token" else {"token": "x"}
    return service.post(door, {**parameters, **body}, headers=headers)


def assert_refused(response):
    assert response.status_code == 401
    assert response.json() == {
        "error": "invalid_client",
        "error_description": "Client authentication failed.",
        "code": "INVALID_CLIENT",
        "terminal": True,
    }
    assert response["WWW-Authenticate"] == 'Basic realm="OAuth 2 clients", charset="UTF-8"'
    assert response["Cache-Control"] == "no-store"


def header(raw: bytes | str) -> dict[str, str]:
    raw = raw.encode() if isinstance(raw, str) else raw
    return {"Authorization": f"Basic {base64.b64encode(raw).decode()}"}


@pytest.mark.parametrize("door", DOORS)
def test_basic_is_accepted(service, door):
    assert knock(service, door, service.basic).status_code == 200


@pytest.mark.parametrize("door", ["token", "introspect"])
@pytest.mark.parametrize("content_type", ["form", "json"])
def test_the_body_is_accepted(service, door, content_type):
    data = {**(GRANT if door == "token" else {"token": "x"}), **service.body}
    options = {} if content_type == "form" else {"content_type": "application/json"}
    assert service.http.post(f"/auth/{door}/", data, **options).status_code == 200


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Basic"])
def test_the_scheme_has_no_case_and_any_number_of_spaces(service, scheme):
    encoded = service.basic["Authorization"].removeprefix("Basic ")
    assert knock(service, "token", {"Authorization": f"{scheme}   {encoded} "}).status_code == 200


def test_id_and_secret_are_form_encoded_before_they_are_joined(service):
    percent = "".join(f"%{ord(each):02X}" for each in service.client_id)
    secret = "".join(f"%{ord(each):02x}" for each in service.secret)
    assert knock(service, "token", header(f"{percent}:{secret}")).status_code == 200
    # Many clients forget to, and nothing in either changes by it.
    assert knock(service, "token", header(f"{service.client_id}:{service.secret}")).status_code == 200


MALFORMED = {
    "nothing": "Basic",
    "a space": "Basic ",
    "no base64": "Basic ???",
    "cut base64": "Basic YWJ",
    "two words": "Basic YTpi YTpi",
    "no colon": "Basic " + base64.b64encode(b"client").decode(),
    "no UTF-8": "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
    "NUL": "Basic " + base64.b64encode(b"\0:\0").decode(),
    "beyond ASCII": "Basic \u00e9",
    "no id": "Basic " + base64.b64encode(b":secret").decode(),
    "percent signs": "Basic " + base64.b64encode(b"%:%zz%ff").decode(),
    "only a colon": "Basic " + base64.b64encode(b":").decode(),
    "huge": "Basic " + base64.b64encode(b"a" * 50_000 + b":" + b"b" * 50_000).decode(),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
def test_attack_malformed_basic_is_refused_like_any_other(service, door, value):
    assert_refused(knock(service, door, {"Authorization": value}))


def wrong(service):
    """Headers that present what is no living credential."""
    other = Service()
    return {
        "wrong secret": basic(service.client_id, service.secret[:-1] + ("A" if service.secret[-1] != "A" else "B")),
        "secret of another": basic(service.client_id, other.secret),
        "secret with a space": basic(service.client_id, service.secret + " "),
        "hash of the secret": basic(service.client_id, bytes(service.credential.secret_hash).hex()),
        "unknown client": basic(str(uuid4()), service.secret),
        "no UUID": basic("service", service.secret),
        "name instead of the id": basic(service.credential.name, service.secret),
        "surrogate": basic("\ufffd", service.secret),
        "none": {},
        "an access token": {"Authorization": "Bearer x"},
    }


@pytest.mark.parametrize("door", DOORS)
def test_attack_whatever_is_wrong_gets_the_same_answer(service, door):
    answers = {name: knock(service, door, headers) for name, headers in wrong(service).items()}
    for answer in answers.values():
        assert_refused(answer)
    assert len({answer.content for answer in answers.values()}) == 1


def revoke(credential):
    credentials.revoke_credential(credential)


def expire(credential):
    Credential.objects.update(expires_at=timezone.now())


def deactivate_owner(credential):
    type(credential.user).objects.update(is_active=False)


def delete(credential):
    credential.delete()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("end", [revoke, expire, deactivate_owner, delete])
def test_a_dead_credential_is_refused_like_a_wrong_one(user, door, end):
    service = Service(user=user, may_introspect=True)
    assert knock(service, door, service.basic).status_code == 200
    end(service.credential)
    assert_refused(knock(service, door, service.basic))


@pytest.mark.parametrize("door", ["introspect", "revoked"])
def test_attack_a_credential_that_may_not_introspect_is_refused_like_a_wrong_one(db, door, caplog):
    caplog.set_level(logging.INFO, "jwt_sessions.security")
    service = Service()
    assert_refused(knock(service, door, service.basic))
    assert f"credential {service.client_id} may not introspect" in caplog.text


@pytest.mark.parametrize("door", ["token", "introspect"])
def test_both_ways_at_once_are_refused(service, door):
    response = knock(service, door, service.basic, **service.body)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert response.json()["field"] == "client_secret"


@pytest.mark.parametrize(
    ("body", "field"),
    [({"client_id": 1, "client_secret": "x"}, "client_id"), ({"client_secret": ["x"]}, "client_secret")],
)
def test_what_is_no_string_is_named(service, body, field):
    response = service.http.post("/auth/token/", {**GRANT, **body}, content_type="application/json")
    assert (response.status_code, response.json()["code"], response.json()["field"]) == (400, "INVALID_REQUEST", field)


def test_attack_lone_surrogates_in_json_are_refused(service):
    raw = '{"grant_type": "client_credentials", "client_id": "\\ud800", "client_secret": "\\udfff"}'
    assert_refused(service.http.post("/auth/token/", raw, content_type="application/json"))


# Where a client need not authenticate


def test_a_client_without_secret_only_says_its_name(device):
    for headers in (header("my-app:"), header("my-app%3A:"), {}):
        data = {"grant_type": "refresh_token", "refresh_token": device.tokens["refresh_token"], "client_id": "my-app"}
        if headers:
            del data["client_id"]
        response = device.http.post("/auth/token/", data, headers=headers)
        assert response.status_code == 200
        device.tokens = response.json()


def test_a_right_secret_is_welcome_where_none_is_needed(device, service):
    data = {"grant_type": "refresh_token", "refresh_token": device.tokens["refresh_token"]}
    assert service.post("token", data).status_code == 200
    password = {"grant_type": "password", "username": device.user.email, "password": PASSWORD}
    assert service.post("token", password).status_code == 200


def test_attack_a_wrong_secret_is_refused_also_where_none_is_needed_and_changes_nothing(device, service):
    before = list(Session.objects.values()), list(RefreshToken.objects.values())
    refresh = {"grant_type": "refresh_token", "refresh_token": device.tokens["refresh_token"]}
    password = {"grant_type": "password", "username": device.user.email, "password": PASSWORD}
    for data in (refresh, password):
        assert_refused(service.post("token", data, headers=basic(service.client_id, "wrong")))
        assert_refused(service.post("token", {**data, "client_id": service.client_id, "client_secret": "x"}, {}))
        assert_refused(service.post("token", data, headers={"Authorization": "Basic ???"}))
    assert (list(Session.objects.values()), list(RefreshToken.objects.values())) == before
    assert device.refresh().status_code == 200


def test_attack_a_wrong_secret_is_refused_at_the_exchange_of_foreign_tokens_too(service, jwt_settings):
    jwt_settings(EXCHANGE_SIMPLEJWT_TOKENS=True)
    exchange = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}
    assert_refused(service.post("token", exchange, headers=basic(service.client_id, "wrong")))
    assert service.post("token", exchange).json()["field"] == "subject_token"


# Guessing


def test_attack_guessing_ends_in_429_while_the_right_secret_still_passes(clock, service, jwt_settings, settings):
    # Local memory, because a server's clock does not follow the one of a test.
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "guesses"}}
    jwt_settings(LOGIN_THROTTLE="3/min")
    guess = basic(service.client_id, "a guess")
    answers = [knock(service, "token", guess) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 2
    assert answers[-1].json()["code"] == "THROTTLED"
    assert answers[-1].json()["error"] == "temporarily_unavailable"
    assert 1 <= int(answers[-1]["Retry-After"]) <= 60
    assert [knock(service, door, guess).status_code for door in DOORS] == [429] * 3
    assert [knock(service, door, service.basic).status_code for door in DOORS] == [200] * 3
    clock.shift(timedelta(seconds=61))
    assert knock(service, "token", guess).status_code == 401


def test_attack_guesses_for_one_client_are_counted_over_all_addresses(clock, service, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="3/min")
    guess = basic(service.client_id, "a guess")
    statuses = [
        service.http.post("/auth/token/", GRANT, headers=guess, REMOTE_ADDR=f"192.0.2.{number}").status_code
        for number in range(5)
    ]
    assert statuses == [401] * 3 + [429] * 2


def test_attack_guesses_from_one_address_are_counted_over_all_clients(clock, service, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="3/min")
    statuses = [knock(service, "token", basic(str(uuid4()), "a guess")).status_code for _ in range(5)]
    assert statuses == [401] * 3 + [429] * 2
    elsewhere = service.http.post("/auth/token/", GRANT, headers=basic(str(uuid4()), "x"), REMOTE_ADDR="192.0.2.7")
    assert elsewhere.status_code == 401


def test_failing_clients_lock_out_no_user_and_failing_users_no_client(clock, service, user, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="1/min")
    for client_id in (service.client_id, user.email, user.email):
        knock(service, "token", basic(client_id, "x"))
    assert Device(user).sign_in().call().status_code == 200


def test_a_right_secret_never_counts(service, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="1/min")
    assert [knock(service, "token", service.basic).status_code for _ in range(4)] == [200] * 4
    assert knock(service, "token", basic(service.client_id, "x")).status_code == 401


# What an attacker could measure


@pytest.fixture
def compared(monkeypatch):
    """The pairs that were compared in constant time, here."""
    pairs, compare = [], hmac.compare_digest

    def spy(left, right):
        pairs.append((left, right))
        return compare(left, right)

    monkeypatch.setattr(clients.hmac, "compare_digest", spy)
    return pairs


def present(rf, client_id, secret):
    credentials.authenticate_client(ClientSecret(client_id, secret), request=rf.post("/"))


def test_hashes_are_compared_in_constant_time_also_for_an_unknown_client(rf, service, compared):
    present(rf, service.client_id, service.secret)
    stored = bytes(service.credential.secret_hash)
    assert compared == [(stored, stored)]
    for client_id in (service.client_id, str(uuid4()), "no UUID"):
        compared.clear()
        with pytest.raises(InvalidClient):
            present(rf, client_id, "a guess")
        ((left, right),) = compared
        assert (len(left), len(right)) == (32, 32)


def test_an_unknown_client_costs_the_same_statement_as_a_known_one(rf, service):
    costs = []
    for client_id in (service.client_id, str(uuid4())):
        with CaptureQueriesContext(connection) as queries, pytest.raises(InvalidClient):
            present(rf, client_id, "a guess")
        costs.append([query["sql"].split(" WHERE ")[0] for query in queries])
    assert costs[0] == costs[1]
    assert len(costs[0]) == 1


def test_attack_no_secret_matches_a_hash_of_zeros(rf, service, monkeypatch):
    monkeypatch.setattr(clients, "secret_digest", lambda secret: bytes(32))
    with pytest.raises(InvalidClient):
        present(rf, str(uuid4()), "whatever")


# Secrets stay where they are


def test_the_secret_is_stored_as_a_hash_alone_and_shows_in_no_repr(service):
    row = Credential.objects.values().get()
    assert service.secret not in repr(row)
    assert len(bytes(row["secret_hash"])) == 32
    shown = ClientSecret(service.client_id, service.secret)
    new = credentials.create_credential(name="Another")
    assert service.secret not in repr(shown) + repr(service.credential) + str(service.credential)
    assert new.client_secret not in repr(new)
    assert new.client_secret.startswith("jcs_")
    assert len(base64.urlsafe_b64decode(new.client_secret[4:] + "=")) == 32
    assert new.client_secret != service.secret


def test_failures_are_logged_without_what_was_presented(service, caplog):
    caplog.set_level(logging.DEBUG)
    knock(service, "token", basic("canary-client", "canary-secret"))
    knock(service, "token", {}, client_id="canary-client", client_secret="canary-secret")
    assert "client authentication failed" in caplog.text
    assert "canary" not in caplog.text


def test_use_is_noted_once_in_a_while(clock, service):
    first = timezone.now()
    service.exchange()
    clock.shift(timedelta(seconds=59))
    service.exchange()
    assert service.credential.last_used_at == first
    clock.shift(timedelta(seconds=1))
    service.introspect("x")
    assert service.credential.last_used_at == timezone.now()


def test_a_wrong_secret_is_no_use(service):
    knock(service, "token", basic(service.client_id, "wrong"))
    assert service.credential.last_used_at is None


def test_an_error_of_a_request_is_told_before_its_credential_is_looked_at(service):
    response = service.http.post("/auth/introspect/", {}, headers=service.basic)
    assert (response.status_code, response.json()["field"]) == (400, "token")


def test_attack_another_spelling_of_a_client_id_is_no_other_client(db, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="3/min")
    service = Service()
    plain = service.client_id
    spellings = [plain, plain.replace("-", ""), f"{{{plain}}}", f"urn:uuid:{plain}", plain.upper()]
    answers = []
    for number, spelling in enumerate(spellings):
        client = Client(REMOTE_ADDR=f"192.0.2.{number}")
        answers.append(client.post("/auth/introspect/", {"token": "x"}, headers=basic(spelling, "wrong")).status_code)
    assert answers == [401] * 3 + [429] * 2
