"""What each request costs: its statements, not counting transaction control, pinned to the number."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from jwt_sessions.models import Session, SessionPolicy, TokenVersion
from tests.clients import Device
from tests.factories import PASSWORD
from tests.services import Service
from tests.statements import ADD, READ, WRITE, own_statements, statements

pytestmark = pytest.mark.django_db

FOREIGN_TOKEN = "jsr_" + "A" * 92


@pytest.fixture(autouse=True)
def without_memberships(jwt_settings):
    """The project's own query for the memberships of a user is not this package's."""
    jwt_settings(TENANTS=None)


@pytest.fixture
def used(device) -> Device:
    """A device in its steady state: it has refreshed, and called with what it got."""
    device.refresh()
    device.call()
    return device


def test_an_authenticated_request_in_steady_state_reads_once(used):
    assert statements(used.call) == [READ]


def test_a_request_is_as_cheap_for_a_user_with_many_sessions(used):
    for _ in range(3):
        Device(used.user).sign_in().refresh()
    assert statements(used.call) == [READ]


def test_the_first_request_after_a_rotation_notes_it_once(device):
    device.refresh()
    assert statements(device.call) == [READ, WRITE]
    assert statements(device.call) == [READ]


def test_activity_is_written_once_in_a_while(clock, used):
    clock.shift(timedelta(seconds=60))
    assert statements(used.call) == [READ, WRITE]
    assert statements(used.call) == [READ]


def test_an_activity_write_and_the_first_use_are_all_that_a_request_ever_writes(clock, device):
    device.refresh()
    clock.shift(timedelta(seconds=60))
    assert statements(device.call) == [READ, WRITE, WRITE]


def test_a_background_request_writes_no_activity(clock, used):
    clock.shift(timedelta(seconds=60))
    assert statements(lambda: used.call(**{"X-Session-Background": "1"})) == [READ]


def test_a_request_on_a_dead_session_writes_the_end_once(used):
    Session.objects.update(refresh_expires_at=Session.objects.get().created_at)
    assert statements(used.call) == [READ, WRITE, WRITE, ADD]
    assert statements(used.call) == [READ]


def test_a_refresh_that_rotates_takes_four(device):
    assert statements(device.refresh) == [READ, WRITE, WRITE, ADD]


def test_a_refresh_that_rotates_later_takes_four(clock, used):
    clock.shift(timedelta(hours=1))
    assert statements(used.refresh) == [READ, WRITE, WRITE, ADD]


def test_a_refresh_of_another_audience_takes_four(clock, used, jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"])
    clock.shift(timedelta(minutes=1))
    assert statements(lambda: used.refresh(audience="reports")) == [READ, WRITE, WRITE, ADD]


def test_a_replay_takes_one_read_and_sometimes_a_note_of_activity(clock, device):
    first = device.tokens["refresh_token"]
    device.refresh()
    assert statements(lambda: device.refresh(first)) == [READ]
    clock.shift(timedelta(seconds=60))
    assert statements(lambda: device.refresh(first)) == [READ, WRITE]
    assert statements(lambda: device.refresh(first)) == [READ]


def test_a_refresh_that_cannot_rotate_yet_notes_the_use(clock, device):
    device.refresh()
    assert statements(device.refresh) == [READ, WRITE, WRITE]
    assert statements(device.refresh) == [READ, WRITE]
    device.refresh()
    clock.shift(timedelta(seconds=29))
    assert statements(device.refresh) == [READ, WRITE]


def test_without_rotation_a_refresh_notes_the_use_and_activity(clock, device, jwt_settings):
    jwt_settings(ROTATE_REFRESH_TOKENS=False)
    assert statements(device.refresh) == [READ, WRITE]
    clock.shift(timedelta(seconds=60))
    assert statements(device.refresh) == [READ, WRITE, WRITE]


def test_a_reused_token_takes_one_read_and_the_end(clock, used):
    first = Device(used.user).sign_in()
    stolen = first.tokens["refresh_token"]
    first.refresh()
    first.call()
    clock.shift(timedelta(minutes=1))
    assert statements(lambda: first.refresh(stolen)) == [READ, WRITE, WRITE, ADD]
    assert statements(lambda: first.refresh(stolen)) == [READ]


@pytest.mark.parametrize("garbage", ["garbage", FOREIGN_TOKEN, "a.b.c", "jsr_", "x" * 5000])
@pytest.mark.parametrize("door", ["request", "refresh", "logout", "revoke", "bearer-logout", "cookie"])
def test_garbage_is_refused_without_a_statement(device, garbage, door):
    header = {"Authorization": f"Bearer {garbage}"}
    if door == "cookie":
        device.http.cookies["__Host-Http-jwt_sessions_refresh"] = garbage
    doors = {
        "request": lambda: device.http.get("/api/me/", headers=header),
        "refresh": lambda: device.refresh(garbage),
        "logout": lambda: device.post("logout", {"refresh_token": garbage}),
        "revoke": lambda: device.post("revoke", {"token": garbage}),
        "bearer-logout": lambda: device.post("logout", **header),
        "cookie": lambda: device.post("token", {"grant_type": "refresh_token"}),
    }
    assert statements(doors[door]) == []


def test_an_expired_access_token_is_refused_without_a_statement(clock, device):
    clock.shift(timedelta(minutes=6))
    assert statements(device.call) == []


def test_a_forged_signature_is_refused_without_a_statement(device):
    device.tokens["access_token"] = device.tokens["access_token"][:-8] + "AAAAAAAA"
    assert statements(device.call) == []


def test_a_request_without_a_token_is_refused_without_a_statement(device):
    assert statements(lambda: device.http.get("/api/me/")) == []


def test_a_sign_in_takes_three_besides_the_backend_and_the_signal(user):
    assert own_statements(Device(user).sign_in) == [READ, ADD, ADD]
    # The backend's read of the user, and Django's last_login.
    assert statements(Device(user).sign_in) == [READ, READ, ADD, ADD, WRITE]


# A limit is kept under a lock: a write to the row of the user's token version, which is made the first time.


def test_a_sign_in_within_a_limit_takes_five(user, jwt_settings):
    jwt_settings(MAX_CONCURRENT_SESSIONS=10)
    assert own_statements(Device(user).sign_in) == [READ, WRITE, ADD, READ, ADD, ADD]
    assert own_statements(Device(user).sign_in) == [READ, WRITE, READ, ADD, ADD]


def test_a_sign_in_that_finds_nobody_to_replace_takes_five(user):
    TokenVersion.objects.create(user=user)
    assert own_statements(lambda: Device(user).sign_in(replace_others=True)) == [READ, WRITE, READ, ADD, ADD]


@pytest.mark.parametrize("others", [1, 3])
def test_a_sign_in_that_ends_others_takes_eight_for_the_lock_and_the_ends(user, jwt_settings, others):
    TokenVersion.objects.create(user=user)
    for _ in range(others):
        Device(user).sign_in()
    eight = [READ, WRITE, READ, WRITE, WRITE, ADD, ADD, ADD]
    assert own_statements(lambda: Device(user).sign_in(replace_others=True)) == eight
    jwt_settings(MAX_CONCURRENT_SESSIONS=1)
    assert own_statements(Device(user).sign_in) == eight


def test_a_sign_in_that_a_limit_refuses_takes_three(user, jwt_settings):
    jwt_settings(MAX_CONCURRENT_SESSIONS=1, ON_SESSION_LIMIT="refuse")
    Device(user).sign_in()
    attempt = {"email": user.email, "password": PASSWORD}
    assert own_statements(lambda: Device(user).post("login", attempt)) == [READ, WRITE, READ]


@pytest.fixture
def governed(user, jwt_settings) -> Device:
    """A device in its steady state, with policies, tenants and idle clocks in use."""
    jwt_settings(TENANTS=lambda user: ["acme", "umbrella"], IDLE_TIMEOUT=timedelta(hours=1))
    SessionPolicy.objects.create(audience="api", idle_timeout=timedelta(minutes=50), max_lifetime=timedelta(days=9))
    SessionPolicy.objects.create(tenant="acme", idle_timeout=timedelta(minutes=30), max_lifetime=timedelta(days=5))
    device = Device(user).sign_in(tenantId="acme")
    device.refresh(tenantId="acme")
    device.call()
    return device


def test_policies_and_tenants_add_nothing_to_a_request(clock, governed):
    assert statements(governed.call) == [READ]
    clock.shift(timedelta(seconds=59))
    assert statements(governed.call) == [READ]


def test_a_request_for_a_tenant_writes_its_clock_once_in_a_while_beside_that_of_the_session(clock, governed):
    clock.shift(timedelta(seconds=60))
    assert statements(governed.call) == [READ, WRITE, WRITE]
    assert statements(governed.call) == [READ]


def test_policies_and_tenants_add_nothing_to_a_refresh(clock, governed):
    clock.shift(timedelta(seconds=59))
    assert statements(lambda: governed.refresh(tenantId="acme")) == [READ, WRITE, WRITE, ADD]


def test_the_first_refresh_for_a_tenant_makes_its_clock(clock, governed):
    clock.shift(timedelta(seconds=59))
    assert statements(lambda: governed.refresh(tenantId="umbrella")) == [READ, WRITE, WRITE, ADD, ADD]


def test_a_refresh_for_a_tenant_writes_its_clock_once_in_a_while(clock, governed):
    clock.shift(timedelta(seconds=60))
    assert statements(lambda: governed.refresh(tenantId="acme")) == [READ, WRITE, WRITE, ADD, WRITE]


def test_a_changed_policy_is_read_once(governed):
    SessionPolicy.objects.filter(tenant="acme").update(idle_timeout=timedelta(minutes=20))
    assert statements(governed.call) == [READ, READ]
    assert statements(governed.call) == [READ]


@pytest.mark.parametrize(
    ("parameters", "expected"), [({"password": "wrong"}, [READ]), ({"audience": "x"}, []), ({"x": 1}, [])]
)
def test_a_refused_sign_in_touches_no_table_of_sessions(user, parameters, expected):
    attempt = {"email": user.email, "password": PASSWORD, **parameters}
    assert statements(lambda: Device(user).post("login", attempt)) == expected


@pytest.mark.parametrize("sessions", [1, 4])
def test_own_sessions_cost_the_same_however_many_they_are(used, sessions):
    others = [Device(used.user).sign_in() for _ in range(sessions)]

    def detail(method, session_id, body=b""):
        url = reverse("jwt_sessions:session-detail", args=[session_id])
        return used.http.generic(method, url, body, content_type="application/json", headers=used.bearer)

    other = others[0].tokens["session_id"]
    assert statements(lambda: used.get("session-list")) == [READ, READ]
    assert statements(lambda: detail("GET", other)) == [READ, READ]
    assert statements(lambda: detail("PATCH", other, b'{"device_name": "x"}')) == [READ, READ, WRITE]
    assert statements(lambda: detail("DELETE", other)) == [READ, READ, READ, WRITE, WRITE, ADD]
    assert statements(lambda: used.post("session-end-all", **used.bearer)) == [READ, READ, WRITE, WRITE, ADD]


def test_ending_no_others_writes_nothing(used):
    assert statements(lambda: used.post("session-end-others", **used.bearer)) == [READ, READ]


@pytest.mark.parametrize(
    ("door", "name", "expected"),
    [
        ("logout", "refresh_token", [READ, READ, WRITE, WRITE, ADD]),
        ("revoke", "refresh_token", [READ, READ, WRITE, WRITE, ADD]),
        ("revoke", "access_token", [READ, READ, WRITE, WRITE, ADD]),
    ],
)
def test_signing_out(used, door, name, expected):
    data = {"token" if door == "revoke" else name: used.tokens[name]}
    assert statements(lambda: used.post(door, data)) == expected


def test_signing_out_by_bearer(used):
    assert statements(lambda: used.post("logout", **used.bearer)) == [READ, READ, WRITE, WRITE, ADD]
    assert statements(lambda: used.post("logout", **used.bearer)) == [READ, READ]


# Credentials


@pytest.mark.parametrize("owned", [True, False])
def test_an_exchange_reads_once_and_writes_its_use_once_in_a_while(clock, user, owned):
    service = Service(user=user if owned else None)
    assert statements(service.exchange) == [READ, WRITE]
    assert statements(service.exchange) == [READ]
    clock.shift(timedelta(seconds=60))
    assert statements(service.exchange) == [READ, WRITE]


def test_an_exchange_for_a_tenant_costs_no_more(user, jwt_settings):
    jwt_settings(TENANTS=lambda user: ["acme"])
    assert statements(lambda: Service(user=user, tenant="acme").exchange())[1:] == [READ, WRITE]


@pytest.mark.parametrize("owned", [True, False])
def test_a_request_with_the_token_of_a_credential_reads_once(clock, user, owned):
    service = Service(user=user if owned else None).exchanged()
    assert statements(service.call) == [READ]
    clock.shift(timedelta(seconds=60))
    assert statements(service.call) == [READ]
    SessionPolicy.objects.create(audience="api", access_token_lifetime=timedelta(minutes=1))
    assert statements(service.call) == [READ, READ]
    assert statements(service.call) == [READ]


def test_introspection_reads_once_besides_the_check_of_the_caller(used):
    service, other = Service(may_introspect=True), Service(user=used.user).exchanged()
    tokens = [used.tokens["access_token"], used.tokens["refresh_token"], other.access_token]
    assert statements(lambda: service.introspect(tokens[0])) == [READ, WRITE, READ]
    for token in tokens:
        assert statements(lambda token=token: service.introspect(token)) == [READ, READ]
    assert statements(lambda: service.introspect(FOREIGN_TOKEN)) == [READ]
    assert statements(service.revoked) == [READ, READ]


def test_garbage_for_a_client_asks_nothing(db):
    service = Service()
    assert statements(lambda: service.post("token", {"grant_type": "client_credentials"}, {})) == []
    broken = {"Authorization": "Basic ???"}
    assert statements(lambda: service.post("token", {"grant_type": "client_credentials"}, broken)) == []


def test_own_credentials(used):
    assert statements(lambda: used.get("credential-list")) == [READ, READ]
    assert statements(lambda: used.post("credential-list", {"name": "CI"}, **used.bearer)) == [READ, ADD]
    client_id = used.get("credential-list").json()[0]["client_id"]
    url = reverse("jwt_sessions:credential-detail", args=[client_id])
    assert statements(lambda: used.http.delete(url, headers=used.bearer)) == [READ, READ, WRITE]
