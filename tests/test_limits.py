"""The limit on a user's concurrent sessions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connections
from django.utils import timezone

from jwt_sessions import sessions, signals
from jwt_sessions.exceptions import SessionLimit
from jwt_sessions.models import RefreshToken, Session, SessionPolicy
from jwt_sessions.sessions import live_sessions
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def in_acme(user):
    return ["acme"]


@pytest.fixture
def reached():
    """What ``session_limit_reached`` has told."""
    told = []

    def receiver(sender, signal, **arguments):
        told.append(arguments)

    signals.session_limit_reached.connect(receiver)
    yield told
    signals.session_limit_reached.disconnect(receiver)


@pytest.fixture
def three(clock, user, jwt_settings):
    """Three devices that signed in one after the other; the first was active last."""
    jwt_settings(ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    devices = []
    for _ in range(3):
        devices.append(Device(user).sign_in())
        clock.shift(MINUTE)
    for device in (devices[2], devices[1], devices[0]):
        clock.shift(MINUTE)
        device.call()
    return devices


def answers(devices):
    """What a call of each is answered: its status, or the reason of its end."""
    responses = [device.call() for device in devices]
    return [each.json()["reason"] if each.status_code == 401 else each.status_code for each in responses]


def log_in(user, **parameters):
    return Device(user).post("login", {"email": user.email, "password": PASSWORD, **parameters})


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("end_oldest", ["session_limit", 200, 200]),
        ("end_least_active", [200, 200, "session_limit"]),
    ],
)
def test_the_ended_session_learns_why_and_the_signal_says_who_took_its_place(
    three, user, jwt_settings, reached, action, expected
):
    jwt_settings(MAX_CONCURRENT_SESSIONS=3, ON_SESSION_LIMIT=action)
    newcomer = Device(user).sign_in()
    loser = three[expected.index("session_limit")]
    (told,) = reached
    assert (told["user"], told["limit"], told["policy"]) == (user, 3, "settings")
    assert str(told["session"].pk) == newcomer.tokens["session_id"]
    assert [str(each.pk) for each in told["ended"]] == [loser.tokens["session_id"]]
    assert answers([*three, newcomer]) == [*expected, 200]
    refused = loser.refresh().json()
    assert (refused["code"], refused["reason"], refused["terminal"]) == ("SESSION_ENDED", "session_limit", True)


def test_a_refused_login_is_403_and_stores_nothing(three, user, jwt_settings, reached):
    jwt_settings(MAX_CONCURRENT_SESSIONS=3, ON_SESSION_LIMIT="refuse")
    before = Session.objects.count(), RefreshToken.objects.count()
    response = log_in(user)
    assert response.status_code == 403
    assert (response.json()["code"], response.json()["terminal"]) == ("SESSION_LIMIT", False)
    assert (Session.objects.count(), RefreshToken.objects.count()) == before
    assert answers(three) == [200, 200, 200]
    (told,) = reached
    assert (told["session"], told["ended"], told["policy"]) == (None, [], "settings")


def test_the_password_grant_is_refused_in_the_words_of_rfc_6749(device, user, jwt_settings):
    jwt_settings(MAX_CONCURRENT_SESSIONS=1, ON_SESSION_LIMIT="refuse")
    attempt = {"grant_type": "password", "username": user.email, "password": PASSWORD}
    response = device.post("token", attempt)
    assert response.status_code == 403
    assert (response.json()["error"], response.json()["code"]) == ("access_denied", "SESSION_LIMIT")


def test_within_the_limit_nobody_is_told(three, user, jwt_settings, reached):
    jwt_settings(MAX_CONCURRENT_SESSIONS=4)
    Device(user).sign_in()
    assert (answers(three), reached) == ([200, 200, 200], [])


def test_there_is_room_again_once_a_session_ends(three, user, jwt_settings):
    jwt_settings(MAX_CONCURRENT_SESSIONS=3, ON_SESSION_LIMIT="refuse")
    assert log_in(user).status_code == 403
    three[1].post("logout", **three[1].bearer)
    assert log_in(user).status_code == 200


def test_a_session_past_its_deadline_takes_no_place_and_keeps_its_own_reason(clock, user, jwt_settings):
    jwt_settings(MAX_CONCURRENT_SESSIONS=1, ON_SESSION_LIMIT="refuse", IDLE_TIMEOUT=timedelta(minutes=2))
    forgotten = Device(user).sign_in()
    clock.shift(timedelta(seconds=119))
    assert log_in(user).status_code == 403
    clock.shift(timedelta(seconds=1))
    assert log_in(user).status_code == 200
    assert forgotten.refresh().json()["reason"] == "idle_timeout"
    assert set(Session.objects.values_list("end_reason", flat=True)) == {"", "idle_timeout"}


@pytest.mark.parametrize(
    ("environment", "policies", "expected"),
    [
        (3, [{"audience": "api", "max_concurrent_sessions": 2}], (2, "audience api")),
        (3, [{"tenant": "acme", "max_concurrent_sessions": 1}], (1, "tenant acme")),
        (2, [{"tenant": "acme", "max_concurrent_sessions": 3}], (2, "settings")),
        (
            None,
            [{"audience": "api", "max_concurrent_sessions": 3}, {"tenant": "acme", "max_concurrent_sessions": 2}],
            (2, "tenant acme"),
        ),
        (3, [{"tenant": "globex", "max_concurrent_sessions": 1}], (3, "settings")),
        (3, [{"audience": "reports", "max_concurrent_sessions": 1}], (3, "settings")),
    ],
)
def test_the_strictest_policy_counts(user, jwt_settings, reached, environment, policies, expected):
    jwt_settings(MAX_CONCURRENT_SESSIONS=environment, TENANTS=in_acme, AUDIENCES=["api", "reports"])
    for fields in policies:
        SessionPolicy.objects.create(**fields)
    for _ in range(4):
        sessions.start(user)
    assert len(live_sessions(user, timezone.now())) == expected[0]
    assert {(each["limit"], each["policy"]) for each in reached} == {expected}


@pytest.mark.parametrize("fields", [{"audience": "api"}, {"tenant": "acme"}])
def test_what_happens_at_the_limit_is_the_strictest_too(user, jwt_settings, fields):
    jwt_settings(MAX_CONCURRENT_SESSIONS=1, TENANTS=in_acme)
    SessionPolicy.objects.create(**fields, on_session_limit="refuse")
    sessions.start(user)
    with pytest.raises(SessionLimit):
        sessions.start(user)


def test_a_lower_limit_is_kept_at_the_next_sign_in(three, user, jwt_settings):
    jwt_settings(MAX_CONCURRENT_SESSIONS=1)
    assert answers(three) == [200, 200, 200]
    newcomer = Device(user).sign_in()
    assert answers([*three, newcomer]) == ["session_limit"] * 3 + [200]


@pytest.mark.parametrize("limit", [None, 1, 5])
@pytest.mark.parametrize("action", ["end_oldest", "refuse"])
def test_replace_others_ends_the_others_whatever_the_limit(three, user, jwt_settings, reached, limit, action):
    jwt_settings(MAX_CONCURRENT_SESSIONS=limit, ON_SESSION_LIMIT=action)
    newcomer = Device(user).sign_in(replace_others=True)
    assert answers([*three, newcomer]) == ["replaced"] * 3 + [200]
    assert reached == []


def test_nobody_elses_sessions_count(device, jwt_settings):
    jwt_settings(MAX_CONCURRENT_SESSIONS=1)
    other = UserFactory()
    Device(other).sign_in(replace_others=True)
    assert answers([device]) == [200]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("action", "limit"), [("end_oldest", 1), ("end_least_active", 3), ("refuse", 3)])
def test_fifty_racing_sign_ins_leave_no_more_than_the_limit(jwt_settings, action, limit):
    jwt_settings(MAX_CONCURRENT_SESSIONS=limit, ON_SESSION_LIMIT=action)
    user, together = UserFactory(), Barrier(10, timeout=60)

    def five_in_a_row(_number):
        started = []
        try:
            together.wait()
            for _ in range(5):
                try:
                    started.append(sessions.start(user))
                except SessionLimit:
                    assert action == "refuse"
        finally:
            connections.close_all()
        return started

    with ThreadPoolExecutor(10) as threads:
        pairs = [pair for started in threads.map(five_in_a_row, range(10)) for pair in started]
    assert len(pairs) == (limit if action == "refuse" else 50)
    living = live_sessions(user, timezone.now())
    assert len(living) == limit
    assert set(Session.objects.filter(ended_at__isnull=False).values_list("end_reason", flat=True)) <= {"session_limit"}
