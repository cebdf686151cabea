"""What goes wrong in the middle of a sign-in: no answer is a 5xx, and nothing is left half done."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core.exceptions import PermissionDenied
from django.db import OperationalError

from example_project.accounts.models import User
from jwt_sessions.models import RefreshToken, Session
from jwt_sessions.signals import pre_issue
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory

DOORS = pytest.mark.parametrize("door", ["login", "token"])


@contextmanager
def connected(signal, act):
    def receiver(sender, **kwargs):
        act()

    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def failing(error):
    def fail():
        raise error

    return fail


def attempt(user, door, password=PASSWORD, **more):
    name = {"email": user.email} if door == "login" else {"grant_type": "password", "username": user.email}
    return Device(user).post(door, {**name, "password": password, **more})


@DOORS
@pytest.mark.parametrize("error", [OperationalError(1213, "Deadlock found"), ZeroDivisionError(), PermissionDenied()])
def test_a_receiver_of_user_logged_in_that_breaks_takes_nothing_from_the_client(user, caplog, door, error):
    with connected(user_logged_in, failing(error)):
        answer = attempt(user, door)
    assert answer.status_code == 200
    device = Device(user)
    device.tokens = answer.json()
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200
    assert str(Session.objects.get().pk) == answer.json()["session_id"]
    assert "Error calling" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_receiver_of_user_logged_in_that_breaks_ends_no_other_device(user):
    other = Device(user).sign_in()
    with connected(user_logged_in, failing(ZeroDivisionError())):
        assert attempt(user, "login").status_code == 200
    assert other.call().status_code == 200


@DOORS
def test_a_receiver_of_user_login_failed_that_refuses_gets_the_answer_of_a_failure(user, door):
    plain = attempt(user, door, "wrong")
    with connected(user_login_failed, failing(PermissionDenied("locked"))):
        answer = attempt(user, door, "wrong")
    assert (answer.status_code, answer.json()) == (plain.status_code, plain.json())
    assert answer.json()["code"] == "INVALID_CREDENTIALS"
    assert answer.json().get("error") == (None if door == "login" else "invalid_grant")


def test_a_receiver_of_user_login_failed_that_refuses_does_so_for_an_inactive_user_too(user, settings):
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    User.objects.update(is_active=False)
    with connected(user_login_failed, failing(PermissionDenied("locked"))):
        assert attempt(user, "login").json()["code"] == "INVALID_CREDENTIALS"


class DeletesTheUser(ModelBackend):
    def authenticate(self, *args, **kwargs):
        user = super().authenticate(*args, **kwargs)
        User.objects.all().delete()
        return user


@DOORS
@pytest.mark.django_db
def test_a_user_deleted_after_the_password_was_verified_is_nobody(user, settings, door):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.DeletesTheUser"]
    answer = attempt(user, door)
    assert answer.json()["code"] == "INVALID_CREDENTIALS"
    assert answer.status_code == (401 if door == "login" else 400)


@DOORS
@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.django_db(transaction=True)
def test_a_user_deleted_before_the_session_is_stored_is_nobody(jwt_settings, door, limited):
    jwt_settings(MAX_CONCURRENT_SESSIONS=3 if limited else None, TENANTS=None)
    user = UserFactory()
    with connected(pre_issue, lambda: User.objects.all().delete()):
        answer = attempt(user, door)
    assert answer.json()["code"] == "INVALID_CREDENTIALS"
    assert not Session.objects.exists()
    assert not RefreshToken.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_user_deleted_after_the_session_is_stored_gets_an_answer_that_opens_nothing():
    user = UserFactory()
    device = Device(user)
    with connected(user_logged_in, lambda: User.objects.all().delete()):
        answer = attempt(user, "login")
    assert answer.status_code == 200
    device.tokens = answer.json()
    assert device.call().json()["code"] == "INVALID_TOKEN"


class BrokenOffOnce(ModelBackend):
    """A write of its own loses a deadlock the first time, as that of a password that is hashed anew."""

    calls = 0

    def authenticate(self, *args, **kwargs):
        type(self).calls += 1
        if self.calls == 1:
            raise OperationalError(1213, "Deadlock found")
        return super().authenticate(*args, **kwargs)


@pytest.mark.django_db(transaction=True)
def test_a_deadlock_while_the_password_is_verified_is_tried_again(settings, monkeypatch):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.BrokenOffOnce"]
    monkeypatch.setattr(BrokenOffOnce, "calls", 0)
    user = UserFactory()
    assert attempt(user, "login").status_code == 200
    assert BrokenOffOnce.calls == 2
