"""Whose word ended a session: ``set_by`` of ``SESSION_ENDED``, at every door, as the admin and the command say it."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import call_command

from jwt_sessions import sessions
from jwt_sessions.models import Session, SessionPolicy
from tests.clients import Device
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def device(clock, jwt_settings, user):
    jwt_settings(
        TENANTS=lambda user: ["acme"], ALLOW_RENEWAL=True, ACCESS_TOKEN_LIFETIME=2 * HOUR, REFRESH_TOKEN_LIFETIME=None
    )
    return Device(user).sign_in()


def by_settings_idle(jwt_settings):
    jwt_settings(IDLE_TIMEOUT=10 * MINUTE)


def by_audience_idle(jwt_settings):
    SessionPolicy.objects.create(audience="api", idle_timeout=10 * MINUTE)


def by_settings(jwt_settings):
    jwt_settings(MAX_SESSION_LIFETIME=10 * MINUTE)


def by_audience(jwt_settings):
    SessionPolicy.objects.create(audience="api", max_lifetime=10 * MINUTE)


def by_tenant(jwt_settings):
    SessionPolicy.objects.create(tenant="acme", max_lifetime=10 * MINUTE)


LIMITS = pytest.mark.parametrize(
    ("limit", "reason", "source"),
    [
        (by_settings_idle, "idle_timeout", "settings"),
        (by_audience_idle, "idle_timeout", "audience api"),
        (by_settings, "max_lifetime", "settings"),
        (by_audience, "max_lifetime", "audience api"),
        (by_tenant, "max_lifetime", "tenant acme"),
    ],
)

DOORS = {
    "a resource": lambda device: device.call(),
    "the own sessions": lambda device: device.get("session-list"),
    "refresh": lambda device: device.refresh(),
    "renewal": lambda device: device.post("renew", **device.bearer),
    "re-authentication": lambda device: device.post("reauthenticate", {"password": PASSWORD}, **device.bearer),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@LIMITS
def test_each_door_names_whose_word_it_was_and_again(clock, device, jwt_settings, limit, reason, source, door):
    limit(jwt_settings)
    clock.shift(10 * MINUTE)
    for _ in range(2):
        body = door(device).json()
        assert (body["code"], body["reason"], body["set_by"]) == ("SESSION_ENDED", reason, source)
        assert Session.objects.get().end_reason == reason
    explained = io.StringIO()
    call_command("explain_session", device.tokens["session_id"], stdout=explained)
    assert f"{reason}: 2026-03-01T12:10:00+00:00, set by {source}" in explained.getvalue()


def test_of_two_that_passed_the_first_is_named(clock, device, jwt_settings):
    by_tenant(jwt_settings)
    jwt_settings(MAX_SESSION_LIFETIME=20 * MINUTE, IDLE_TIMEOUT=15 * MINUTE)
    clock.shift(HOUR)
    assert device.call().json()["set_by"] == "tenant acme"


def test_a_policy_that_was_changed_since_is_not_made_responsible_nor_another(clock, device, jwt_settings):
    by_audience(jwt_settings)
    clock.shift(11 * MINUTE)
    assert device.call().json()["set_by"] == "audience api"
    SessionPolicy.objects.all().delete()
    jwt_settings(MAX_SESSION_LIFETIME=20 * MINUTE)
    clock.shift(10 * MINUTE)
    body = device.call().json()
    assert (body["reason"], "set_by" in body) == ("max_lifetime", False)


@pytest.mark.parametrize("reason", ["logout", "ended_by_admin", "token_reuse"])
def test_an_end_that_somebody_made_is_nobodys_word(clock, device, jwt_settings, reason):
    sessions.end(Session.objects.get(), reason=reason)
    by_settings_idle(jwt_settings)
    clock.shift(HOUR)
    assert "set_by" not in device.call().json()


def test_the_expiry_of_a_refresh_token_is_nobodys_word(clock, device, jwt_settings):
    jwt_settings(REFRESH_TOKEN_LIFETIME=10 * MINUTE)
    device.sign_in()
    clock.shift(10 * MINUTE)
    body = device.refresh().json()
    assert (body["reason"], "set_by" in body) == ("expired", False)
