"""Policies as rows: who may edit them, what is refused, how soon they bite, and what they are seen to do."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from jwt_sessions import conf
from jwt_sessions.models import Session, SessionPolicy, session_policy
from jwt_sessions.policies import PolicyBook
from tests.clients import Device
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
ALL = ("view_sessionpolicy", "add_sessionpolicy", "change_sessionpolicy", "delete_sessionpolicy")
BODY = {"audience": "api", "max_lifetime": 3600}


def staff(*permissions, **fields):
    user = UserFactory(**{"is_staff": True, **fields})
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


class Editor(Device):
    """Somebody who calls ``policies/``."""

    def ask(self, method, data=None, pk=None):
        name, args = ("policy-list", []) if pk is None else ("policy-detail", [pk])
        call = getattr(self.http, method)
        extra = {} if method == "get" else {"data": data, "content_type": "application/json"}
        return call(reverse(f"jwt_sessions:{name}", args=args), headers=self.bearer, **extra)


@pytest.fixture
def editor(db):
    return Editor(staff(*ALL)).sign_in()


@pytest.fixture
def admin(db):
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


def save_in_admin(admin, pk=None, **fields):
    add = reverse("admin:jwt_sessions_sessionpolicy_add")
    url = add if pk is None else reverse("admin:jwt_sessions_sessionpolicy_change", args=[pk])
    given = {name: str(value) for name, value in fields.items()}
    return admin.post(url, {"excluded_claims": "[]", "rotate_refresh_tokens": "unknown", **given})


# Editing


def test_policies_are_made_read_changed_and_deleted(editor):
    body = {**BODY, "idle_timeout": 600, "max_concurrent_sessions": 3, "on_session_limit": "refuse"}
    body |= {"access_token_lifetime": 60, "rotate_refresh_tokens": False, "excluded_claims": ["roles"]}
    made = editor.ask("post", body)
    assert made.status_code == 201
    full = {**body, "id": made.json()["id"], "tenant": "", "refresh_token_lifetime": None}
    assert made.json() == full
    assert made.headers["Cache-Control"] == "no-store"
    assert editor.ask("get").json() == [full]
    assert editor.ask("patch", {"idle_timeout": None}, full["id"]).json() == {**full, "idle_timeout": None}
    assert editor.ask("get", pk=full["id"]).json()["idle_timeout"] is None
    assert SessionPolicy.objects.get().max_lifetime == timedelta(hours=1)
    assert editor.ask("delete", pk=full["id"]).status_code == 204
    assert editor.ask("get", pk=full["id"]).status_code == 404
    assert editor.ask("get").json() == []


@pytest.mark.parametrize(
    ("method", "needed"),
    [
        ("get", "view_sessionpolicy"),
        ("post", "add_sessionpolicy"),
        ("patch", "change_sessionpolicy"),
        ("delete", "delete_sessionpolicy"),
    ],
)
def test_each_verb_takes_its_permission_and_staff(method, needed):
    policy = SessionPolicy.objects.create(tenant="acme")
    pk = policy.pk if method in ("patch", "delete") else None
    with_all_but_one = staff(*(each for each in ALL if each != needed))
    with_all_but_staff = staff(*ALL, is_staff=False)
    for user in (with_all_but_one, with_all_but_staff, UserFactory()):
        assert Editor(user).sign_in().ask(method, BODY, pk).status_code == 403
    assert list(SessionPolicy.objects.all()) == [policy]
    allowed = Editor(staff(needed)).sign_in().ask(method, {"audience": "api"} if method == "post" else {}, pk)
    assert allowed.status_code in (200, 201, 204)


def test_without_a_token_policies_are_not_there_for_anybody(client):
    response = client.get(reverse("jwt_sessions:policy-list"))
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")


# What is refused, by the field. Durations in seconds; the admin takes them so too.

BAD = [
    ({"idle_timeout": 7200, "max_lifetime": 3600}, "idle_timeout"),
    ({"idle_timeout": 59}, "idle_timeout"),
    ({"idle_timeout": 119}, "idle_timeout"),
    ({"idle_timeout": 0}, "idle_timeout"),
    ({"max_lifetime": 0}, "max_lifetime"),
    ({"max_lifetime": -1}, "max_lifetime"),
    ({"max_lifetime": 60 * 365 * 86400}, "max_lifetime"),
    ({"max_lifetime": 10**18}, "max_lifetime"),
    ({"max_lifetime": "soon"}, "max_lifetime"),
    ({"access_token_lifetime": 0}, "access_token_lifetime"),
    ({"refresh_token_lifetime": -5}, "refresh_token_lifetime"),
    ({"max_concurrent_sessions": 0}, "max_concurrent_sessions"),
    ({"max_concurrent_sessions": 0, "on_session_limit": "refuse"}, "max_concurrent_sessions"),
    ({"max_concurrent_sessions": -1}, "max_concurrent_sessions"),
    ({"max_concurrent_sessions": 2**64}, "max_concurrent_sessions"),
    ({"on_session_limit": "end_everything"}, "on_session_limit"),
    ({"excluded_claims": '{"roles": 1}'}, "excluded_claims"),
    ({"excluded_claims": "[1]"}, "excluded_claims"),
    ({"audience": "unheard of"}, "audience"),
    ({"tenant": "acme"}, "audience"),
    ({"audience": ""}, "audience"),
    ({"audience": "x" * 256}, "audience"),
    ({"audience": "", "tenant": "x" * 256}, "tenant"),
    ({"audience": "", "tenant": "acme", "access_token_lifetime": 60}, "access_token_lifetime"),
    ({"audience": "", "tenant": "acme", "refresh_token_lifetime": 60}, "refresh_token_lifetime"),
    ({"audience": "", "tenant": "acme", "rotate_refresh_tokens": "false"}, "rotate_refresh_tokens"),
    ({"audience": "", "tenant": "acme", "excluded_claims": '["roles"]'}, "excluded_claims"),
]


@pytest.mark.parametrize(("fields", "field"), BAD)
def test_a_bad_policy_is_refused_with_the_field_named_in_the_api(editor, fields, field):
    body = {"audience": "api", **fields}
    if "excluded_claims" in body:
        body["excluded_claims"] = json.loads(body["excluded_claims"])
    response = editor.ask("post", body)
    assert response.status_code == 400
    assert (response.json()["code"], response.json()["field"]) == ("INVALID_REQUEST", field)
    assert not SessionPolicy.objects.exists()


@pytest.mark.parametrize(("fields", "field"), BAD)
def test_a_bad_policy_is_refused_with_the_field_named_in_the_admin(admin, fields, field):
    response = save_in_admin(admin, **{"audience": "api", **fields})
    assert response.status_code == 200
    assert field in response.context["adminform"].form.errors
    assert not SessionPolicy.objects.exists()


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ({"IDLE_TIMEOUT": 120 * MINUTE, "MAX_SESSION_LIFETIME": 60 * MINUTE}, "IDLE_TIMEOUT"),
        ({"IDLE_TIMEOUT": 59 * SECOND}, "IDLE_TIMEOUT"),
        ({"IDLE_TIMEOUT": 119 * SECOND}, "IDLE_TIMEOUT"),
        ({"IDLE_TIMEOUT": timedelta(0)}, "IDLE_TIMEOUT"),
        ({"MAX_SESSION_LIFETIME": -SECOND}, "MAX_SESSION_LIFETIME"),
        ({"REFRESH_TOKEN_LIFETIME": timedelta(0)}, "REFRESH_TOKEN_LIFETIME"),
        ({"MAX_CONCURRENT_SESSIONS": 0, "ON_SESSION_LIMIT": "refuse"}, "MAX_CONCURRENT_SESSIONS"),
        ({"MAX_CONCURRENT_SESSIONS": True}, "MAX_CONCURRENT_SESSIONS"),
        ({"ON_SESSION_LIMIT": "end_everything"}, "ON_SESSION_LIMIT"),
        ({"SOFT_EXPIRY": 5 * MINUTE}, "SOFT_EXPIRY"),
        ({"ALLOW_RENEWAL": 1}, "ALLOW_RENEWAL"),
        ({"TENANTS": "no.such.callable"}, "TENANTS"),
    ],
)
def test_bad_settings_are_refused_with_the_key_named_by_the_checks(raw, key):
    assert [problem.key for problem in conf.parse(raw)[1]] == [key]


@pytest.mark.parametrize("fields", [{"audience": "api"}, {"tenant": "acme"}])
def test_there_is_one_policy_for_each(editor, admin, fields):
    policy = SessionPolicy.objects.create(**fields)
    assert editor.ask("post", fields).status_code == 400
    assert save_in_admin(admin, **fields).context["adminform"].form.errors
    assert SessionPolicy.objects.count() == 1
    assert editor.ask("patch", {**fields, "max_lifetime": 3600}, policy.pk).status_code == 200
    assert save_in_admin(admin, policy.pk, **fields, max_lifetime=7200).status_code == 302
    assert SessionPolicy.objects.get().max_lifetime == timedelta(hours=2)


def test_what_makes_no_sense_beside_what_is_stored_is_refused_too(editor):
    policy = SessionPolicy.objects.create(audience="api", max_lifetime=timedelta(hours=1))
    response = editor.ask("patch", {"idle_timeout": 7200}, policy.pk)
    assert (response.status_code, response.json()["field"]) == (400, "idle_timeout")


@pytest.mark.parametrize("unknown", ["revision", "max_liftime"])
def test_an_unknown_field_is_refused(editor, unknown):
    response = editor.ask("post", {**BODY, unknown: 5})
    assert (response.status_code, response.json()["field"]) == (400, unknown)


@pytest.mark.parametrize("fields", [{}, {"audience": "api", "tenant": "acme"}])
def test_the_database_takes_no_policy_of_nobody_and_none_of_both(fields):
    with pytest.raises(IntegrityError), transaction.atomic():
        SessionPolicy.objects.create(**fields)


# At once


def other_process(monkeypatch):
    """A process of its own: what it knows of policies is kept apart from what this one does."""
    mine, theirs = session_policy._known, SimpleNamespace(known=(None, PolicyBook()))

    def answer(work):
        nonlocal mine
        mine = session_policy._known
        monkeypatch.setattr(session_policy, "_known", theirs.known)
        try:
            return work()
        finally:
            theirs.known = session_policy._known
            monkeypatch.setattr(session_policy, "_known", mine)

    return answer


TIGHTER = {"max_lifetime": 2 * MINUTE}
WRITES = {
    "save": lambda policy: policy.save(),
    "save of a field": lambda policy: policy.save(update_fields=["max_lifetime"]),
    "update": lambda policy: SessionPolicy.objects.filter(pk=policy.pk).update(**TIGHTER),
    "bulk update": lambda policy: SessionPolicy.objects.bulk_update([policy], ["max_lifetime"]),
    "bulk create": lambda policy: (policy.delete(), SessionPolicy.objects.bulk_create([policy])),
    "update or create": lambda policy: SessionPolicy.objects.update_or_create({**TIGHTER}, audience="api"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_tightened_policy_bites_at_the_next_request_here_and_in_another_process(clock, device, monkeypatch, write):
    there = other_process(monkeypatch)
    policy = SessionPolicy.objects.create(audience="api", max_lifetime=timedelta(hours=1))
    clock.shift(3 * MINUTE)
    assert there(device.call).status_code == device.call().status_code == 200
    policy.max_lifetime = TIGHTER["max_lifetime"]
    WRITES[write](policy)
    for response in (there(device.call), device.call(), there(device.refresh)):
        assert response.json()["reason"] == "max_lifetime"
    assert Session.objects.get().end_reason == "max_lifetime"


@pytest.mark.parametrize("loosen", ["delete", "bulk delete", "update", "save"])
def test_loosening_bites_at_once_and_revives_no_ended_session(clock, user, monkeypatch, loosen):
    there = other_process(monkeypatch)
    policy = SessionPolicy.objects.create(audience="api", max_lifetime=10 * MINUTE)
    ended = Device(user).sign_in()
    clock.shift(8 * MINUTE)
    later = Device(user).sign_in()
    clock.shift(2 * MINUTE)
    assert there(ended.refresh).json()["reason"] == "max_lifetime"
    policy.max_lifetime = timedelta(hours=1)
    {
        "delete": policy.delete,
        "bulk delete": SessionPolicy.objects.all().delete,
        "update": lambda: SessionPolicy.objects.update(max_lifetime=timedelta(hours=1)),
        "save": policy.save,
    }[loosen]()
    assert ended.refresh().json()["reason"] == "max_lifetime"
    assert there(ended.refresh).json()["reason"] == "max_lifetime"
    clock.shift(9 * MINUTE)
    assert there(later.refresh).status_code == 200


def test_a_tightened_setting_bites_at_the_next_request(clock, device, jwt_settings):
    clock.shift(3 * MINUTE)
    jwt_settings(IDLE_TIMEOUT=3 * MINUTE)
    assert device.call().json()["reason"] == "idle_timeout"


def test_the_policy_of_an_audience_rules_its_tokens(user, jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"])
    SessionPolicy.objects.create(audience="reports", access_token_lifetime=MINUTE, refresh_token_lifetime=10 * MINUTE)
    SessionPolicy.objects.create(audience="api", rotate_refresh_tokens=False)
    reports = Device(user).sign_in(audience="reports")
    assert reports.tokens["expires_in"] == 60
    kept = Session.objects.get()
    assert kept.refresh_expires_at == kept.created_at + 10 * MINUTE
    device = Device(user).sign_in()
    token = device.tokens["refresh_token"]
    assert device.refresh(audience="reports").json()["expires_in"] == 60
    assert device.refresh().json()["expires_in"] == 300
    # The environment rotates, and that is the stricter.
    assert device.tokens["refresh_token"] != token


# What is seen


def test_the_form_says_how_many_sessions_a_change_would_end_before_it_is_saved(clock, admin, user):
    for _ in range(3):
        Device(user).sign_in()
        clock.shift(10 * MINUTE)
    response = save_in_admin(admin, audience="api", max_lifetime=1200)
    assert response.status_code == 200
    assert "ends 2 living sessions now" in response.content.decode()
    assert 'type="checkbox" name="confirmed"' in response.content.decode()
    assert not SessionPolicy.objects.exists()
    assert save_in_admin(admin, audience="api", max_lifetime=1200, confirmed=2).status_code == 302
    assert SessionPolicy.objects.get().max_lifetime == 20 * MINUTE


def test_what_was_confirmed_for_fewer_sessions_does_not_end_more(clock, admin, user):
    for _ in range(3):
        Device(user).sign_in()
        clock.shift(10 * MINUTE)
    response = save_in_admin(admin, audience="api", max_lifetime=600, confirmed=2)
    assert "ends 3 living sessions now" in response.content.decode()
    assert not SessionPolicy.objects.exists()


def test_a_change_that_ends_nobody_needs_no_confirmation(clock, admin, device):
    clock.shift(10 * MINUTE)
    assert save_in_admin(admin, audience="api", max_lifetime=601).status_code == 302


def test_the_form_counts_the_members_of_a_tenant_alone(clock, admin, jwt_settings):
    jwt_settings(TENANTS=lambda user: [user.email.split("@")[1]])
    for domain in ("acme", "acme", "globex"):
        Device(UserFactory(email=f"{UserFactory().pk}@{domain}")).sign_in()
    clock.shift(10 * MINUTE)
    response = save_in_admin(admin, tenant="acme", max_lifetime=600)
    assert "ends 2 living sessions now" in response.content.decode()


@pytest.fixture
def explained(clock, user, jwt_settings):
    jwt_settings(TENANTS=lambda user: ["acme"], IDLE_TIMEOUT=timedelta(hours=2))
    SessionPolicy.objects.create(tenant="acme", max_lifetime=timedelta(hours=5), idle_timeout=10 * MINUTE)
    return Device(user).sign_in(tenantId="acme")


def explain(sid):
    out = StringIO()
    call_command("explain_session", sid, stdout=out)
    return out.getvalue().splitlines()


def test_a_session_is_explained(clock, explained):
    sid = explained.tokens["session_id"]
    assert explain(sid) == [
        f"session {sid} of user {explained.user.pk}, audience api",
        "It lives.",
        "  idle_timeout: 2026-03-01T14:00:00+00:00, set by settings (first)",
        "  max_lifetime: 2026-03-01T17:00:00+00:00, set by tenant acme",
        "  expired: 2026-03-08T12:00:00+00:00, set by refresh token",
        "  tenant acme: open until 2026-03-01T12:10:00+00:00, set by tenant acme",
    ]
    clock.shift(10 * MINUTE)
    assert explain(sid)[-1].endswith("(closed now)")
    clock.shift(timedelta(minutes=110))
    assert explain(sid)[1] == "It has ended: idle_timeout."


@pytest.mark.parametrize("sid", ["garbage", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_session_cannot_be_explained(db, sid):
    with pytest.raises(CommandError, match="no session"):
        explain(sid)


def test_the_admin_shows_each_deadline_with_the_policy_behind_it(admin, explained):
    page = admin.get(reverse("admin:jwt_sessions_session_change", args=[explained.tokens["session_id"]]))
    text = page.content.decode()
    for source in ("settings", "tenant acme", "refresh token"):
        assert f"set by: {source}" in text
