"""Projects without ``USE_TZ``, in the nights in which the clocks change: a token lives by the clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings
from django.utils import timezone

from jwt_sessions.tokens import access
from tests.check_messages import CAREFUL, ids
from tests.clients import Device
from tests.services import Service

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
# In Berlin the clocks go from 2:00 to 3:00, and from 3:00 to 2:00.
SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC)
NIGHT = [
    *(SPRING - 2 * MINUTE, SPRING, SPRING + 2 * MINUTE),
    *(AUTUMN - 62 * MINUTE, AUTUMN - 58 * MINUTE, AUTUMN - 2 * MINUTE, AUTUMN, AUTUMN + 2 * MINUTE),
    *(AUTUMN + 58 * MINUTE, AUTUMN + 60 * MINUTE),
]


@pytest.fixture
def berlin(clock, settings):
    """Local times of Berlin: ``berlin(moment)`` moves the clock."""
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"

    def move(moment: datetime) -> None:
        # Not by move_to, which moves the process to the zone of the moment.
        clock.shift(moment.timestamp() - time.time())
        assert timezone.now() == moment.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None)

    return move


def times(token: str) -> tuple[int, int]:
    claims = access.decode(token, timezone.now())
    return claims["iat"], claims["exp"]


@pytest.mark.parametrize("moment", NIGHT, ids=str)
def test_no_token_is_born_dead_or_lives_too_long(berlin, user, moment, jwt_settings):
    jwt_settings(ALLOW_RENEWAL=True, SOFT_EXPIRY=4 * MINUTE)
    berlin(moment)
    device, expected = Device(user).sign_in(), (moment.timestamp(), moment.timestamp() + 300)
    assert device.tokens["expires_in"] == 300
    assert times(device.tokens["access_token"]) == expected
    assert device.refresh().status_code == 200
    assert times(device.tokens["access_token"]) == expected
    assert times(device.post("renew", **device.bearer).json()["access_token"]) == expected
    assert times(Service().exchange().json()["access_token"]) == expected
    berlin(moment + 4 * MINUTE - timedelta(seconds=1))
    assert device.call().status_code == 200
    berlin(moment + 4 * MINUTE)
    assert device.call().json()["code"] == "EXPIRED_TOKEN"
    assert device.refresh().status_code == 200
    assert device.call().status_code == 200


@pytest.mark.parametrize(
    ("use_tz", "zone", "warned"),
    [
        (True, "Europe/Berlin", []),
        (False, "Europe/Berlin", ["W020"]),
        (False, "Australia/Sydney", ["W020"]),
        (False, "Asia/Tokyo", []),
        (False, "UTC", []),
    ],
)
def test_local_times_with_daylight_saving_are_a_warning(use_tz, zone, warned):
    with override_settings(USE_TZ=use_tz, TIME_ZONE=zone):
        assert ids(CAREFUL, deploy=True) == warned
