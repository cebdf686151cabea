"""Users whom the default manager of the user model filters out, as when they are deleted softly: they are nobody."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from example_project.accounts.models import User, UserManager
from jwt_sessions import sessions
from jwt_sessions.exceptions import InvalidCredentials, InvalidToken
from jwt_sessions.models import Session
from tests.clients import Device
from tests.crowd import refused
from tests.factories import PASSWORD
from tests.services import Service
from tests.statements import READ, statements

pytestmark = pytest.mark.django_db

HIDDEN = "deleted"


class Living(UserManager):
    """Keeps from view who was deleted softly."""

    def get_queryset(self):
        return super().get_queryset().exclude(name=HIDDEN)


class LivingNow(UserManager):
    """What it shows depends on the moment."""

    def get_queryset(self):
        return super().get_queryset().filter(date_joined__lte=timezone.now())


class Nobody(UserManager):
    def get_queryset(self):
        return super().get_queryset().none()


class Sorted(UserManager):
    """Another manager that filters nothing."""

    def get_queryset(self):
        return super().get_queryset().order_by("email")


@pytest.fixture
def manager(monkeypatch):
    def use(kind):
        manager = kind()
        manager.model = User
        monkeypatch.setattr(User._meta, "default_manager", manager)

    return use


@pytest.fixture
def hidden(manager, device) -> Device:
    """The device of a user who was deleted softly, by a bulk update that tells nobody."""
    manager(Living)
    assert device.call().status_code == 200
    User.objects.filter(pk=device.user.pk).update(name=HIDDEN)
    return device


def test_no_door_knows_a_hidden_user(hidden):
    assert (hidden.call().status_code, hidden.call().json()["code"]) == (401, "INVALID_TOKEN")
    refresh = hidden.refresh()
    assert (refresh.status_code, refresh.json()["code"]) == (400, "INVALID_TOKEN")
    again = hidden.post("reauthenticate", {"password": PASSWORD}, **hidden.bearer)
    assert again.json()["code"] == "INVALID_TOKEN"
    assert hidden.post("login", {"email": hidden.user.email, "password": PASSWORD}).status_code == 401
    with pytest.raises(InvalidCredentials):
        sessions.start(hidden.user)


def test_a_user_who_comes_back_has_the_sessions_back(hidden):
    assert hidden.call().status_code == 401
    User.objects.filter(pk=hidden.user.pk).update(name="")
    assert hidden.call().status_code == 200
    assert hidden.refresh().status_code == 200


def test_the_session_of_a_hidden_user_can_be_ended(hidden):
    assert sessions.end(Session.objects.get(), reason="ended_by_admin") is True
    User.objects.filter(pk=hidden.user.pk).update(name="")
    assert hidden.call().json()["reason"] == "ended_by_admin"


def test_a_token_introspects_as_inactive_for_a_hidden_user(hidden):
    service = Service(may_introspect=True)
    for token in (hidden.tokens["access_token"], hidden.tokens["refresh_token"]):
        assert hidden.post("introspect", {"token": token, **service.body}).json() == {"active": False}


@pytest.mark.parametrize("kind", [Living, Nobody])
def test_a_personal_credential_goes_with_its_owner_and_one_of_a_service_stays(manager, user, kind):
    User.objects.filter(pk=user.pk).update(name=HIDDEN)
    personal, service = Service(user=user), Service()
    token, service_token = personal.exchanged().access_token, service.exchanged().access_token
    manager(kind)
    assert isinstance(refused(lambda: sessions.authorize(token)), InvalidToken)
    assert personal.exchange().json()["code"] == "INVALID_CLIENT"
    assert sessions.authorize(service_token)[1].claims["client_id"] == service.client_id
    assert service.exchange().status_code == 200


def test_a_manager_that_shows_nobody_knows_nobody(device, manager):
    manager(Nobody)
    assert device.call().json()["code"] == "INVALID_TOKEN"
    with pytest.raises(InvalidCredentials):
        sessions.start(device.user)


def test_what_a_manager_shows_may_depend_on_the_moment(clock, device, manager):
    manager(LivingNow)
    assert device.call().status_code == 200
    User.objects.filter(pk=device.user.pk).update(date_joined=timezone.now() + timedelta(minutes=1))
    assert device.call().status_code == 401
    clock.shift(timedelta(minutes=2))
    assert device.call().status_code == 200


@pytest.mark.parametrize("kind", [UserManager, Sorted, Living])
def test_a_request_reads_once_whatever_the_manager(device, manager, kind):
    manager(kind)
    assert statements(device.call) == [READ]


@pytest.mark.parametrize("kind", [UserManager, Sorted])
def test_where_the_manager_filters_nothing_the_query_is_the_same(device, manager, kind, django_assert_num_queries):
    with django_assert_num_queries(1) as before:
        device.call()
    manager(kind)
    with django_assert_num_queries(1) as after:
        device.call()
    assert [query["sql"] for query in after] == [query["sql"] for query in before]
