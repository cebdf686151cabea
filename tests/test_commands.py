"""``manage.py end_sessions``"""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from jwt_sessions import signals
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import Session
from tests.clients import Device
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def end_sessions(*arguments):
    out = StringIO()
    call_command("end_sessions", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def devices(user):
    """Two devices of ``user`` and one of somebody else."""
    return [Device(owner).sign_in() for owner in (user, user, UserFactory())]


def refusals(devices):
    return [device.call().json().get("reason") for device in devices]


def test_it_ends_the_sessions_of_a_user_by_name(devices, user):
    assert end_sessions("--user", user.email) == "Ended 2 sessions.\n"
    assert refusals(devices) == ["ended_by_admin", "ended_by_admin", None]
    assert [device.refresh().status_code for device in devices] == [400, 400, 200]


def test_it_ends_the_sessions_of_everybody(devices):
    UserFactory()
    assert end_sessions("--all") == "Ended 3 sessions.\n"
    assert refusals(devices) == ["ended_by_admin"] * 3


def test_it_counts_only_what_it_ended(devices, user):
    devices[0].post("logout", **devices[0].bearer)
    assert end_sessions("--user", user.email) == "Ended 1 sessions.\n"
    assert end_sessions("--user", user.email) == "Ended 0 sessions.\n"
    assert refusals(devices) == ["logout", "ended_by_admin", None]


@pytest.mark.parametrize("reason", EndReason.values)
def test_it_ends_them_for_any_reason(devices, user, reason):
    end_sessions("--user", user.email, "--reason", reason)
    assert refusals(devices) == [reason, reason, None]


def test_it_tells_the_receivers_about_each_session(devices, user):
    told = []

    def note(session, reason, **kwargs):
        told.append((session.pk, reason))

    signals.session_ended.connect(note)
    try:
        end_sessions("--user", user.email, "--reason", "version_raised")
    finally:
        signals.session_ended.disconnect(note)
    own = Session.objects.owned_by(user).values_list("pk", flat=True)
    assert sorted(told) == sorted((pk, EndReason.VERSION_RAISED) for pk in own)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "one of the arguments --user --all is required"),
        (("--user", "nobody@example.com"), "There is no user 'nobody@example.com'"),
        (("--user", ""), "There is no user ''"),
        (("--user", "a@example.com", "--all"), "not allowed with argument"),
        (("--all", "--reason", "boredom"), "invalid choice"),
    ],
)
def test_bad_arguments_end_nothing(devices, arguments, complaint):
    with pytest.raises(CommandError, match=complaint):
        end_sessions(*arguments)
    assert refusals(devices) == [None] * 3
