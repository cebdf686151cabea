"""The admin: what it shows, what it does, who may do it, and that a new refresh token is shown once."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session as BrowserSession
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jwt_sessions import sessions, signals
from jwt_sessions.exceptions import IssueDenied
from jwt_sessions.models import RefreshToken, Session, TokenVersion
from tests.clients import CHROME, Device
from tests.factories import UserFactory
from tests.statements import executed

pytestmark = pytest.mark.django_db

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"
MODELS = ("session", "refreshtoken", "tokenversion")


def url(model, page="changelist", *args):
    return reverse(f"admin:jwt_sessions_{model}_{page}", args=args)


def staff(*permissions):
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def browser(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def admin(db):
    return browser(UserFactory(email="root@example.com", is_staff=True, is_superuser=True))


@pytest.fixture
def start():
    """Start a session from a device at an address."""

    def start_one(user, *, user_agent=CHROME, ip="192.0.2.1", **parameters):
        request = RequestFactory().get("/", REMOTE_ADDR=ip, headers={"user-agent": user_agent})
        return sessions.start(user, request=request, **parameters)

    return start_one


def act(client, model, action, *rows):
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(url(model), data, follow=True)


def listed(client, model, **query):
    response = client.get(url(model), query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


@pytest.mark.parametrize("model", MODELS)
def test_the_index_leads_to_every_model(admin, model):
    assert url(model) in admin.get(reverse("admin:index")).content.decode()


@pytest.fixture
def four(start, jwt_settings):
    """Sessions that differ in all that one can filter and search by."""
    jwt_settings(AUDIENCES=["api", "mobile"], IDLE_TIMEOUT=timedelta(days=3))
    ada, grace = UserFactory(email="ada@example.com"), UserFactory(email="grace@example.com")
    live = start(ada, device_name="Kitchen tablet").session
    mobile = start(grace, user_agent=FIREFOX, ip="2001:db8::7", audience="mobile").session
    ended = start(ada, ip="192.0.2.99").session
    sessions.end(ended, reason="logout")
    with time_machine.travel(timezone.now() - timedelta(days=20), tick=False):
        idle = start(grace).session
    return {"live": live, "mobile": mobile, "ended": ended, "idle": idle}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["live", "mobile", "ended", "idle"]),
        ({"state": "live"}, ["live", "mobile"]),
        ({"state": "ended"}, ["ended", "idle"]),
        ({"end_reason__exact": "logout"}, ["ended"]),
        ({"end_reason__exact": "token_reuse"}, []),
        ({"audience": "mobile"}, ["mobile"]),
        ({"q": "ada"}, ["live", "ended"]),
        ({"q": "grace@example.com"}, ["mobile", "idle"]),
        ({"q": "kitchen"}, ["live"]),
        ({"q": "Firefox"}, ["mobile"]),
        ({"q": "192.0.2.99"}, ["ended"]),
        ({"q": "2001:db8::7"}, ["mobile"]),
        ({"q": "nobody"}, []),
        ({"q": "' OR 1=1 --"}, []),
    ],
)
def test_sessions_are_filtered_and_searched(admin, four, query, expected):
    assert listed(admin, "session", **query) == {four[name].pk for name in expected}


def test_sessions_are_filtered_by_date(admin, four):
    week = timezone.now() - timedelta(days=7)
    recent = {four[name].pk for name in ("live", "mobile", "ended")}
    assert listed(admin, "session", created_at__gte=week.isoformat()) == recent
    assert listed(admin, "session", last_active_at__lt=week.isoformat()) == {four["idle"].pk}


def test_a_session_is_found_by_its_id(admin, four):
    assert listed(admin, "session", q=str(four["mobile"].pk)) == {four["mobile"].pk}


@pytest.mark.parametrize(
    ("query", "expected"),
    [({"state": "current"}, 1), ({"state": "revoked"}, 2), ({"audience": "api"}, 3), ({"q": "Windows"}, 3)],
)
def test_refresh_tokens_are_filtered_and_searched(admin, start, user, query, expected):
    pair = start(user)
    request = RequestFactory().get("/", headers={"user-agent": CHROME})
    for _rotation in range(2):
        pair = sessions.refresh(pair.refresh_token, request=request)
        sessions.authorize(pair.access_token)
        Session.objects.update(first_used_at=timezone.now() - timedelta(days=1))
    family = RefreshToken.objects.filter(session=pair.session)
    assert family.count() == 3
    assert len(listed(admin, "refreshtoken", **query)) == expected
    assert listed(admin, "refreshtoken", q=str(family[0].pk)) == {family[0].pk}
    assert len(listed(admin, "refreshtoken", q=str(pair.session.pk))) == 3
    assert len(listed(admin, "refreshtoken", q=user.email)) == 3


def test_token_versions_are_searched_by_user(admin, user):
    sessions.raise_version(user)
    sessions.raise_version(UserFactory())
    assert listed(admin, "tokenversion", q=user.email) == {user.pk}


def test_the_list_says_why_a_session_is_over(admin, four):
    page = admin.get(url("session")).content.decode()
    assert page.count('<td class="field-state">live</td>') == 2
    assert page.count('<td class="field-state">ended: signed out</td>') == 1
    assert page.count('<td class="field-state">ended: no activity</td>') == 1


@pytest.mark.parametrize(
    ("model", "columns"), [("session", "created_at"), ("refreshtoken", "created_at"), ("tokenversion", "user")]
)
def test_the_statements_of_a_list_do_not_grow_with_its_rows(admin, start, model, columns):
    def statements():
        with CaptureQueriesContext(
            connection,
        ) as queries:
            page = admin.get(url(model))
        assert columns in page.content.decode()
        return len(queries)

    def make(number):
        for _each in range(number):
            user = UserFactory()
            start(user)
            sessions.raise_version(user)
            start(user)

    make(1)
    statements()  # fills the cache of content types
    few = statements()
    make(8)
    assert statements() == few


def test_the_statements_of_a_session_do_not_grow_with_its_family(admin, start, user):
    def statements(session):
        with CaptureQueriesContext(connection) as queries:
            admin.get(url("session", "change", session.pk))
        return len(queries)

    pair = start(user)
    statements(pair.session)  # fills the cache of content types
    few = statements(pair.session)
    for _rotation in range(6):
        pair = sessions.refresh(pair.refresh_token)
        Session.objects.update(first_used_at=timezone.now() - timedelta(days=1))
    assert RefreshToken.objects.filter(session=pair.session).count() == 7
    assert statements(pair.session) == few


def test_a_session_shows_each_deadline_with_the_policy_that_set_it(admin, start, user, jwt_settings):
    jwt_settings(IDLE_TIMEOUT=timedelta(hours=2), MAX_SESSION_LIFETIME=timedelta(days=9))
    page = admin.get(url("session", "change", start(user).session.pk)).content.decode()
    shown = re.findall(r"<div>[^<]*: ([a-z ]+) \(set by: ([a-z ]+)\)(.*?)</div>", page)
    assert shown == [
        ("no activity", "settings", " <strong>– this comes first</strong>"),
        ("refresh token expired", "refresh token", ""),
        ("maximum lifetime reached", "settings", ""),
    ]


def test_a_session_without_limits_shows_none(admin, start, user, jwt_settings):
    jwt_settings(REFRESH_TOKEN_LIFETIME=None, MAX_SESSION_LIFETIME=None)
    page = admin.get(url("session", "change", start(user).session.pk)).content.decode()
    assert "set by" not in page
    assert re.search(r"Deadlines:</label>\s*<div class=\"readonly\">none</div>", page)


def test_a_session_shows_its_family_the_current_token_first(admin, start, user):
    first = start(user)
    second = sessions.refresh(first.refresh_token)
    page = admin.get(url("session", "change", second.session.pk)).content.decode()
    assert re.findall(r'class="field-generation">\s*<p>(\d)</p>', page) == ["1", "0"]
    for token in second.session.refresh_tokens.all():
        assert url("refreshtoken", "change", token.pk) in page


@pytest.mark.parametrize("model", MODELS)
def test_pages_are_read_only(admin, start, user, model):
    pair = start(user)
    sessions.require_reauthentication(user)
    row = {"session": pair.session, "refreshtoken": pair.session.refresh_tokens.get()}.get(model) or user
    page = admin.get(url(model, "change", row.pk))
    assert page.status_code == 200
    assert not re.search(
        r'<(textarea|select|input (?!type="hidden"))', page.content.decode().split('id="content-main"')[1]
    )
    assert "_save" not in page.content.decode()
    before = Session.objects.values().get(), RefreshToken.objects.values().get(), TokenVersion.objects.values().get()
    fields = {"user": str(UserFactory().pk), "jwt_version": "7", "ended_at_0": "2020-01-01", "audience": "other"}
    assert admin.post(url(model, "change", row.pk), fields).status_code == 403
    after = Session.objects.values().get(), RefreshToken.objects.values().get(), TokenVersion.objects.values().get()
    assert after == before


def test_all_fields_of_a_refresh_token_are_shown_but_no_full_hash(admin, start, user):
    token = start(user).session.refresh_tokens.get()
    page = admin.get(url("refreshtoken", "change", token.pk)).content.decode()
    shown = set(re.findall(r"form-row field-(\w+)", page))
    stored = {field.name for field in RefreshToken._meta.concrete_fields}
    assert stored - shown == {"token_hash", "content"}
    assert {"hash_start", "content_size"} <= shown
    assert bytes(token.token_hash).hex()[:8] in page
    assert bytes(token.token_hash).hex()[:12] not in page


def test_sessions_cannot_be_added_by_hand(admin):
    assert admin.get(url("session", "add")).status_code == 403


def test_ending_selected_sessions_costs_the_same_however_many_they_are(admin, user):
    few, many = [sessions.start(user).session for _ in range(2)], [sessions.start(user).session for _ in range(8)]
    of_few = len(executed(lambda: act(admin, "session", "end_selected", *few)))
    assert len(executed(lambda: act(admin, "session", "end_selected", *many))) == of_few
    assert Session.objects.filter(end_reason="ended_by_admin").count() == 10


def test_end_selected_ends_those_and_no_others(admin, user):
    devices = [Device(user).sign_in() for _each in range(3)]
    rows = [Session.objects.get(pk=device.tokens["session_id"]) for device in devices]
    response = act(admin, "session", "end_selected", *rows[:2])
    assert "2 sessions ended." in response.content.decode()
    assert [device.call().status_code for device in devices] == [401, 401, 200]
    assert devices[0].call().json()["reason"] == "ended_by_admin"


def test_ending_what_has_ended_counts_nothing_and_keeps_the_reason(admin, start, user):
    session = start(user).session
    sessions.end(session, reason="logout")
    assert "0 sessions ended." in act(admin, "session", "end_selected", session).content.decode()
    session.refresh_from_db()
    assert session.end_reason == "logout"


def test_end_all_of_users_ends_every_session_of_the_users_selected(admin, start):
    users = [UserFactory() for _each in range(3)]
    started = [[start(user).session for _each in range(2)] for user in users]
    response = act(admin, "session", "end_all_of_users", started[0][0], started[0][1], started[1][0])
    assert "4 sessions ended." in response.content.decode()
    assert set(Session.objects.filter(ended_at=None)) == set(started[2])


def test_raising_a_version_ends_every_token_of_the_user(admin, device):
    TokenVersion.objects.create(user=device.user)
    assert "were raised" in act(admin, "tokenversion", "raise_versions", device.user).content.decode()
    assert TokenVersion.objects.get(user=device.user).jwt_version == 1
    assert device.call().json()["reason"] == "version_raised"


def test_requiring_reauthentication_refuses_the_next_refresh(admin, device):
    TokenVersion.objects.create(user=device.user)
    response = act(admin, "tokenversion", "require_reauthentication", device.user)
    assert "have to sign in again" in response.content.decode()
    assert device.call().status_code == 200
    assert device.refresh().json()["code"] == "REAUTHENTICATION_REQUIRED"
    assert device.sign_in().refresh().status_code == 200


def test_attack_a_token_version_is_not_deleted_by_itself(admin, user):
    """Its row gone, the user has version 0 and no mark: tokens from before would live again."""
    stolen = Device(user).sign_in()
    sessions.raise_version(user)
    sessions.require_reauthentication(user)
    page = url("tokenversion", "change", user.pk)
    assert url("tokenversion", "delete", user.pk) not in admin.get(page).content.decode()
    assert "delete_selected" not in admin.get(url("tokenversion", "changelist")).content.decode()
    assert admin.post(url("tokenversion", "delete", user.pk), {"post": "yes"}).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": [str(user.pk)], "post": "yes"}
    admin.post(url("tokenversion"), selected)
    version = TokenVersion.objects.get(user=user)
    assert (version.jwt_version, version.reauthenticate_after is not None) == (1, True)
    assert stolen.call().json()["reason"] == "version_raised"


@pytest.mark.parametrize("way", ["page", "action"])
def test_a_token_version_is_deleted_with_its_user(admin, user, way):
    sessions.raise_version(user)
    if way == "page":
        response = admin.post(reverse("admin:accounts_user_delete", args=[user.pk]), {"post": "yes"})
    else:
        selected = {"action": "delete_selected", "_selected_action": [str(user.pk)], "post": "yes"}
        response = admin.post(reverse("admin:accounts_user_changelist"), selected)
    assert response.status_code == 302
    assert not TokenVersion.objects.filter(pk=user.pk).exists()
    assert not type(user).objects.filter(pk=user.pk).exists()


def test_who_may_not_delete_token_versions_deletes_no_user_with_one(admin, user):
    sessions.raise_version(user)
    deletion = reverse("admin:accounts_user_delete", args=[user.pk])
    client = browser(staff("delete_user", "view_user"))
    assert client.post(deletion, {"post": "yes"}).status_code == 403
    assert TokenVersion.objects.filter(pk=user.pk).exists()
    client = browser(staff("delete_user", "view_user", "delete_tokenversion"))
    assert client.post(deletion, {"post": "yes"}).status_code == 302
    assert not TokenVersion.objects.filter(pk=user.pk).exists()


def test_adding_a_token_version_raises_it_and_says_so_before(admin, device):
    assert "all sessions and tokens of the user end at once" in admin.get(url("tokenversion", "add")).content.decode()
    response = admin.post(url("tokenversion", "add"), {"user": str(device.user.pk)})
    assert response.status_code == 302
    assert TokenVersion.objects.get(user=device.user).jwt_version == 1
    assert device.call().json()["reason"] == "version_raised"
    again = admin.post(url("tokenversion", "add"), {"user": str(device.user.pk)})
    assert again.status_code == 200
    assert "already exists" in again.content.decode()
    assert TokenVersion.objects.get(user=device.user).jwt_version == 1


# Add refresh token


def add_token(client, owner, **fields):
    data = {"user": str(owner.pk), "audience": "api", "lifetime": "3600", "device_info": "Till 7", **fields}
    return client.post(url("refreshtoken", "add"), data)


def shown_token(response):
    found = re.findall(r"jsr_[A-Za-z0-9_-]+", html.unescape(response.content.decode()))
    assert len(found) == 1
    return found[0]


def test_an_added_refresh_token_is_usable_at_the_token_endpoint(admin, user):
    response = add_token(admin, user)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    row = RefreshToken.objects.get()
    assert (row.session.user, row.audience, row.lifetime, row.device_info) == (user, "api", 3600, "Till 7")
    assert row.session.device_name == "Till 7"
    assert row.expires_at - row.created_at == timedelta(hours=1)
    till = Device(user)
    assert till.refresh(shown_token(response)).status_code == 200
    assert till.call().json()["email"] == user.email
    assert till.refresh().status_code == 200


def test_an_added_refresh_token_is_shown_in_that_answer_only(admin, user):
    response = add_token(admin, user)
    token = shown_token(response)
    assert not list(response.context["messages"])
    assert token not in str(admin.cookies) + str(response.headers)
    kept = [each.get_decoded() for each in BrowserSession.objects.all()]
    assert kept and token not in str(kept)
    entry = LogEntry.objects.get()
    assert token not in str(vars(entry))
    row = RefreshToken.objects.get()
    pages = [url(model) for model in MODELS]
    pages += [url("refreshtoken", "change", row.pk), url("refreshtoken", "history", row.pk), url("refreshtoken", "add")]
    pages += [url("session", "change", row.session_id), reverse("admin:index")]
    for page in pages:
        answer = admin.get(page)
        assert answer.status_code == 200
        assert "jsr_" not in answer.content.decode()


def test_an_added_token_without_lifetime_has_that_of_the_settings(admin, user, jwt_settings):
    jwt_settings(REFRESH_TOKEN_LIFETIME=timedelta(days=2))
    add_token(admin, user, lifetime="")
    assert RefreshToken.objects.get().lifetime == 2 * 86400


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("user", "", "required"),
        ("user", "not a key", "not one of the available choices|not a valid"),
        ("user", "00000000-0000-4000-8000-000000000000", "not one of the available choices"),
        ("audience", "elsewhere", "not one of the available choices"),
        ("audience", "", "required"),
        ("lifetime", "soon", "valid duration"),
        ("lifetime", "0", "at least one second"),
        ("lifetime", "-5", "at least one second"),
        ("lifetime", "40000 00:00:00", "at most 50 years"),
        ("lifetime", "999999999999999999999", "between|valid duration|at most"),
        ("device_info", "x" * 101, "at most 100 characters"),
        ("device_info", "a\x00b", "Null characters"),
    ],
)
def test_bad_input_is_shown_at_its_field_and_stores_nothing(admin, user, field, value, complaint):
    response = add_token(admin, user, **{field: value})
    assert response.status_code == 200
    assert re.search(complaint, str(response.context["adminform"].form.errors[field]))
    assert not Session.objects.exists()


def test_no_token_is_added_for_an_inactive_user(admin, user):
    user.is_active = False
    user.save()
    response = add_token(admin, user)
    assert "This user is not active." in response.content.decode()
    assert not Session.objects.exists()


@pytest.mark.parametrize(
    ("error", "shown"),
    [(IssueDenied("Tills are closed."), "Tills are closed."), (KeyError("inner"), "could not be issued")],
)
def test_a_refusing_hook_is_told_and_nothing_is_stored(admin, user, error, shown, caplog):
    def refuse(**kwargs):
        raise error

    signals.pre_issue.connect(refuse)
    try:
        response = add_token(admin, user)
    finally:
        signals.pre_issue.disconnect(refuse)
    page = admin.get(response["Location"]).content.decode()
    assert shown in page
    assert "inner" not in page
    assert not Session.objects.exists() and not LogEntry.objects.exists()


# Who may do it


@pytest.mark.parametrize("model", MODELS)
def test_staff_without_permission_sees_nothing(user, start, model):
    start(user)
    client = browser(staff())
    assert client.get(url(model)).status_code == 403
    assert client.get(url(model, "add")).status_code == 403


@pytest.mark.parametrize(
    ("model", "action"),
    [
        ("session", "end_selected"),
        ("session", "end_all_of_users"),
        ("session", "delete_selected"),
        ("refreshtoken", "delete_selected"),
        ("tokenversion", "raise_versions"),
        ("tokenversion", "require_reauthentication"),
        ("tokenversion", "delete_selected"),
    ],
)
def test_staff_that_may_only_look_cannot_act(device, model, action):
    TokenVersion.objects.create(user=device.user)
    row = {"session": Session, "refreshtoken": RefreshToken, "tokenversion": TokenVersion}[model].objects.get()
    client = browser(staff(f"view_{model}"))
    page = client.get(url(model))
    assert page.status_code == 200
    assert action not in page.content.decode()
    act(client, model, action, row)
    client.post(url(model), {"action": action, "_selected_action": [str(row.pk)], "post": "yes"})
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200
    assert client.get(url(model, "add")).status_code == 403
    assert client.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    ("permission", "model", "action", "reason"),
    [
        ("change_session", "session", "end_selected", "ended_by_admin"),
        ("change_tokenversion", "tokenversion", "raise_versions", "version_raised"),
    ],
)
def test_staff_that_may_change_may_act(device, permission, model, action, reason):
    TokenVersion.objects.create(user=device.user)
    row = {"session": Session, "tokenversion": TokenVersion}[model].objects.get()
    act(browser(staff(permission)), model, action, row)
    assert device.call().json()["reason"] == reason


def test_staff_needs_the_permission_to_add_refresh_tokens(user):
    assert add_token(browser(staff("view_refreshtoken", "change_refreshtoken")), user).status_code == 403
    assert add_token(browser(staff("add_refreshtoken")), user).status_code == 200


def test_a_visitor_is_sent_to_the_login_page(client):
    for model in MODELS:
        assert client.get(url(model))["Location"].startswith(reverse("admin:login"))


# Deleting


def test_a_user_with_sessions_is_deleted_in_the_admin(admin, device):
    TokenVersion.objects.create(user=device.user)
    device.refresh()
    confirm = reverse("admin:accounts_user_delete", args=[device.user.pk])
    assert admin.get(confirm).status_code == 200
    assert admin.post(confirm, {"post": "yes"}).status_code == 302
    assert not any(model.objects.exists() for model in (Session, RefreshToken, TokenVersion))
    assert device.call().json()["code"] == "INVALID_TOKEN"
    assert device.refresh().json()["code"] == "INVALID_TOKEN"


def test_a_user_with_sessions_is_deleted_by_the_model_and_in_bulk(device):
    other = Device(UserFactory()).sign_in()
    TokenVersion.objects.create(user=device.user)
    device.user.delete()
    assert device.call().status_code == 401
    assert other.call().status_code == 200
    type(other.user).objects.all().delete()
    assert other.call().status_code == 401
    assert not any(model.objects.exists() for model in (Session, RefreshToken, TokenVersion))


def test_a_session_is_deleted_in_the_admin_with_its_tokens(admin, device):
    row = Session.objects.get()
    assert admin.post(url("session", "delete", row.pk), {"post": "yes"}).status_code == 302
    assert not RefreshToken.objects.exists()
    assert device.call().json()["code"] == "INVALID_TOKEN"


def test_the_admin_works_without_time_zones(admin, user, settings):
    settings.USE_TZ = False
    pair = sessions.start(user)
    for page in (url("session"), url("session", "change", pair.session.pk), url("refreshtoken")):
        assert admin.get(page).status_code == 200
    assert add_token(admin, user).status_code == 200


@pytest.mark.parametrize("model", [*MODELS, "sessionpolicy", "credential"])
@pytest.mark.parametrize("name", ["audience", "state", "q", "o", "p", "end_reason__exact", "created_at__gte", "\0"])
def test_attack_a_null_character_in_the_address_of_a_change_list(admin, user, model, name):
    # PostgreSQL takes none in any text, and says so when the rows are read.
    sessions.start(user)
    for value in ("\0", "api\0", "\0live"):
        response = admin.get(url(model), {name: value})
        assert response.status_code == 302
        assert response["Location"] == f"{url(model)}?e=1"
    assert admin.post(f"{url(model)}?audience=%00", {"action": "delete_selected"}).status_code == 302


def test_a_session_whose_end_has_no_reason_or_an_unknown_one_was_ended_by_an_administrator(admin, device):
    for reason in ("", "by hand"):
        Session.objects.update(ended_at=timezone.now(), end_reason=reason)
        assert device.call().json()["reason"] == "ended_by_admin"
        assert device.refresh().json()["reason"] == "ended_by_admin"
        assert admin.get(url("session")).status_code == 200
        page = admin.get(url("session", "change", Session.objects.get().pk)).content.decode()
        assert "ended by an administrator" in page
        assert sessions.end(Session.objects.get(), reason="logout") is False


@pytest.mark.parametrize("model", ["session", "refreshtoken", "credential"])
def test_attack_a_malformed_key_of_a_selected_row(admin, model):
    action = {"session": "end_all_of_users", "refreshtoken": "delete_selected", "credential": "revoke_selected"}[model]
    form = {"action": action, "_selected_action": "01a0c450-6c", "index": 0}
    assert admin.post(f"/admin/jwt_sessions/{model}/", form).status_code == 400
