"""The ways in which a session ends, each with the reason that is told."""

from __future__ import annotations

import getpass
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from example_project.accounts.models import User
from jwt_sessions import sessions
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import Session, TokenVersion
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory

NEW_PASSWORD = "another horse battery staple"

# Each takes the device; those of NAMES and ``reusing`` take the settings and the clock too.


def signing_out(device):
    device.post("logout", **device.bearer)


def ending_from_another_device(device):
    other = Device(device.user).sign_in()
    url = reverse("jwt_sessions:session-detail", args=[device.tokens["session_id"]])
    other.http.delete(url, headers=other.bearer)


def ending_others(device):
    other = Device(device.user).sign_in()
    other.post("session-end-others", **other.bearer)


def ending_by_verb(device):
    assert sessions.end(Session.objects.get(), reason="ended_by_admin")


def ending_by_id(device):
    assert sessions.end(Session.objects.get().pk, reason=EndReason.ENDED_BY_ADMIN)


def ending_all_by_verb(device):
    assert sessions.end_all(device.user, reason="ended_by_admin") == 1


def ending_by_command(device):
    call_command("end_sessions", "--user", device.user.email)


def replacing(device):
    Device(device.user).sign_in(replace_others=True)


def setting_the_password(device):
    user = User.objects.get(pk=device.user.pk)
    user.set_password(NEW_PASSWORD)
    user.save()


def setting_the_same_password_again(device):
    user = User.objects.get(pk=device.user.pk)
    user.set_password(PASSWORD)
    user.save(update_fields=["password"])


def saving_a_ready_hash(device):
    user = User.objects.get(pk=device.user.pk)
    user.password = make_password(NEW_PASSWORD)
    user.save(update_fields=["password"])


def disabling_the_password(device):
    user = User.objects.get(pk=device.user.pk)
    user.set_unusable_password()
    user.save()


def updating_the_password(device):
    User.objects.filter(pk=device.user.pk).update(password=make_password(NEW_PASSWORD))


def changing_the_password_in_the_admin(device):
    admin = Client()
    admin.force_login(UserFactory(is_staff=True, is_superuser=True))
    data = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"}
    response = admin.post(reverse("admin:auth_user_password_change", args=[device.user.pk]), data)
    assert response.status_code == 302


def changing_the_password_by_command(device):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(getpass, "getpass", lambda prompt: NEW_PASSWORD)
        call_command("changepassword", device.user.email, verbosity=0)


def raising_the_version(device):
    sessions.raise_version(device.user)


def raising_the_version_by_sql(device):
    TokenVersion.objects.create(user=device.user, jwt_version=1)


def deactivating(device):
    user = User.objects.get(pk=device.user.pk)
    user.is_active = False
    user.save()


def deactivating_by_update(device):
    User.objects.filter(pk=device.user.pk).update(is_active=False)


def deactivating_in_the_admin(device):
    admin = Client()
    admin.force_login(UserFactory(is_staff=True, is_superuser=True))
    url = reverse("admin:accounts_user_change", args=[device.user.pk])
    assert admin.post(url, {"email": device.user.email}).status_code == 302


def outliving_the_refresh_token(device):
    Session.objects.update(refresh_expires_at=timezone.now())


def tightening(**limits):
    """Limits that are tightened bite at once; a token that was issued under them would have expired."""

    def way(device, jwt_settings, clock):
        jwt_settings(**limits)
        clock.shift(timedelta(minutes=2))

    return way


idling = tightening(IDLE_TIMEOUT=timedelta(minutes=2))
outliving_the_maximum = tightening(MAX_SESSION_LIFETIME=timedelta(minutes=2))


def reusing(device, jwt_settings, clock):
    first = device.tokens["refresh_token"]
    device.refresh()
    device.call()
    clock.shift(timedelta(minutes=1))
    assert Device(device.user).refresh(first).json()["code"] == "INVALID_TOKEN"


WAYS = [
    (signing_out, "logout"),
    (ending_from_another_device, "ended_by_user"),
    (ending_others, "ended_by_user"),
    (ending_by_verb, "ended_by_admin"),
    (ending_by_id, "ended_by_admin"),
    (ending_all_by_verb, "ended_by_admin"),
    (ending_by_command, "ended_by_admin"),
    (replacing, "replaced"),
    (setting_the_password, "password_changed"),
    (setting_the_same_password_again, "password_changed"),
    (saving_a_ready_hash, "password_changed"),
    (disabling_the_password, "password_changed"),
    (updating_the_password, "password_changed"),
    (changing_the_password_in_the_admin, "password_changed"),
    (changing_the_password_by_command, "password_changed"),
    (raising_the_version, "version_raised"),
    (raising_the_version_by_sql, "version_raised"),
    (deactivating, "user_inactive"),
    (deactivating_by_update, "user_inactive"),
    (deactivating_in_the_admin, "user_inactive"),
    (outliving_the_refresh_token, "expired"),
    (idling, "idle_timeout"),
    (outliving_the_maximum, "max_lifetime"),
    (reusing, "token_reuse"),
]
NAMES = {idling: "idling", outliving_the_maximum: "outliving_the_maximum"}
