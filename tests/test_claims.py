"""Claims of the setting CLAIMS: attributes, callables, the ready ones, and what a policy leaves out."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jwt_sessions import sessions, signals
from jwt_sessions.checks import check_settings, check_size_of_claims
from jwt_sessions.exceptions import IssueDenied, IssueFailed
from jwt_sessions.models import RefreshToken, Session, SessionPolicy
from jwt_sessions.tokens import access
from jwt_sessions.tokens.claims import RESERVED_CLAIMS
from tests.clients import Device
from tests.factories import PASSWORD, UserFactory
from tests.services import Service

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


@pytest.mark.parametrize("name", sorted(RESERVED_CLAIMS))
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


def deny(user, draft):
    raise IssueDenied


def test_the_check_is_silent_about_a_user_who_gets_no_token(user, jwt_settings):
    jwt_settings(CLAIMS={"denied": deny}, MAX_ACCESS_TOKEN_BYTES=10)
    assert check_size_of_claims(None) == []


@pytest.mark.parametrize(
    "claims", [{"none": "no.such.attribute"}, {"broken": lambda user, draft: 1 / 0}, {"no_json": "pk"}]
)
def test_a_check_warns_when_the_claims_of_a_sample_user_fail(user, jwt_settings, claims):
    jwt_settings(CLAIMS=claims)
    (warning,) = check_size_of_claims(None)
    assert (warning.id, warning.obj) == ("jwt_sessions.W013", "CLAIMS")


def test_the_check_needs_no_table_and_no_user(db, jwt_settings, monkeypatch):
    jwt_settings(CLAIMS={"mail": "email"}, MAX_ACCESS_TOKEN_BYTES=10)
    assert size_warnings() == []

    def fail(*args):
        raise OperationalError("no such table")

    with connection.execute_wrapper(fail):
        assert size_warnings() == []


# What is left out of a token that is too large


@pytest.fixture
def one_size(monkeypatch):
    """Two tokens with the same claims are of the same size."""
    monkeypatch.setattr(access, "make_jti", lambda: "j" * 22)


LONG = {"big": lambda user, draft: "x" * 600, "bigger": lambda user, draft: "x" * 900}
LIMIT = 1100  # room for what the package puts in, and for half a thousand bytes


def sign_in(user, **parameters):
    return Device(user).post("login", {"email": user.email, "password": PASSWORD, **parameters})


@pytest.mark.parametrize(
    ("optional", "limit", "omitted"),
    [
        (["big", "bigger"], 4096, None),
        (["big", "bigger"], 2100, ["big"]),
        (["bigger", "big"], 2100, ["bigger"]),
        (["big", "bigger"], LIMIT, ["big", "bigger"]),
        (["absent", "bigger", "big"], LIMIT, ["bigger", "big"]),
        (["sub", "sid", "gen", "bigger", "big"], LIMIT, ["bigger", "big"]),
    ],
)
def test_optional_claims_are_left_out_in_order_as_far_as_needed(
    clock, user, jwt_settings, optional, limit, omitted
):  # fmt: skip
    jwt_settings(CLAIMS={**LONG, "kept": "email"}, OPTIONAL_CLAIMS=optional, MAX_ACCESS_TOKEN_BYTES=limit)
    answer = sign_in(user).json()
    claims = access.decode(answer["access_token"], timezone.now())
    assert len(answer["access_token"]) <= limit
    assert claims.get("omitted") == answer.get("omitted") == omitted
    assert set(LONG) - set(claims) == set(omitted or ())
    assert claims["kept"] == user.email
    assert {"sub", "sid", "gen"} <= set(claims)


def test_roles_and_permissions_are_optional_unless_told_otherwise(editor, jwt_settings):
    editor.is_superuser = True
    editor.save()
    Group.objects.bulk_create(Group(name=f"group {number} {'x' * 100}") for number in range(20))
    editor.groups.set(Group.objects.all())
    jwt_settings(CLAIMS={**READY, "mail": "email"}, MAX_ACCESS_TOKEN_BYTES=LIMIT)
    answer = sign_in(editor).json()
    assert answer["omitted"] == ["permissions", "roles"]
    jwt_settings(OPTIONAL_CLAIMS=["permissions"])
    assert sign_in(editor).status_code == 503
    # Fewer permissions fit again.
    editor.is_superuser = False
    editor.groups.clear()
    editor.save()
    assert "omitted" not in sign_in(editor).json()


@pytest.mark.parametrize("spare", [0, -1])
def test_a_claim_is_left_out_when_one_byte_is_too_many(clock, user, jwt_settings, one_size, spare):
    jwt_settings(CLAIMS=LONG, OPTIONAL_CLAIMS=["big"])
    size = len(sign_in(user).json()["access_token"])
    jwt_settings(MAX_ACCESS_TOKEN_BYTES=size + spare)
    assert sign_in(user).json().get("omitted") == (None if spare == 0 else ["big"])


def doors(user):
    """Every way to a token, by its name."""
    device = Device(user).sign_in()
    personal, api = Service(user=user, claims={"own": "x" * 600}), Service(claims={"own": "x" * 600})
    return {
        "login": lambda: sign_in(user),
        "refresh": device.refresh,
        "renew": lambda: device.post("renew", **device.bearer),
        "reauthenticate": lambda: device.post("reauthenticate", {"password": PASSWORD}, **device.bearer),
        "personal": personal.exchange,
        "api": api.exchange,
    }


DOORS = ["login", "refresh", "renew", "reauthenticate", "personal", "api"]


@pytest.mark.parametrize("door", DOORS)
def test_at_every_door_the_token_and_the_answer_say_what_was_left_out(user, jwt_settings, door):
    jwt_settings(ALLOW_RENEWAL=True, CLAIMS={"big": LONG["big"]}, OPTIONAL_CLAIMS=["own", "big"])
    enter = doors(user)[door]
    jwt_settings(MAX_ACCESS_TOKEN_BYTES=LIMIT)
    response = enter()
    expected = {"personal": ["own", "big"], "api": ["own"]}.get(door, ["big"])
    assert response.status_code == 200
    assert response.json()["omitted"] == expected
    assert access.decode(response.json()["access_token"], timezone.now())["omitted"] == expected


def stored():
    rows = [list(model.objects.order_by("pk").values()) for model in (Session, RefreshToken)]
    return rows, list(type(UserFactory.build()).objects.values())


@pytest.mark.parametrize("door", DOORS)
def test_at_every_door_a_token_that_is_still_too_large_is_refused_and_nothing_is_stored(
    clock, user, jwt_settings, caplog, door
):
    jwt_settings(ALLOW_RENEWAL=True, CLAIMS={"big": LONG["big"]}, OPTIONAL_CLAIMS=["permissions"])
    enter = doors(user)[door]
    before = stored()
    jwt_settings(MAX_ACCESS_TOKEN_BYTES=LIMIT)
    response = enter()
    assert (response.status_code, response.json()["code"], response.json()["terminal"]) == (503, "ISSUE_FAILED", False)
    assert "MAX_ACCESS_TOKEN_BYTES" in caplog.text
    assert "MAX_ACCESS_TOKEN_BYTES" not in response.content.decode()
    if door == "login":
        # Nothing but what authenticate() itself has done.
        assert stored()[0] == before[0]
    else:
        assert stored() == before
    jwt_settings(MAX_ACCESS_TOKEN_BYTES=4096)
    assert enter().status_code == 200


def test_claims_of_receivers_are_left_out_too(user, jwt_settings):
    def receiver(draft, **kwargs):
        draft.claims["big"] = "x" * 900

    signals.pre_issue.connect(receiver)
    jwt_settings(OPTIONAL_CLAIMS=["big"], MAX_ACCESS_TOKEN_BYTES=LIMIT)
    try:
        assert sign_in(user).json()["omitted"] == ["big"]
    finally:
        signals.pre_issue.disconnect(receiver)


def test_without_optional_claims_nothing_is_left_out(user, jwt_settings):
    jwt_settings(CLAIMS=LONG, OPTIONAL_CLAIMS=[], MAX_ACCESS_TOKEN_BYTES=LIMIT)
    assert sign_in(user).status_code == 503


@pytest.mark.parametrize("value", ["roles", [1], None, {"roles": 1}])
def test_optional_claims_are_a_list_of_names(jwt_settings, value):
    jwt_settings(OPTIONAL_CLAIMS=value)
    assert [error.id for error in check_settings(None)] == ["jwt_sessions.E035"]
