"""Signing in with a name and a password: ``login/`` and the password grant."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import PermissionDenied
from django.urls import reverse

from example_project.accounts.models import User
from jwt_sessions.models import RefreshToken, Session
from jwt_sessions.tokens import access
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
HERE = f"{__name__}."


class Backend(BaseBackend):
    """What a project writes: it knows users by something and checks their password."""

    def check(self, email: str, password: str) -> User | None:
        user = User.objects.filter(email=email).first()
        return user if user is not None and user.check_password(password) else None

    def get_user(self, user_id):
        return User.objects.filter(pk=user_id).first()


class ByFieldOnly(Backend):
    def authenticate(self, request, email, password):
        return self.check(email, password)


class ByUsernameOnly(Backend):
    def authenticate(self, request, username, password):
        return self.check(username, password)


class ByKeywordsOnly(Backend):
    def authenticate(self, request, *, username=None, password=None, **credentials):
        return self.check(username or credentials["email"], password)


class ByTicket(Backend):
    """Takes no password at all, so it is passed over."""

    def authenticate(self, request, ticket):
        raise AssertionError("called without a ticket")


class Refuses(BaseBackend):
    def authenticate(self, request, username=None, password=None):
        raise PermissionDenied


@pytest.fixture
def backends(settings):
    def use(*names: str) -> None:
        settings.AUTHENTICATION_BACKENDS = [name if "." in name else HERE + name for name in names]

    return use


@pytest.fixture
def device(user) -> Device:
    """A device on which nobody has signed in yet."""
    return Device(user)


@pytest.fixture
def sent():
    """Django's signals of a sign-in, as they are sent."""
    received = []

    def logged_in(sender, request, user, **kwargs):
        received.append(("in", request, user))

    def login_failed(sender, credentials, request, **kwargs):
        received.append(("failed", request, credentials))

    user_logged_in.connect(logged_in)
    user_login_failed.connect(login_failed)
    yield received
    user_logged_in.disconnect(logged_in)
    user_login_failed.disconnect(login_failed)


def attempt(device, password=PASSWORD, *, door="login", email=None, **parameters):
    name = email or device.user.email
    if door == "login":
        return device.post("login", {"email": name, "password": password, **parameters})
    grant = {"grant_type": "password", "username": name, "password": password}
    return device.post("token", {**grant, **parameters})


DOORS = pytest.mark.parametrize("door", ["login", "token"])


@DOORS
def test_the_token_answer_has_what_a_client_needs_to_plan(clock, device, jwt_settings, door):
    jwt_settings(IDLE_TIMEOUT=timedelta(hours=1))
    response = attempt(device, door=door)
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert response["Content-Type"] == "application/json"
    answer = response.json()
    assert set(answer) == {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "refresh_in",
        "session_id",
        "session_expires_at",
        "idle_expires_at",
    }
    assert (answer["token_type"], answer["expires_in"], answer["refresh_in"]) == ("Bearer", 300, 240)
    assert answer["session_expires_at"] == "2026-03-08T12:00:00Z"
    assert answer["idle_expires_at"] == "2026-03-01T13:00:00Z"
    assert answer["session_id"] == str(Session.objects.get().pk)


def test_without_limits_the_deadlines_are_null(device, jwt_settings):
    jwt_settings(REFRESH_TOKEN_LIFETIME=None, MAX_SESSION_LIFETIME=None)
    answer = attempt(device).json()
    assert (answer["session_expires_at"], answer["idle_expires_at"]) == (None, None)


def test_the_session_remembers_device_address_and_audience(device, jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"])
    attempt(device, audience="reports", device_name="Ann's phone")
    session = Session.objects.get()
    assert session.user == device.user
    assert session.device_name == "Ann's phone"
    assert session.device_info == "Chrome on Windows"
    assert session.audience == "reports"
    assert session.ip_address == "127.0.0.1"
    assert session.generation == 0


@pytest.mark.parametrize(("door", "name"), [("login", "audience"), ("token", "audience"), ("token", "resource")])
def test_the_access_token_is_for_the_audience_asked_for(clock, device, jwt_settings, door, name):
    jwt_settings(AUDIENCES=["api", "reports"])
    answer = attempt(device, door=door, **{name: "reports"}).json()
    claims = access.decode(answer["access_token"], Session.objects.get().created_at)
    assert (claims["aud"], claims["client_id"]) == ("reports", "reports")


@pytest.mark.parametrize(
    "names",
    [
        [MODEL_BACKEND],
        ["ByFieldOnly"],
        ["ByUsernameOnly"],
        ["ByKeywordsOnly"],
        ["ByFieldOnly", MODEL_BACKEND],
        [MODEL_BACKEND, "ByFieldOnly"],
        ["ByUsernameOnly", MODEL_BACKEND],
        ["ByFieldOnly", "ByKeywordsOnly"],
        ["ByTicket", "ByUsernameOnly"],
        ["ByTicket", "ByFieldOnly"],
    ],
    ids=lambda names: "+".join(name.rpartition(".")[2] for name in names),
)
@DOORS
def test_any_authentication_backends_will_do(device, backends, door, names):
    backends(*names)
    assert attempt(device, "wrong", door=door).status_code in (400, 401)
    assert attempt(device, door=door).status_code == 200


def test_a_backend_that_refuses_keeps_the_next_from_being_asked(device, backends, sent):
    backends("Refuses", MODEL_BACKEND)
    assert attempt(device).json()["code"] == "INVALID_CREDENTIALS"
    assert [what for what, *_ in sent] == ["failed"]


@DOORS
def test_a_sign_in_is_told_once_with_the_request_and_written_down(clock, device, sent, door):
    assert attempt(device, door=door).status_code == 200
    [(what, request, user)] = sent
    assert (what, user) == ("in", device.user)
    assert request.path == reverse(f"jwt_sessions:{door}")
    device.user.refresh_from_db()
    assert device.user.last_login == Session.objects.get().created_at


@DOORS
@pytest.mark.parametrize("backend", [MODEL_BACKEND, "django.contrib.auth.backends.AllowAllUsersModelBackend"])
@pytest.mark.parametrize("wrong", ["password", "name", "inactive"])
def test_a_failed_sign_in_is_told_once_with_the_request_and_without_the_password(
    device, backends, sent, door, backend, wrong
):
    backends(backend)
    User.objects.update(is_active=wrong != "inactive")
    password = "wrong" if wrong == "password" else PASSWORD
    email = "nobody@example.com" if wrong == "name" else device.user.email
    attempt(device, password, door=door, email=email)
    [(what, request, credentials)] = sent
    assert what == "failed"
    assert request.path == reverse(f"jwt_sessions:{door}")
    assert email in credentials.values()
    assert password not in credentials.values()


@DOORS
@pytest.mark.parametrize("backend", [MODEL_BACKEND, "django.contrib.auth.backends.AllowAllUsersModelBackend"])
def test_nobody_learns_from_a_failure_whether_a_name_exists(device, backends, door, backend):
    backends(backend)
    inactive = UserFactory(is_active=False)
    answers = [
        attempt(device, "wrong", door=door),
        attempt(device, door=door, email="nobody@example.com"),
        attempt(device, door=door, email=inactive.email),
        attempt(device, "wrong", door=door, email=inactive.email),
    ]
    first = answers[0]
    assert first.status_code == (401 if door == "login" else 400)
    assert first.json()["code"] == "INVALID_CREDENTIALS"
    assert first.json()["terminal"] is False
    for other in answers[1:]:
        assert (other.status_code, other.content, other.headers) == (first.status_code, first.content, first.headers)
    assert not Session.objects.exists()


def test_a_failed_login_is_challenged_without_an_error_and_a_failed_grant_not_at_all(device):
    assert attempt(device, "wrong")["WWW-Authenticate"] == "Bearer"
    refused = attempt(device, "wrong", door="token")
    assert refused.json()["error"] == "invalid_grant"
    assert "WWW-Authenticate" not in refused.headers


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"email": None}, "email"),
        ({"email": ""}, "email"),
        ({"email": ["a"]}, "email"),
        ({"email": "a" * 1025}, "email"),
        ({"email": "a\0b"}, "email"),
        ({"password": None}, "password"),
        ({"password": ""}, "password"),
        ({"password": {"a": 1}}, "password"),
        ({"password": "a" * 1025}, "password"),
        ({"audience": "elsewhere"}, "audience"),
        ({"audience": ""}, "audience"),
        ({"delivery": "pigeon"}, "delivery"),
        ({"replace_others": "perhaps"}, "replace_others"),
        ({"device_name": "x" * 101}, "device_name"),
        ({"device_name": "\0"}, "device_name"),
        ({"scope": "all"}, "scope"),
        ({"username": "ann"}, "username"),
    ],
)
def test_a_wrong_parameter_of_login_is_named(device, parameters, field):
    response = device.post("login", {"email": device.user.email, "password": PASSWORD, **parameters})
    assert response.status_code == 400
    body = response.json()
    assert (body["code"], body["terminal"], body["field"]) == ("INVALID_REQUEST", False, field)
    assert not Session.objects.exists()


@pytest.mark.parametrize("field", ["email", "password"])
def test_a_missing_parameter_of_login_is_named(device, field):
    complete = {"email": device.user.email, "password": PASSWORD}
    complete.pop(field)
    response = device.post("login", complete)
    assert (response.status_code, response.json()["field"]) == (400, field)


def test_spaces_belong_to_a_password(device):
    device.user.set_password("  spaces  ")
    device.user.save()
    assert attempt(device, "spaces").status_code == 401
    assert attempt(device, "  spaces  ").status_code == 200


def test_replace_others_ends_the_other_sessions_of_this_user_only(user):
    other_device, stranger = Device(user).sign_in(), Device(UserFactory()).sign_in()
    device = Device(user).sign_in(replace_others=True)
    assert other_device.call().json()["reason"] == "replaced"
    assert device.call().status_code == stranger.call().status_code == 200


def test_signing_in_leaves_other_devices_alone(user):
    first, second = Device(user).sign_in(), Device(user).sign_in(replace_others=False)
    assert first.call().status_code == second.call().status_code == 200


def test_a_failed_sign_in_replaces_nothing(user):
    first = Device(user).sign_in()
    assert attempt(Device(user), "wrong", replace_others=True).status_code == 401
    assert first.call().status_code == 200


# The throttle. A limit of three in these tests; the clock stands, so a window ends only when a test says so.


@pytest.fixture
def limit(clock, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="3/min", CLIENT_IP=f"{HERE}header_address")


def header_address(request):
    """Where a project knows its proxy, it says which header to trust."""
    return request.headers.get("X-Real-IP", "192.0.2.1")


def fail(device, times, *, door="login", **headers):
    data = {"email": device.user.email, "username": device.user.email, "grant_type": "password", "password": "wrong"}
    names = ("email", "password") if door == "login" else ("grant_type", "username", "password")
    return [device.post(door, {name: data[name] for name in names}, **headers) for _ in range(times)]


@DOORS
def test_guessing_passwords_of_a_name_is_throttled(device, limit, door):
    *first, last = fail(device, 4, door=door)
    assert {response.json()["code"] for response in first} == {"INVALID_CREDENTIALS"}
    assert last.status_code == 429
    assert last["Retry-After"] == "60"
    assert (last.json()["code"], last.json()["terminal"]) == ("THROTTLED", False)
    assert attempt(device, door=door).status_code == 429


def test_guessing_a_name_from_many_addresses_is_throttled(device, limit):
    for number in range(3):
        fail(device, 1, **{"X-Real-IP": f"192.0.2.{number}"})
    [last] = fail(device, 1, **{"X-Real-IP": "192.0.2.99"})
    assert last.status_code == 429


def test_guessing_many_names_from_one_address_is_throttled(db, limit):
    devices = [Device(UserFactory()) for _ in range(4)]
    assert [fail(device, 1)[0].status_code for device in devices] == [401, 401, 401, 429]
    [elsewhere] = fail(devices[3], 1, **{"X-Real-IP": "198.51.100.7"})
    assert elsewhere.status_code == 401


def test_the_two_endpoints_share_one_limit(device, limit):
    fail(device, 2, door="login")
    fail(device, 1, door="token")
    assert fail(device, 1, door="login")[0].status_code == 429
    assert fail(device, 1, door="token")[0].status_code == 429


@pytest.mark.parametrize("spelling", [str.upper, lambda name: name.replace("u", "\uff55", 1)], ids=["case", "width"])
def test_another_spelling_of_a_name_is_no_way_round_the_throttle(device, limit, spelling):
    fail(device, 3, **{"X-Real-IP": "192.0.2.2"})
    assert attempt(device, "wrong", email=spelling(device.user.email)).status_code == 429


def test_names_are_not_kept_apart_by_what_a_cache_takes_as_a_key(device, limit):
    odd = "\ud83d white space\n" + "x" * 400
    device.user.email = odd.encode("utf-8", "replace").decode()
    assert [response.status_code for response in fail(device, 4)] == [401, 401, 401, 429]


def test_a_window_ends_by_the_clock(clock, device, jwt_settings, settings):
    # Local memory, because a server's clock does not follow the one of a test.
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "window"}}
    jwt_settings(LOGIN_THROTTLE="3/min")
    fail(device, 2)
    clock.shift(timedelta(seconds=20))
    assert fail(device, 2)[1]["Retry-After"] == "40"
    clock.shift(timedelta(seconds=39.5))
    assert fail(device, 1)[0]["Retry-After"] == "1"
    clock.shift(timedelta(seconds=1))
    assert attempt(device).status_code == 200


def test_a_short_window_ends_in_the_cache_at_hand(device, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="3/second")
    assert [response.status_code for response in fail(device, 4)] == [401, 401, 401, 429]
    time.sleep(1.1)
    assert attempt(device).status_code == 200


def test_a_success_does_not_count(device, limit):
    fail(device, 2)
    assert [attempt(device).status_code for _ in range(5)] == [200] * 5
    assert [response.status_code for response in fail(device, 2)] == [401, 429]


def test_refused_attempts_do_not_count(device, limit):
    fail(device, 6, **{"X-Real-IP": "192.0.2.2"})
    other = Device(UserFactory())
    # Three failures were counted for the address, and the refused three were not: other names are refused too,
    # but a window later nothing is left over.
    assert fail(other, 1, **{"X-Real-IP": "192.0.2.2"})[0].status_code == 429
    assert fail(other, 1, **{"X-Real-IP": "192.0.2.3"})[0].status_code == 401


def test_a_malformed_sign_in_does_not_count(device, limit):
    for _ in range(5):
        assert attempt(device, audience="elsewhere").status_code == 400
    assert attempt(device).status_code == 200


def test_x_forwarded_for_neither_escapes_the_throttle_nor_is_stored(db, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="3/min")
    devices = [Device(UserFactory()) for _ in range(4)]
    statuses = [
        fail(device, 1, **{"X-Forwarded-For": f"192.0.2.{number}"})[0].status_code
        for number, device in enumerate(devices)
    ]
    assert statuses == [401, 401, 401, 429]
    jwt_settings(LOGIN_THROTTLE=None)
    device = devices[0]
    device.http.defaults["HTTP_X_FORWARDED_FOR"] = "192.0.2.1"
    device.sign_in()
    assert Session.objects.get().ip_address == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("fe80::7%eth0", "fe80::7"),
        ("unix:", None),
        ("", None),
    ],
)
def test_the_address_is_what_the_server_or_the_callable_says(device, limit, address, stored):
    device.post("login", {"email": device.user.email, "password": PASSWORD}, **{"X-Real-IP": address})
    assert Session.objects.get().ip_address == stored


def test_without_an_address_the_name_is_throttled_alone(device, limit):
    nowhere = {"X-Real-IP": "unix:"}
    assert fail(device, 4, **nowhere)[3].status_code == 429
    assert fail(Device(UserFactory()), 1, **nowhere)[0].status_code == 401


def test_without_a_limit_nothing_is_counted(device, jwt_settings):
    jwt_settings(LOGIN_THROTTLE=None)
    assert {response.status_code for response in fail(device, 15)} == {401}
    assert attempt(device).status_code == 200


class HurriedCache(LocMemCache):
    """Its entries expire right after ``add`` has found them there."""

    def incr(self, key, *args, **kwargs):
        self.delete(key)
        return super().incr(key, *args, **kwargs)


class ClearsTheCache(ByFieldOnly):
    """So slow that the window ends while it works."""

    def authenticate(self, request, email, password):
        cache.clear()
        return super().authenticate(request, email, password)


def test_an_entry_that_expires_while_it_is_counted_starts_a_new_window(device, limit, settings):
    settings.CACHES = {"default": {"BACKEND": f"{HERE}HurriedCache", "LOCATION": "hurried"}}
    assert [response.status_code for response in fail(device, 2)] == [401, 401]
    assert attempt(device).status_code == 200


def test_a_window_may_end_while_a_password_is_verified(device, limit, settings, backends):
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "slow"}}
    backends("ClearsTheCache")
    assert attempt(device).status_code == 200


def test_by_default_the_eleventh_failure_in_a_minute_is_refused(device):
    assert [response.status_code for response in fail(device, 11)] == [401] * 10 + [429]


def test_a_throttled_sign_in_stores_nothing_and_asks_no_backend(device, limit, sent):
    fail(device, 3)
    sent.clear()
    attempt(device)
    assert sent == []
    assert not Session.objects.exists()
    assert not RefreshToken.objects.exists()


def test_another_name_for_the_user_name_field_is_answered_with_the_right_one(user, client):
    attempt = {"username": user.email, "password": PASSWORD}
    response = client.post("/auth/login/", attempt, content_type="application/json")
    assert (response.status_code, response.json()["field"]) == (400, "email")
    assert "'email'" in response.json()["detail"]
