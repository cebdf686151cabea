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


def test_it_ends_the_sessions_of_the_members_of_a_tenant(devices, user, jwt_settings):
    memberships = {devices[2].user.pk: ["umbrella", "acme"]}
    jwt_settings(TENANTS=lambda user: memberships.get(user.pk, ["acme-2"]))
    old, tabs = devices[2], Device(devices[2].user).sign_in(tenantId="umbrella")
    others = [Device(user).sign_in(tenantId="acme-2"), devices[0]]
    assert end_sessions("--tenant", "acme") == "Ended 2 sessions.\n"
    assert refusals([old, tabs, *others]) == ["ended_by_admin", "ended_by_admin", None, None]


@pytest.mark.parametrize("tenant", ["acm", "acme-2", "ACME", "%", "null", ""])
def test_nobody_is_a_member_of_a_tenant_that_no_session_remembers(devices, user, jwt_settings, tenant):
    jwt_settings(TENANTS=lambda user: ["acme"])
    devices.append(Device(user).sign_in())
    assert end_sessions("--tenant", tenant) == "Ended 0 sessions.\n"
    assert refusals(devices) == [None] * 4


def test_who_left_a_tenant_is_not_ended_with_its_members(user, jwt_settings):
    jwt_settings(TENANTS=lambda user: ["acme"])
    device = Device(user).sign_in()
    jwt_settings(TENANTS=lambda user: [])
    device.refresh()
    assert end_sessions("--tenant", "acme") == "Ended 0 sessions.\n"
    assert device.call().status_code == 200


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
        ((), "one of the arguments --user --tenant --all is required"),
        (("--user", "nobody@example.com"), "There is no user 'nobody@example.com'"),
        (("--user", ""), "There is no user ''"),
        (("--user", "a@example.com", "--all"), "not allowed with argument"),
        (("--tenant", "acme", "--all"), "not allowed with argument"),
        (("--user", "a@example.com", "--tenant", "acme"), "not allowed with argument"),
        (("--all", "--reason", "boredom"), "invalid choice"),
    ],
)
def test_bad_arguments_end_nothing(devices, arguments, complaint):
    with pytest.raises(CommandError, match=complaint):
        end_sessions(*arguments)
    assert refusals(devices) == [None] * 3
