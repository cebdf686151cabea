"""SESSION_CHECK="cache" where transactions are managed by hand, and where users or the cache are shared unusually."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from jwt_sessions import sessions
from jwt_sessions.models import Session, SessionPolicy
from jwt_sessions.sessions import authorization
from jwt_sessions.tokens import access
from jwt_sessions.verdict import cache as verdict_cache
from jwt_sessions.verdict.session import find
from tests.clients import Device
from tests.documentation import ROOT
from tests.factories import UserFactory
from tests.session_ends import deactivating, setting_the_password
from tests.statements import READ, statements


@pytest.fixture(autouse=True)
def cached(jwt_settings):
    jwt_settings(SESSION_CHECK="cache", TENANTS=None)


@pytest.fixture
def device(transactional_db) -> Device:
    """A device whose token the cache knows."""
    device = Device(UserFactory()).sign_in()
    assert [statements(device.call), statements(device.call)] == [[READ], []]
    return device


@contextmanager
def by_hand() -> Iterator[None]:
    """A transaction without autocommit, which the project commits by itself."""
    transaction.set_autocommit(False)
    try:
        yield
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def elsewhere(call: Any) -> Any:
    """What another connection gets."""
    with ThreadPoolExecutor(1) as pool:
        try:
            return pool.submit(call).result(timeout=30)
        finally:
            pool.submit(connections.close_all).result()


CHANGES = {
    "deactivated": deactivating,
    "password": setting_the_password,
    "ended": lambda device: sessions.end_all(device.user, reason="logout"),
    "version": lambda device: sessions.raise_version(device.user),
    "policy": lambda device: SessionPolicy.objects.create(audience="api", max_lifetime=timedelta(microseconds=1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_committed_by_hand_bites_on_the_next_request(device, change):
    with by_hand():
        CHANGES[change](device)
        # Who reads the old row before the commit must not cache it.
        assert elsewhere(lambda: [statements(device.call) for _ in range(3)]) == [[READ]] * 3
    assert device.call().status_code == 401


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_a_block_that_commits_nothing_bites_on_the_next_request(device, change):
    with by_hand():
        # On SQLite the outermost savepoint would be a transaction of its own otherwise.
        Session.objects.update(device_name="before")
        with transaction.atomic():
            CHANGES[change](device)
        assert elsewhere(lambda: [statements(device.call) for _ in range(3)]) == [[READ]] * 3
    assert device.call().status_code == 401


def test_what_is_rolled_back_by_hand_ends_nothing(device):
    with by_hand():
        deactivating(device)
        transaction.rollback()
    assert device.call().status_code == 200


def test_after_the_next_change_that_commits_by_itself_the_cache_counts_again(device):
    with by_hand():
        device.user.save()
    assert [statements(device.call), statements(device.call)] == [[READ], [READ]]
    device.user.save()
    assert [statements(device.call), statements(device.call)] == [[READ], []]


def test_who_reads_in_a_transaction_by_hand_caches_nothing(device, monkeypatch):
    """It may see rows that are older than the tags (REPEATABLE READ)."""
    found = find(access_claims(device)["sid"])
    sessions.end_all(device.user, reason="logout")
    with by_hand(), monkeypatch.context() as patch:
        patch.setattr(authorization, "find", lambda *args, **kwargs: found)
        assert device.call().status_code == 200
    assert device.call().status_code == 401


def access_claims(device: Device) -> dict[str, Any]:
    return access.decode(device.tokens["access_token"], timezone.now())


@pytest.mark.parametrize(("name", "value"), [("NAME", "copy"), ("HOST", "192.0.2.1"), ("PORT", "1")])
def test_attack_a_verdict_on_a_copy_of_the_database_is_none_on_this_one(device, monkeypatch, name, value):
    claims = access_claims(device)
    verdict, *tags = verdict_cache._keys(claims)
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, name, value)
        other, *same = verdict_cache._keys(claims)
    assert verdict != other
    assert tags == same
    # A change bites wherever it is made, also where servers know one database by two names.
    assert verdict_cache._keys(claims) == [verdict, *tags]


MODELS = """
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models

class Being(models.Model):
    id = models.CharField(primary_key=True, max_length=10)

class Person(Being):
    is_active = models.BooleanField(default=True)

class Customer(Person):
    pass

class Account(models.Model):
    key = models.AutoField(primary_key=True)
    state = models.CharField(max_length=10, default="open")

class User(AbstractBaseUser, Person, Account):
    name = models.CharField(max_length=20, unique=True)
    objects = BaseUserManager()
    USERNAME_FIELD = "name"

    def get_session_auth_hash(self):
        return super().get_session_auth_hash() + self.state
"""
PROJECT = """
import json, sys
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a key of a project with users in several tables, long enough to be one",
    USE_TZ=True,
    AUTH_USER_MODEL="people.User",
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "jwt_sessions", "people",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    JWT_SESSIONS={"SESSION_CHECK": "cache"},
)
django.setup()

from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from jwt_sessions import sessions
from jwt_sessions.exceptions import JWTSessionsError
from people.models import Account, Being, Customer, Person, User

call_command("migrate", run_syncdb=True, verbosity=0)

def outcomes(change):
    name = change.__name__
    # Keys that differ, so that one is not taken for another.
    Account.objects.create()
    user = User(id=name, name=name)
    user.set_password("x")
    user.save()
    token = sessions.start(user).access_token
    sessions.authorize(token)
    with CaptureQueriesContext(connection) as queries:
        sessions.authorize(token)
    change(user)
    try:
        sessions.authorize(token)
    except JWTSessionsError as error:
        return [len(queries), error.reason]
    return [len(queries), None]

def as_user(user):
    user.is_active = False
    user.save()

def as_person(user):
    person = Person.objects.get(pk=user.pk)
    person.is_active = False
    person.save()

def as_customer(user):
    Customer(person_ptr_id=user.pk, being_ptr_id=user.pk, id=user.pk, is_active=False).save()

def account(user):
    row = Account.objects.get(pk=user.account_ptr_id)
    row.state = "closed"
    row.save()

def as_being(user):
    Being.objects.get(pk=user.pk).save()

changes = (as_user, as_person, as_customer, account, as_being)
print(json.dumps({change.__name__: outcomes(change) for change in changes}))
"""


def test_a_user_of_several_tables_that_is_saved_by_a_parent_is_told_at_once(tmp_path):
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "__init__.py").touch()
    (tmp_path / "people" / "models.py").write_text(MODELS)
    (tmp_path / "main.py").write_text(PROJECT)
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "as_user": [0, "user_inactive"],
        "as_person": [0, "user_inactive"],
        "as_customer": [0, "user_inactive"],
        "account": [0, "password_changed"],
        # Nothing of the user has changed.
        "as_being": [0, None],
    }
