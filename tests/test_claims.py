"""Claims of the setting CLAIMS: attributes, callables, the ready ones, and what a policy leaves out."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jwt_sessions import sessions
from jwt_sessions.checks import check_settings, check_size_of_claims
from jwt_sessions.exceptions import IssueDenied, IssueFailed
from jwt_sessions.models import Session, SessionPolicy
from jwt_sessions.tokens import access
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

READY = {"roles": "jwt_sessions.claims.roles", "permissions": "jwt_sessions.claims.permissions"}


def claims_of(user, **asked):
    return access.decode(sessions.start(user, **asked).access_token, timezone.now())


def statements(call):
    with CaptureQueriesContext(connection) as queries:
        call()
    return [query["sql"] for query in queries if query["sql"].startswith("SELECT")]


@pytest.fixture
def editor(user):
    by_group, both, own = Permission.objects.order_by("pk")[:3]
    group = Group.objects.create(name="editors")
    group.permissions.add(by_group, both)
    user.groups.add(group, Group.objects.create(name="authors"))
    user.user_permissions.add(both, own)
    return user


def test_attributes_and_callables_become_claims(user, jwt_settings):
    jwt_settings(CLAIMS={"mail": "email", "kind": "__class__.__name__", "for": lambda user, draft: draft.audience})
    claims = claims_of(user)
    assert (claims["mail"], claims["kind"], claims["for"]) == (user.email, "User", "api")


def test_the_ready_claims_say_what_django_says(editor, jwt_settings):
    jwt_settings(CLAIMS=READY)
    claims = claims_of(editor)
    assert claims["roles"] == ["authors", "editors"]
    assert len(claims["permissions"]) == 3
    assert claims["permissions"] == sorted(editor.get_all_permissions())


def test_a_superuser_may_do_everything(user, jwt_settings):
    user.is_superuser = True
    jwt_settings(CLAIMS=READY, MAX_ACCESS_TOKEN_BYTES=16384)
    assert claims_of(user)["permissions"] == sorted(user.get_all_permissions())


def test_the_ready_claims_take_one_query_each_and_none_unused(editor, jwt_settings):
    without = statements(lambda: sessions.start(editor))
    jwt_settings(CLAIMS=READY)
    assert len(statements(lambda: sessions.start(editor))) == len(without) + 2
    SessionPolicy.objects.create(audience="api", excluded_claims=["roles", "permissions"])
    sessions.start(editor)  # reads the policies
    assert len(statements(lambda: sessions.start(editor))) == len(without)


def test_a_policy_leaves_claims_out_for_its_audience_alone(editor, jwt_settings):
    jwt_settings(CLAIMS={**READY, "mail": "email"}, AUDIENCES=["api", "reports"])
    SessionPolicy.objects.create(audience="reports", excluded_claims=["permissions"])
    assert {"roles", "permissions", "mail"} <= set(claims_of(editor))
    shorter = claims_of(editor, audience="reports")
    assert {"roles", "mail"} <= set(shorter)
    assert "permissions" not in shorter


def test_a_refresh_asks_again(user, jwt_settings):
    jwt_settings(CLAIMS={"mail": "email"})
    pair = sessions.start(user)
    type(user).objects.filter(pk=user.pk).update(email="new@example.com")
    renewed = sessions.refresh(pair.refresh_token)
    assert access.decode(renewed.access_token, timezone.now())["mail"] == "new@example.com"


def refuses(user, draft):
    raise IssueDenied("no")


def breaks(user, draft):
    raise RuntimeError("canary")


@pytest.mark.parametrize(
    ("source", "error"),
    [("no_such_attribute", IssueFailed), (breaks, IssueFailed), (refuses, IssueDenied)],
)
def test_a_claim_that_fails_refuses_the_token_and_stores_nothing(user, jwt_settings, source, error):
    jwt_settings(CLAIMS={"claim": source})
    with pytest.raises(error) as raised:
        sessions.start(user)
    assert "canary" not in str(raised.value)
    assert not Session.objects.exists()


def test_what_is_not_json_refuses_the_token(user, jwt_settings):
    jwt_settings(CLAIMS={"joined": "date_joined"})
    with pytest.raises(IssueFailed):
        sessions.start(user)


@pytest.mark.parametrize("name", sorted(access.RESERVED_CLAIMS))
def test_a_reserved_name_is_an_error_of_the_checks_and_issues_no_token(user, jwt_settings, name):
    jwt_settings(CLAIMS={name: "email"})
    assert [(error.id, error.obj) for error in check_settings(None)] == [("jwt_sessions.E046", "CLAIMS")]
    with pytest.raises(IssueFailed):
        sessions.start(user)


@pytest.mark.parametrize("value", [["roles"], {1: "email"}, {"": "email"}, {"mail": 1}, {"mail": "e mail"}])
def test_a_wrong_value_is_an_error_of_the_checks(jwt_settings, value):
    jwt_settings(CLAIMS=value)
    assert [error.id for error in check_settings(None)] == ["jwt_sessions.E034"]


def size_warnings():
    return [message for message in check_size_of_claims(None) if message.id == "jwt_sessions.W011"]


def test_a_check_warns_when_the_claims_of_a_sample_user_come_near_the_limit(user, jwt_settings):
    jwt_settings(CLAIMS={"long": lambda user, draft: "x" * 1500})
    assert size_warnings() == []
    jwt_settings(MAX_ACCESS_TOKEN_BYTES=3000)
    (warning,) = size_warnings()
    assert warning.obj == "CLAIMS"
    assert "3000" in warning.msg
    sizes = [int(word) for word in warning.msg.split() if word.isdecimal()]
    access_token = sessions.start(user).access_token
    assert sizes[0] == len(access_token)


def test_the_sample_is_a_superuser_where_there_is_one(user, jwt_settings):
    jwt_settings(CLAIMS={"long": lambda user, draft: "x" * 4000 if user.is_superuser else ""})
    assert size_warnings() == []
    UserFactory(is_superuser=True)
    assert len(size_warnings()) == 1


def test_the_check_reads_nothing_without_claims_and_one_user_with_them(user, jwt_settings, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert size_warnings() == []
    jwt_settings(CLAIMS={"mail": "email"})
    with django_assert_num_queries(1):
        assert size_warnings() == []


@pytest.mark.parametrize("claims", [{"none": "no.such.attribute"}, {"broken": lambda user, draft: 1 / 0}])
def test_the_check_is_silent_where_nothing_can_be_measured(user, jwt_settings, claims):
    jwt_settings(CLAIMS=claims, MAX_ACCESS_TOKEN_BYTES=10)
    assert size_warnings() == []


def test_the_check_needs_no_table_and_no_user(db, jwt_settings, monkeypatch):
    jwt_settings(CLAIMS={"mail": "email"}, MAX_ACCESS_TOKEN_BYTES=10)
    assert size_warnings() == []

    def fail(*args):
        raise OperationalError("no such table")

    with connection.execute_wrapper(fail):
        assert size_warnings() == []
