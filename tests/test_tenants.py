"""Tenants: one session, many tabs, each tab for a tenant of its own choice."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import jwt
import pytest
from django.db import connections

from jwt_sessions import sessions
from jwt_sessions.models import Session, SessionPolicy, TenantActivity
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)
FIVE = ["acme", "globex", "initech", "hooli", "umbrella"]


def first_two(user):
    return ["acme", "globex"]


@pytest.fixture
def accepted(jwt_settings):
    """The memberships that accepted the user; a test adds and removes them."""
    tenants = ["acme", "globex"]
    jwt_settings(TENANTS=lambda user: tenants)
    return tenants


@pytest.fixture
def tenant_device(clock, accepted, user):
    return Device(user).sign_in(tenantId="acme")


def claims(device):
    return jwt.decode(device.tokens["access_token"], options={"verify_signature": False})


def log_in(user, **parameters):
    return Device(user).post("login", {"email": user.email, "password": PASSWORD, **parameters})


def renew(device, **parameters):
    return device.post("renew", parameters, **device.bearer)


def reauthenticate(device, **parameters):
    response = device.post("reauthenticate", {"password": PASSWORD, **parameters}, **device.bearer)
    if response.status_code == 200:
        device.tokens = response.json()
    return response


def code(response):
    return (response.status_code, response.json()["code"], response.json()["terminal"])


@pytest.mark.parametrize("tenants", [first_two, f"{__name__}.first_two"])
def test_tenants_are_told_by_a_callable_or_its_dotted_path(user, jwt_settings, tenants):
    jwt_settings(TENANTS=tenants)
    device = Device(user).sign_in(tenantId="globex")
    assert (claims(device)["tenantId"], device.tokens["tenantId"]) == ("globex", "globex")
    assert code(log_in(user, tenantId="hooli")) == (403, "TENANT_FORBIDDEN", False)


@pytest.mark.parametrize(
    "tenants", [lambda user: (each for each in (7, 8)), lambda user: {7, 8}, lambda user: ["8", 7, "7"]]
)
def test_tenant_ids_may_be_anything_that_has_a_text(user, jwt_settings, tenants):
    jwt_settings(TENANTS=tenants)
    assert claims(Device(user).sign_in(tenantId="7"))["tenantId"] == "7"
    assert Session.objects.get().tenants == ["7", "8"]


def test_a_token_for_no_tenant_has_no_such_claim(tenant_device):
    assert tenant_device.refresh().status_code == 200
    assert "tenantId" not in claims(tenant_device)
    assert "tenantId" not in tenant_device.tokens
    assert tenant_device.call().status_code == 200


def test_without_tenants_every_tenant_is_forbidden(user):
    assert code(log_in(user, tenantId="acme")) == (403, "TENANT_FORBIDDEN", False)
    assert not Session.objects.exists()


def test_each_token_is_for_the_tenant_that_was_asked_for(tenant_device, jwt_settings):
    jwt_settings(ALLOW_RENEWAL=True)
    sid = claims(tenant_device)["sid"]
    assert tenant_device.refresh(tenantId="globex").status_code == 200
    assert (claims(tenant_device)["tenantId"], claims(tenant_device)["sid"]) == ("globex", sid)
    renewed = renew(tenant_device, tenantId="acme").json()
    assert renewed["tenantId"] == "acme"
    kept = renew(tenant_device).json()
    assert kept["tenantId"] == "globex"
    tenant_device.tokens.update(renewed)
    assert claims(tenant_device)["tenantId"] == "acme"
    assert claims(tenant_device)["sid"] == sid


@pytest.mark.parametrize("door", ["refresh", "renew", "reauthenticate"])
def test_a_forbidden_tenant_leaves_the_session_and_the_refresh_token_unharmed(tenant_device, jwt_settings, door):
    jwt_settings(ALLOW_RENEWAL=True)
    token, before = tenant_device.tokens["refresh_token"], Session.objects.values().get()
    doors = {
        "refresh": lambda: tenant_device.refresh(tenantId="hooli"),
        "renew": lambda: renew(tenant_device, tenantId="hooli"),
        "reauthenticate": lambda: reauthenticate(tenant_device, tenantId="hooli"),
    }
    assert code(doors[door]()) == (403, "TENANT_FORBIDDEN", False)
    assert Session.objects.values().get() == before
    assert not TenantActivity.objects.filter(tenant="hooli").exists()
    assert tenant_device.refresh(token, tenantId="globex").status_code == 200
    assert tenant_device.tokens["refresh_token"] != token


def test_an_ended_membership_bites_when_the_next_token_is_minted(tenant_device, accepted, jwt_settings):
    jwt_settings(ALLOW_RENEWAL=True)
    accepted.remove("acme")
    assert tenant_device.call().status_code == 200
    assert code(renew(tenant_device)) == (403, "TENANT_FORBIDDEN", False)
    assert code(tenant_device.refresh(tenantId="acme")) == (403, "TENANT_FORBIDDEN", False)
    assert tenant_device.refresh(tenantId="globex").status_code == 200
    assert tenant_device.call().status_code == 200
    assert Session.objects.get().tenants == ["globex"]


@pytest.mark.parametrize("door", ["login", "refresh", "renew", "reauthenticate"])
def test_a_broken_callable_is_503_and_nothing_is_lost(tenant_device, jwt_settings, door, caplog):
    def breaks(user):
        raise RuntimeError("the membership service says its secret")

    jwt_settings(TENANTS=breaks, ALLOW_RENEWAL=True)
    before = list(Session.objects.values())
    doors = {
        "login": lambda: log_in(tenant_device.user),
        "refresh": tenant_device.refresh,
        "renew": lambda: renew(tenant_device),
        "reauthenticate": lambda: reauthenticate(tenant_device),
    }
    response = doors[door]()
    assert code(response) == (503, "ISSUE_FAILED", False)
    assert "secret" not in response.content.decode()
    assert "TENANTS failed" in caplog.text
    assert list(Session.objects.values()) == before
    jwt_settings(TENANTS=first_two)
    assert tenant_device.refresh(tenantId="acme").status_code == 200


@pytest.mark.parametrize("answer", [None, 5])
def test_a_callable_that_answers_no_list_is_broken(user, jwt_settings, answer):
    jwt_settings(TENANTS=lambda user: answer)
    assert code(log_in(user)) == (503, "ISSUE_FAILED", False)
    assert not Session.objects.exists()


def test_memberships_are_not_asked_for_by_requests(clock, user, jwt_settings):
    asked = []
    jwt_settings(TENANTS=lambda user: asked.append(user) or ["acme"])
    device = Device(user).sign_in(tenantId="acme")
    device.refresh(tenantId="acme")
    assert len(asked) == 2
    device.call()
    device.get("session-list")
    assert len(asked) == 2


@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_tabs_over_five_tenants_share_one_session(clock, user, jwt_settings, seed):
    jwt_settings(TENANTS=lambda user: FIVE)
    chance = random.Random(seed)
    device = Device(user).sign_in()
    sid = claims(device)["sid"]
    tabs = [FIVE[number % 5] for number in range(20)]
    for _ in range(40):
        # Both read the storage that the tabs share before either has written to it.
        shared = device.tokens["refresh_token"]
        for tenant in chance.sample(tabs, 2):
            assert device.refresh(shared, tenantId=tenant).status_code == 200
            assert (claims(device)["tenantId"], claims(device)["sid"]) == (tenant, sid)
            assert device.call().status_code == 200
        clock.shift(timedelta(seconds=chance.choice([0, 1, 10, 60])))
    assert Session.objects.get().ended_at is None
    assert set(TenantActivity.objects.values_list("tenant", flat=True)) == set(FIVE)


@pytest.mark.django_db(transaction=True)
def test_twenty_tabs_that_refresh_at_once_are_never_turned_away(jwt_settings):
    jwt_settings(TENANTS=lambda user: FIVE)
    pair = sessions.start(UserFactory())

    def tab(number):
        try:
            answer = sessions.refresh(pair.refresh_token, tenant=FIVE[number % 5])
            _, token = sessions.authorize(answer.access_token)
            return answer.refresh_token, token.tenant == FIVE[number % 5], token.session.pk
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as tabs:
        answers = set(tabs.map(tab, range(20)))
    assert len(answers) == 1
    assert {answer[1:] for answer in answers} == {(True, pair.session.pk)}
    assert TenantActivity.objects.count() == 5


@pytest.fixture
def strict_acme(tenant_device, jwt_settings):
    """The device, where acme asks for activity every ten minutes and access tokens would live for an hour."""
    jwt_settings(ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    SessionPolicy.objects.create(tenant="acme", idle_timeout=10 * MINUTE)
    tenant_device.refresh(tenantId="acme")
    return tenant_device


def test_a_token_for_a_tenant_expires_with_its_idle_clock(strict_acme):
    assert strict_acme.tokens["expires_in"] == 600
    assert strict_acme.refresh(tenantId="globex").status_code == 200
    assert strict_acme.tokens["expires_in"] == 3600
    assert strict_acme.tokens["idle_expires_at"] is None


def test_the_first_tab_of_a_tenant_opens_however_long_the_user_was_idle_before(clock, strict_acme):
    SessionPolicy.objects.create(tenant="globex", idle_timeout=5 * MINUTE)
    clock.shift(6 * MINUTE)
    assert strict_acme.refresh(tenantId="globex").status_code == 200
    assert strict_acme.tokens["expires_in"] == 300


@pytest.mark.parametrize(("late", "opened"), [(-TICK, True), (timedelta(0), False), (TICK, False)])
def test_a_tenant_goes_idle_on_the_dot_while_other_tabs_go_on(clock, strict_acme, late, opened):
    clock.shift(5 * MINUTE)
    assert strict_acme.refresh(tenantId="globex").status_code == 200
    clock.shift(5 * MINUTE + late)
    response = strict_acme.refresh(tenantId="acme")
    assert (response.status_code == 200) == opened
    if not opened:
        assert code(response) == (400, "TENANT_IDLE", False)
        assert strict_acme.call().status_code == 200
        assert strict_acme.refresh(tenantId="globex").status_code == 200
        assert strict_acme.refresh().status_code == 200
    assert Session.objects.get().ended_at is None


@pytest.mark.parametrize(("late", "status"), [(-SECOND, 200), (timedelta(0), 401)])
def test_a_tightened_tenant_closes_at_resources_with_its_own_code(clock, strict_acme, late, status):
    acme = dict(strict_acme.tokens)
    SessionPolicy.objects.filter(tenant="acme").update(idle_timeout=4 * MINUTE)
    clock.shift(4 * MINUTE + late)
    response = strict_acme.call()
    assert response.status_code == status
    if status == 401:
        assert code(response) == (401, "TENANT_IDLE", False)
        assert response.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
        assert strict_acme.refresh(tenantId="globex").status_code == 200
        assert strict_acme.call().status_code == 200
        strict_acme.tokens = acme
        assert code(strict_acme.call())[1] == "TENANT_IDLE"


@pytest.mark.parametrize("bearer", ["globex", "acme"])
def test_the_password_opens_an_idle_tenant_again(clock, strict_acme, bearer):
    if bearer == "globex":
        strict_acme.refresh(tenantId="globex")
        clock.shift(10 * MINUTE)
    else:
        SessionPolicy.objects.filter(tenant="acme").update(idle_timeout=4 * MINUTE)
        clock.shift(4 * MINUTE)
        assert code(strict_acme.call())[1] == "TENANT_IDLE"
    assert code(strict_acme.refresh(tenantId="acme"))[1] == "TENANT_IDLE"
    assert reauthenticate(strict_acme, tenantId="acme").status_code == 200
    assert claims(strict_acme)["tenantId"] == "acme"
    assert strict_acme.call().status_code == 200
    assert strict_acme.refresh(tenantId="acme").status_code == 200


def test_the_password_for_one_tenant_opens_no_other(clock, strict_acme):
    SessionPolicy.objects.create(tenant="globex", idle_timeout=10 * MINUTE)
    strict_acme.refresh(tenantId="globex")
    strict_acme.refresh()
    clock.shift(10 * MINUTE)
    assert reauthenticate(strict_acme, tenantId="acme").status_code == 200
    assert code(strict_acme.refresh(tenantId="globex"))[1] == "TENANT_IDLE"
    assert strict_acme.refresh(tenantId="acme").status_code == 200


@pytest.mark.parametrize("background", [True, False])
def test_keep_alive_does_not_keep_a_tenant_open(clock, strict_acme, background):
    headers = {"X-Session-Background": "1"} if background else {}
    for _ in range(9):
        clock.shift(MINUTE)
        assert strict_acme.refresh(tenantId="acme", background=background).status_code == 200
        assert strict_acme.call(**headers).status_code == 200
    clock.shift(MINUTE)
    response = strict_acme.refresh(tenantId="acme", background=background)
    assert response.status_code == (400 if background else 200)


def test_only_work_for_a_tenant_winds_its_clock(clock, strict_acme):
    clock.shift(9 * MINUTE)
    strict_acme.call()
    strict_acme.refresh(tenantId="globex")
    clock.shift(9 * MINUTE)
    strict_acme.call()
    assert strict_acme.refresh(tenantId="acme").status_code == 200
    clock.shift(9 * MINUTE)
    strict_acme.refresh(tenantId="globex")
    clock.shift(MINUTE)
    assert code(strict_acme.refresh(tenantId="acme"))[1] == "TENANT_IDLE"


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_the_strictest_lifetime_of_all_accepted_tenants_counts_whichever_is_acted_for(clock, accepted, user, tenant):
    SessionPolicy.objects.create(tenant="acme", max_lifetime=timedelta(hours=2))
    SessionPolicy.objects.create(tenant="globex", max_lifetime=timedelta(hours=1))
    device = Device(user).sign_in(tenantId=tenant)
    assert datetime.fromisoformat(device.tokens["session_expires_at"]).hour == 13
    clock.shift(timedelta(hours=1) - SECOND)
    assert device.refresh(tenantId=tenant).status_code == 200
    assert device.tokens["expires_in"] == 1
    clock.shift(SECOND)
    assert device.refresh(tenantId=tenant).json()["reason"] == "max_lifetime"


def test_a_tenant_that_merely_invited_the_user_has_no_say(clock, tenant_device):
    SessionPolicy.objects.create(
        tenant="hooli",
        idle_timeout=MINUTE,
        max_lifetime=MINUTE,
        max_concurrent_sessions=1,
        on_session_limit="refuse",
    )
    clock.shift(4 * MINUTE)
    assert tenant_device.call().status_code == 200
    assert tenant_device.refresh(tenantId="acme").status_code == 200
    assert log_in(tenant_device.user).status_code == 200


def test_a_tenant_that_accepts_the_user_gets_its_say_when_the_next_token_is_minted(clock, tenant_device, accepted):
    SessionPolicy.objects.create(tenant="hooli", max_lifetime=10 * MINUTE)
    clock.shift(4 * MINUTE)
    accepted.append("hooli")
    assert tenant_device.refresh(tenantId="acme").status_code == 200
    assert tenant_device.tokens["session_expires_at"] == "2026-03-01T12:10:00Z"
    assert tenant_device.tokens["expires_in"] == 300
    clock.shift(6 * MINUTE)
    assert tenant_device.refresh(tenantId="acme").json()["reason"] == "max_lifetime"
