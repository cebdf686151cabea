"""The throttle of failed sign-ins: who shares a counter, who is never refused, and what a refusal costs."""

from __future__ import annotations

import time

import pytest
import ua_parser
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection

from example_project.accounts.models import User, UserManager
from jwt_sessions import throttle
from jwt_sessions.exceptions import InvalidClient, Throttled
from jwt_sessions.throttle import Attempt, folded, network_of
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db

HERE = f"{__name__}."
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


def header_address(request):
    return request.headers.get("X-Real-IP", "192.0.2.1")


@pytest.fixture
def limit(clock, jwt_settings, settings, request):
    """Three a minute, counted in local memory: the clock of a server does not follow the one of a test."""
    settings.CACHES = {"default": {"BACKEND": LOCMEM, "LOCATION": request.node.nodeid}}
    jwt_settings(LOGIN_THROTTLE="3/min", CLIENT_IP=f"{HERE}header_address")


def sign_in(name, password=PASSWORD, address="192.0.2.1"):
    device = Device(User(email="nobody"))
    return device.post("login", {"email": name, "password": password}, **{"X-Real-IP": address})


def statuses(names, password="wrong", address="192.0.2.1"):
    return [sign_in(name, password, address).status_code for name in names]


def junk(number, start=0):
    return [f"junk{each}@example.com" for each in range(start, start + number)]


# An address beyond the limit


def test_right_passwords_pass_an_address_that_is_beyond_the_limit(limit):
    honest = [UserFactory().email for _ in range(12)]
    assert statuses(junk(3)) == [401, 401, 401]
    assert statuses(honest, PASSWORD) == [200] * 12


def test_an_address_beyond_the_limit_is_closed_to_others_for_ten_seconds_at_most(limit, clock):
    honest = UserFactory().email
    statuses(junk(4))
    for number in range(3):
        assert sign_in(honest).status_code == 429
        clock.shift(10.1)
        assert sign_in(honest).status_code == 200
        assert statuses(junk(1, start=10 + number)) == [429]


def test_attack_spraying_from_one_address_has_one_guess_in_ten_seconds_beyond_the_limit(limit, clock):
    names = [UserFactory().email for _ in range(8)]
    statuses(junk(3))
    assert statuses([names[0]]) == [429]
    for name in names[1:]:
        clock.shift(1)
        assert sign_in(name).status_code == 429


def test_attack_a_guess_beyond_the_limit_of_an_address_counts_for_its_name(limit, clock):
    victim = UserFactory().email
    statuses(junk(3))
    for _ in range(3):
        assert statuses([victim]) == [429]
        clock.shift(10.1)
    assert sign_in(victim, address="198.51.100.7").status_code == 429


# Who shares a counter


def test_attack_the_addresses_of_one_ipv6_subscriber_are_one(limit):
    addresses = [f"2001:db8:1:2::{each}" for each in ("1", "2", "ffff", "a:b:c")]
    answers = [sign_in(name, "wrong", address) for name, address in zip(junk(4), addresses, strict=True)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert sign_in("other@example.com", "wrong", "2001:db8:1:3::1").status_code == 401


def test_ipv4_addresses_written_as_ipv6_are_not_one(limit):
    assert [sign_in(name, "wrong", f"::ffff:192.0.2.{n}").status_code for n, name in enumerate(junk(6))] == [401] * 6
    assert statuses(junk(3, start=9), address="192.0.2.5") == [401, 401, 429]


def test_an_address_with_a_port_is_that_address(limit):
    answers = [sign_in(name, "wrong", f"192.0.2.9:{4000 + number}") for number, name in enumerate(junk(4))]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]


SPELLINGS = [("jose@example.com", "josé@example.com"), ("jose@example.com", "JOSÈ@example.com ")]
if connection.vendor == "mysql":
    # Equal to its collations only, and not by what Unicode says of the letters.
    SPELLINGS += [("strasse@example.com", "straße@example.com"), ("mas@example.com", "maß@example.com")]


@pytest.mark.parametrize(("stored", "typed"), SPELLINGS)
def test_attack_spellings_that_reach_one_user_share_a_counter(limit, stored, typed):
    UserFactory(email=stored)
    for number in range(3):
        assert sign_in([stored, typed][number % 2], "wrong", f"192.0.2.{number}").status_code == 401
    assert [sign_in(name, address="192.0.2.9").status_code for name in (stored, typed)] == [429, 429]


class IgnoresDots(UserManager):
    """Finds a user by a name that is written with dots or without."""

    def get_by_natural_key(self, username):
        return self.get(email=username.replace(".", ""))


def test_attack_spellings_that_reach_one_user_by_the_manager_share_a_counter(limit, monkeypatch):
    manager = IgnoresDots()
    manager.model = User
    monkeypatch.setattr(User._meta, "default_manager", manager)
    UserFactory(email="jose@examplecom")
    spellings = ["j.ose@examplecom", "jo.se@examplecom", "jos.e@examplecom", "jose@examplecom"]
    answers = [sign_in(name, "wrong", f"192.0.2.{number}") for number, name in enumerate(spellings)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Straße", "STRASSE"), ("ı", "i"), ("ｊosé", "JOSE"), ("𝐀nn", "ann"), ("ﬁ", "FI"), ("Σ", "ς"), (" a ", "a")],
)
def test_folding_leaves_no_case_width_or_accent(one, other):
    assert folded(one) == folded(other)


def test_folding_keeps_names_apart():
    assert len({folded(name) for name in ("ann", "ben", "иван", "олег", "愛", "和", "a b", "ab")}) == 8


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
    ],
)
def test_what_is_counted_as_one_address(address, network):
    assert network_of(address) == network


# What a refusal leaves behind


@pytest.fixture(params=["memory", "file"])
def small_cache(request, settings, jwt_settings, tmp_path):
    """A cache that drops entries when there are more than 300."""
    caches = {
        "memory": {"BACKEND": LOCMEM, "LOCATION": str(tmp_path)},
        "file": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(tmp_path)},
    }
    settings.CACHES = {"default": {**caches[request.param], "TIMEOUT": 1}}
    jwt_settings(LOGIN_THROTTLE="3/min", CLIENT_IP=f"{HERE}header_address")


def test_attack_refused_attempts_do_not_drop_the_counter_of_a_victim(small_cache):
    victim = UserFactory().email
    assert statuses([victim] * 4) == [401, 401, 401, 429]
    assert set(statuses(junk(400), address="198.51.100.7")) == {401, 429}
    assert sign_in(victim, address="203.0.113.1").status_code == 429


def test_a_counter_lives_for_its_period_whatever_the_default_of_the_cache(small_cache):
    victim = UserFactory().email
    statuses([victim] * 3)
    time.sleep(1.1)
    assert sign_in(victim, address="203.0.113.1").status_code == 429


def test_a_throttled_sign_in_parses_no_user_agent(limit, monkeypatch):
    parsed = []
    monkeypatch.setattr(ua_parser, "parse", parsed.append)
    name = UserFactory().email
    assert statuses([name] * 5) == [401, 401, 401, 429, 429]
    assert parsed == []


# Attempts under way


def test_a_place_that_nobody_gives_back_is_refused_after_a_while(limit, monkeypatch):
    monkeypatch.setattr(throttle, "LONGEST_WAIT", 0.2)
    name = UserFactory().email
    for number in range(3):
        # Its process was killed.
        Attempt("login", name, f"192.0.2.{number}").__enter__()
    refused = sign_in(name, address="192.0.2.9")
    assert (refused.status_code, refused["Retry-After"]) == (429, "60")


def test_an_attempt_waits_for_one_under_way_and_goes_on_when_that_was_right(limit, monkeypatch):
    attempts = [Attempt("login", "ann", None) for _ in range(4)]
    for attempt in attempts[:3]:
        attempt.__enter__()
    monkeypatch.setattr(throttle.time, "sleep", lambda seconds: attempts[0].succeed())
    with attempts[3]:
        attempts[3].succeed()


def test_an_attempt_that_waits_is_refused_when_those_under_way_fail(limit, monkeypatch):
    attempts = [Attempt("login", "ann", None) for _ in range(4)]
    for attempt in attempts[:3]:
        attempt.__enter__()
    failing = iter(attempts)
    monkeypatch.setattr(throttle.time, "sleep", lambda seconds: next(failing).__exit__(None, None, None))
    with pytest.raises(Throttled):
        attempts[3].__enter__()


def test_an_attempt_that_breaks_counts_as_a_failure(limit):
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), Attempt("login", "ann", None):
            raise ZeroDivisionError
    with pytest.raises(Throttled):
        Attempt("login", "ann", None).__enter__()


def test_failed_clients_are_counted_by_themselves(limit):
    for _ in range(3):
        with pytest.raises(InvalidClient), Attempt("client", "ann", None):
            raise InvalidClient
    with pytest.raises(Throttled), Attempt("client", "ann", None):
        raise InvalidClient
    with Attempt("login", "ann", None) as attempt:
        attempt.succeed()


# A cache that is down


class DownCache(LocMemCache):
    """Its server does not answer."""

    def get(self, *args, **kwargs):
        raise ConnectionError("refused")


class FallingCache(LocMemCache):
    """Its server dies after an attempt has taken its places."""

    def incr(self, key, delta=1, version=None):
        if delta < 0:
            raise ConnectionError("refused")
        return super().incr(key, delta, version)


@pytest.mark.parametrize("backend", ["DownCache", "FallingCache"])
def test_sign_ins_work_while_the_cache_is_down_and_the_log_says_so(limit, settings, caplog, backend):
    settings.CACHES = {"default": {"BACKEND": HERE + backend, "LOCATION": backend}}
    email = UserFactory().email
    assert sign_in(email, "wrong").status_code == 401
    assert sign_in(email).status_code == 200
    assert "the default cache cannot be used" in caplog.text
    assert PASSWORD not in caplog.text


def test_without_a_cache_nothing_is_limited(limit, settings):
    settings.CACHES = {"default": {"BACKEND": f"{HERE}DownCache", "LOCATION": "down"}}
    assert set(statuses([UserFactory().email] * 8)) == {401}
