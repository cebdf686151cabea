"""
The procedures of docs/keys.md, under traffic.

Two servers restart one after the other into each step. All the while devices refresh at every server, and every access
token that has not expired is presented to every server and to verifiers elsewhere. Those are the strictest that obey
HTTP: they keep jwks.json for all of its ``max-age`` and fetch nothing before, whatever ``kid`` they meet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from jwt_sessions.api.metadata import MAX_AGE
from jwt_sessions.models import Session
from tests.clients import Device
from tests.effort import some
from tests.factories import UserFactory
from tests.pems import public_pem

pytestmark = pytest.mark.django_db

# Divides both times that the procedure waits for, so that something is tried at the very moment they are over.
TICK = timedelta(seconds=100)
LIFETIME = timedelta(seconds=300)
VERIFIERS = int(MAX_AGE / TICK.total_seconds())

Step = dict[str, Any]


def key(*arguments: str) -> str:
    """What ``manage.py generate_signing_key`` prints."""
    out = StringIO()
    call_command("generate_signing_key", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


@dataclass
class Server:
    """A process with the settings that it was last started with."""

    step: Step
    device: Device

    @contextmanager
    def running(self) -> Iterator[None]:
        own = {name: value for name, value in self.step.items() if name.startswith("SECRET_KEY")}
        keys = {name: value for name, value in self.step.items() if name not in own}
        jwt_settings = {**settings.JWT_SESSIONS, "ACCESS_TOKEN_LIFETIME": LIFETIME, **keys}
        with override_settings(**own, JWT_SESSIONS=jwt_settings):
            yield

    def refresh(self) -> str | None:
        """A new access token, or ``None`` where the refresh was refused."""
        with self.running():
            answered = self.device.refresh().status_code == 200
        return self.device.tokens["access_token"] if answered else None

    def accepts(self, token: str) -> bool:
        with self.running():
            return Client().get("/api/me/", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@dataclass
class Verifier:
    """Another service. It fetches from one server: the last to be restarted, which knows a new key latest."""

    source: Server
    keys: jwt.PyJWKSet | None = None
    fresh_until: datetime = datetime.min.replace(tzinfo=UTC)

    def accepts(self, token: str) -> bool:
        if timezone.now() >= self.fresh_until:
            with self.source.running():
                response = Client().get(reverse("jwt_sessions:jwks"))
            seconds = re.fullmatch(r"public, max-age=(\d+)", response["Cache-Control"])[1]
            self.fresh_until = timezone.now() + timedelta(seconds=int(seconds))
            self.keys = jwt.PyJWKSet.from_dict(response.json())
        try:
            found = self.keys[jwt.get_unverified_header(token)["kid"]]
            jwt.decode(token, found, algorithms=["ES256", "RS256", "EdDSA"], audience="api", issuer="jwt-sessions")
        except (KeyError, jwt.PyJWTError):
            return False
        return True


@dataclass
class Fleet:
    """Servers over one database, the verifiers that read their keys, and the clients of both."""

    servers: list[Server]
    clock: Any
    verifiers: list[Verifier] = field(default_factory=list)
    tokens: list[tuple[str, datetime]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    tried: int = 0

    def start(self) -> None:
        for server in self.servers:
            with server.running():
                server.device.sign_in()
        for _ in range(VERIFIERS):
            # Each fetches for the first time at another tick, so that at any moment one has just fetched.
            self.verifiers.append(Verifier(self.servers[-1]))
            self.tick()

    def traffic(self) -> None:
        now = timezone.now()
        for number, server in enumerate(self.servers):
            token = server.refresh()
            self.note(token is not None, f"refresh at server {number}")
            if token is not None:
                self.tokens.append((token, now + LIFETIME))
        self.tokens = [(token, expires) for token, expires in self.tokens if expires > now]
        for token, expires in self.tokens:
            age = (now - (expires - LIFETIME)).total_seconds()
            for number, server in enumerate(self.servers):
                self.note(server.accepts(token), f"token of {age:.0f} s at server {number}")
            for number, verifier in enumerate(self.verifiers):
                self.note(verifier.accepts(token), f"token of {age:.0f} s at verifier {number}")

    def note(self, good: bool, what: str) -> None:
        self.tried += 1
        if not good:
            self.failures.append(what)

    def tick(self) -> None:
        """Traffic until the next restart or the end of a wait may come."""
        self.traffic()
        self.clock.shift(TICK)

    def wait(self, duration: timedelta) -> None:
        for _ in range(round(duration / TICK)):
            self.tick()

    def restart(self, step: Step) -> None:
        """One server after the other, with traffic before, between and after."""
        for server in self.servers:
            self.traffic()
            server.step = step
            self.tick()


@pytest.fixture
def fleet(clock) -> Callable[[Step], Fleet]:
    def start(step: Step) -> Fleet:
        fleet = Fleet([Server(step, Device(UserFactory())) for _ in range(2)], clock)
        fleet.start()
        return fleet

    return start


def own_keys() -> list[Step]:
    old, new = key(), key()
    return [{"SIGNING_KEYS": keys} for keys in ([old], [old, new], [new, old], [new])]


def another_algorithm() -> list[Step]:
    old, new = key("--algorithm", "ES256"), key("--algorithm", "RS256", "--bits", "2048")
    return [
        {"ALGORITHM": "ES256", "SIGNING_KEYS": [old]},
        {"ALGORITHM": "ES256", "SIGNING_KEYS": [old, new]},
        {"ALGORITHM": "RS256", "SIGNING_KEYS": [new, old]},
        {"ALGORITHM": "RS256", "SIGNING_KEYS": [new]},
    ]


def derived_to_own() -> list[Step]:
    derived, new = key("--derived"), key()
    return [{}, {"SIGNING_KEYS": [derived, new]}, {"SIGNING_KEYS": [new, derived]}, {"SIGNING_KEYS": [new]}]


def own_to_derived() -> list[Step]:
    old, derived = key(), key("--derived")
    return [{"SIGNING_KEYS": keys} for keys in ([old], [old, derived], [derived, old], [])]


def derived_to_another_algorithm() -> list[Step]:
    old, new = (key("--derived", "--algorithm", algorithm) for algorithm in ("ES256", "EdDSA"))
    return [
        {},
        {"SIGNING_KEYS": [old, new]},
        {"SIGNING_KEYS": [new, old], "ALGORITHM": "EdDSA"},
        {"ALGORITHM": "EdDSA"},
    ]


def secret_key() -> list[Step]:
    pairs = [("old", []), ("old", ["new"]), ("new", ["old"]), ("new", [])]
    return [{"SECRET_KEY": current, "SECRET_KEY_FALLBACKS": others} for current, others in pairs]


def secret_key_beside_own_keys() -> list[Step]:
    own = {"SIGNING_KEYS": [key()]}
    return [{**step, **own} for step in secret_key()]


PROCEDURES = [
    *(own_keys, another_algorithm, derived_to_own, own_to_derived, derived_to_another_algorithm),
    *(secret_key, secret_key_beside_own_keys),
]


@pytest.mark.parametrize("procedure", some(PROCEDURES), ids=lambda procedure: procedure.__name__)
def test_a_rollover_fails_no_request(fleet, procedure):
    start, publish, sign, retire = procedure()
    fleet = fleet(start)
    fleet.restart(publish)
    fleet.wait(timedelta(seconds=MAX_AGE))
    fleet.restart(sign)
    fleet.wait(LIFETIME)
    fleet.restart(retire)
    fleet.wait(timedelta(seconds=MAX_AGE))
    assert fleet.failures == []
    assert fleet.tried > 300


def test_a_rollover_can_be_undone(fleet):
    start, publish, sign, _retire = own_keys()
    fleet = fleet(start)
    fleet.restart(publish)
    fleet.wait(timedelta(seconds=MAX_AGE))
    fleet.restart(sign)
    fleet.restart(publish)
    fleet.wait(LIFETIME)
    fleet.restart(start)
    fleet.wait(timedelta(seconds=MAX_AGE))
    assert fleet.failures == []


# Each step left out is seen: the traffic above would have failed.


@pytest.mark.parametrize("procedure", [own_keys, secret_key], ids=lambda procedure: procedure.__name__)
def test_control_a_key_that_signs_before_it_is_published_is_refused(fleet, procedure):
    start, _publish, sign, _retire = procedure()
    fleet = fleet(start)
    fleet.restart(sign)
    fleet.wait(timedelta(seconds=MAX_AGE))
    assert "token of 0 s at server 1" in fleet.failures
    assert "token of 0 s at verifier 0" in fleet.failures


def test_control_a_secret_key_that_some_servers_do_not_know_yet_ends_sessions(fleet):
    start, _publish, sign, _retire = secret_key_beside_own_keys()
    fleet = fleet(start)
    fleet.restart(sign)
    assert fleet.failures
    assert all("server" in failure for failure in fleet.failures)
    # Servers before the change hold the renewed hash for that of another password.
    assert Session.objects.filter(end_reason="password_changed").count() == 1


def test_control_verifiers_that_had_no_time_to_fetch_refuse(fleet):
    start, publish, sign, _retire = own_keys()
    fleet = fleet(start)
    fleet.restart(publish)
    fleet.wait(timedelta(seconds=MAX_AGE) - 2 * TICK)
    fleet.restart(sign)
    assert fleet.failures
    assert all("verifier" in failure for failure in fleet.failures)


def test_control_tokens_of_a_key_that_is_retired_too_early_are_refused(fleet):
    start, publish, sign, retire = own_keys()
    fleet = fleet(start)
    fleet.restart(publish)
    fleet.wait(timedelta(seconds=MAX_AGE))
    fleet.restart(sign)
    assert fleet.failures == []
    fleet.restart(retire)
    assert "token of 200 s at server 0" in fleet.failures


# Emergency


def test_a_leaked_key_is_dead_at_once_here_and_after_max_age_elsewhere(fleet):
    leaked, new = key(), key()
    fleet = fleet({"SIGNING_KEYS": [leaked]})
    forged = fleet.tokens[-1][0]
    for server in fleet.servers:
        server.step = {"SIGNING_KEYS": [new]}
    assert not any(server.accepts(forged) for server in fleet.servers)
    # Nobody has to sign in: refresh tokens do not hang on the key.
    assert all(server.accepts(server.refresh()) for server in fleet.servers)
    fleet.tokens.clear()
    fleet.clock.shift(timedelta(seconds=MAX_AGE))
    for verifier in fleet.verifiers:
        assert not verifier.accepts(forged)
        assert verifier.accepts(fleet.servers[0].refresh())


def test_a_spare_key_that_is_published_already_takes_over_at_once(fleet):
    leaked, spare = key(), key()
    # Its private half is somewhere else until it is needed.
    public = public_pem(load_pem_private_key(spare.encode(), None).public_key())
    fleet = fleet({"SIGNING_KEYS": [leaked, public]})
    for server in fleet.servers:
        server.step = {"SIGNING_KEYS": [spare]}
    fleet.tokens.clear()
    fleet.wait(timedelta(seconds=MAX_AGE))
    assert fleet.failures == []


def test_a_leaked_secret_key_ends_what_hangs_on_it(fleet):
    fleet = fleet({"SECRET_KEY": "leaked"})
    token = fleet.tokens[-1][0]
    for server in fleet.servers:
        server.step = {"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": []}
        assert not server.accepts(token)
        assert server.refresh() is None


def test_a_device_that_sleeps_through_the_fallback_has_to_sign_in_again(fleet):
    start, publish, sign, retire = secret_key()
    fleet = fleet(start)
    awake, asleep = fleet.servers
    for step in (publish, sign):
        awake.step = asleep.step = step
        fleet.clock.shift(timedelta(days=1))
        assert awake.refresh() is not None
    awake.step = asleep.step = retire
    assert awake.refresh() is not None
    assert asleep.refresh() is None
