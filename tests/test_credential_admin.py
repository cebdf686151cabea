"""Credentials in the admin: made, shown once, edited in part, revoked for good."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session as BrowserSession
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from example_project.accounts.models import User
from jwt_sessions import credentials, sessions
from jwt_sessions.models import Credential
from tests.factories import UserFactory
from tests.services import Service

pytestmark = pytest.mark.django_db

LIST = "/admin/jwt_sessions/credential/"
ADD = f"{LIST}add/"


def page(credential, name="change"):
    return reverse(f"admin:jwt_sessions_credential_{name}", args=[credential.pk])


def browser(user):
    client = Client()
    client.force_login(user)
    return client


def staff(*permissions):
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return browser(user)


@pytest.fixture
def admin(db):
    return browser(UserFactory(email="root@example.com", is_staff=True, is_superuser=True))


def add(client, **fields):
    data = {"name": "CI", "audience": "api", "claims": "{}", **fields}
    return client.post(ADD, data)


def edit(client, credential, **fields):
    data = {"name": credential.name, "claims": "{}", **fields}
    return client.post(page(credential), data)


def shown(response):
    """The client id and the secret on the page that answers."""
    assert response.status_code == 200, response
    text = html.unescape(response.content.decode())
    (secret,) = re.findall(r"jcs_[A-Za-z0-9_-]+", text)
    (client_id,) = re.findall(r'id="client-id"[^>]* value="([^"]+)"', text)
    return client_id, secret


def listed(client, **query):
    response = client.get(LIST, query)
    assert response.status_code == 200
    return {row.name for row in response.context["cl"].result_list}


# Adding


@pytest.mark.parametrize("owned", [True, False])
def test_what_is_added_can_be_exchanged(admin, user, client, owned):
    response = add(admin, user=str(user.pk) if owned else "")
    assert "no-store" in response["Cache-Control"]
    client_id, secret = shown(response)
    parameters = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    token = client.post("/auth/token/", parameters).json()["access_token"]
    said = client.get("/api/caller/", headers={"Authorization": f"Bearer {token}"}).json()
    assert (said["type"], said["sub"]) == (("personal", str(user.pk)) if owned else ("api", client_id))


def test_all_that_the_form_asks_for_is_stored(admin, user, jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"], TENANTS=lambda user: ["acme"])
    add(
        admin,
        user=str(user.pk),
        name="Nightly export",
        audience="reports",
        tenant="acme",
        claims='{"plan": "gold"}',
        may_introspect="on",
        expires_at_0="2100-01-31",
        expires_at_1="10:00",
    )
    row = Credential.objects.get()
    assert (row.kind, row.user, row.name, row.audience, row.tenant) == (
        *("personal", user, "Nightly export"),
        *("reports", "acme"),
    )
    assert (row.claims, row.may_introspect) == ({"plan": "gold"}, True)
    assert row.expires_at.isoformat() == "2100-01-31T10:00:00+00:00"
    assert (row.last_used_at, row.revoked_at) == (None, None)


def test_the_secret_is_in_that_answer_only(admin):
    response = add(admin)
    _client_id, secret = shown(response)
    assert not list(response.context["messages"])
    assert secret not in str(admin.cookies) + str(response.headers)
    kept = [each.get_decoded() for each in BrowserSession.objects.all()]
    assert kept and secret not in str(kept)
    assert secret not in str(vars(LogEntry.objects.get()))
    row = Credential.objects.get()
    digest = bytes(row.secret_hash).hex()
    pages = [LIST, ADD, page(row), page(row, "history"), page(row, "delete"), reverse("admin:index")]
    for each in pages:
        answer = admin.get(each)
        assert answer.status_code == 200
        text = answer.content.decode()
        assert "jcs_" not in text
        assert digest[:12] not in text
    assert f"{digest[:8]}…" in admin.get(page(row)).content.decode()


def test_the_page_says_what_it_is_about(admin):
    text = add(admin, name="<b>Nightly</b>", expires_at_0="2100-01-31", expires_at_1="10:00").content.decode()
    assert "The credential “&lt;b&gt;Nightly&lt;/b&gt;” was issued." in text
    assert "cannot be shown again" in text
    assert "Expiry: Jan. 31, 2100, 10 a.m." in text
    assert page(Credential.objects.get()) in text
    assert "It never expires." in add(admin).content.decode()


def test_the_add_page_offers_the_audiences_of_the_settings(admin, jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"])
    text = admin.get(ADD).content.decode()
    assert re.findall(r'<option value="(\w+)"', text) == ["api", "reports"]
    assert 'name="_save"' in text
    assert "_addanother" not in text and "_continue" not in text


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("user", "not a key", "not one of the available choices|not a valid"),
        ("user", "00000000-0000-4000-8000-000000000000", "not one of the available choices"),
        ("name", "", "required"),
        ("name", "n" * 101, "at most 100 characters"),
        ("name", "a\x00b", "Null characters"),
        ("audience", "elsewhere", "not one of the available choices"),
        ("audience", "", "required"),
        ("tenant", "t" * 256, "at most 255 characters"),
        ("claims", "{", "valid JSON"),
        ("claims", "[]", "JSON object"),
        ("claims", '"x"', "JSON object"),
        ("claims", '{"sub": 1, "aud": 2}', "Reserved names: aud, sub"),
        ("claims", '{"a": NaN}', "without NaN"),
        ("claims", '{"a": "\\u0000"}', "NUL"),
        ("expires_at_0", "2020-01-01", "This moment has passed"),
        ("expires_at_0", "soon", "valid date"),
    ],
)
def test_bad_input_is_shown_at_its_field_and_stores_nothing(admin, field, value, complaint):
    response = add(admin, **{"expires_at_1": "10:00" if field == "expires_at_0" else "", field: value})
    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert re.search(complaint, str(errors[field.removesuffix("_0")]))
    assert not Credential.objects.exists()


@pytest.mark.parametrize("claims", ["", "{}"])
def test_no_claims_are_none(admin, claims):
    shown(add(admin, claims=claims))
    assert Credential.objects.get().claims == {}
    assert edit(admin, Credential.objects.get(), claims=claims).status_code == 302
    assert Credential.objects.get().claims == {}


def test_attack_a_credential_for_a_tenant_of_others(admin, user, jwt_settings):
    jwt_settings(TENANTS=lambda user: ["acme"])
    response = add(admin, user=str(user.pk), tenant="initech")
    assert "not an accepted member" in str(response.context["adminform"].form.errors["tenant"])
    assert not Credential.objects.exists()
    assert shown(add(admin, user=str(user.pk), tenant="acme"))
    assert shown(add(admin, tenant="initech"))


def test_memberships_that_cannot_be_told_are_no_500(admin, user, jwt_settings):
    jwt_settings(TENANTS=lambda user: 1 / 0)
    response = add(admin, user=str(user.pk), tenant="acme")
    assert (response.status_code, Credential.objects.count()) == (200, 0)
    assert "tenant" in response.context["adminform"].form.errors


def test_a_membership_lost_between_form_and_making_is_told(admin, user, jwt_settings):
    answers = iter([["acme"], []])
    jwt_settings(TENANTS=lambda user: next(answers))
    response = add(admin, user=str(user.pk), tenant="acme")
    assert response.status_code == 302
    assert not Credential.objects.exists() and not LogEntry.objects.exists()
    assert "not a member of this tenant" in admin.get(response["Location"]).content.decode()


def test_no_credential_is_added_for_an_inactive_user(admin, user):
    user.is_active = False
    user.save()
    assert "This user is not active." in add(admin, user=str(user.pk)).content.decode()
    assert not Credential.objects.exists()


# Looking


def expired(new: sessions.NewCredential) -> sessions.NewCredential:
    new.credential.expires_at = timezone.now() - timedelta(days=1)
    new.credential.save()
    return new


@pytest.fixture
def four(user, jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"])
    return {
        "Living": credentials.create_credential(
            name="Living", user=user, expires_at=timezone.now() + timedelta(days=1)
        ),
        "Revoked": credentials.create_credential(name="Revoked", tenant="acme"),
        "Expired": expired(credentials.create_credential(name="Expired")),
        "Gateway": credentials.create_credential(name="Gateway", may_introspect=True, audience="reports"),
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {"Living", "Revoked", "Expired", "Gateway"}),
        ({"state": "living"}, {"Living", "Gateway"}),
        ({"state": "revoked"}, {"Revoked"}),
        ({"state": "expired"}, {"Expired"}),
        ({"kind__exact": "personal"}, {"Living"}),
        ({"kind__exact": "api"}, {"Revoked", "Expired", "Gateway"}),
        ({"may_introspect__exact": "1"}, {"Gateway"}),
        ({"audience": "reports"}, {"Gateway"}),
        ({"q": "gate"}, {"Gateway"}),
        ({"q": "acme"}, {"Revoked"}),
        ({"q": "example.com"}, {"Living"}),
        ({"q": "' OR 1=1 --"}, set()),
    ],
)
def test_credentials_are_filtered_and_searched(admin, four, query, expected):
    credentials.revoke_credential(four["Revoked"].credential)
    assert listed(admin, **query) == expected


def test_a_credential_is_found_by_its_client_id(admin, four):
    assert listed(admin, q=str(four["Expired"].credential.pk)) == {"Expired"}


def test_the_list_says_what_state_each_is_in(admin, four):
    credentials.revoke_credential(four["Revoked"].credential)
    owner = UserFactory()
    Service(name="Orphan", user=owner)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    text = admin.get(LIST).content.decode()
    states = re.findall(r'<td class="field-state">([^<]*)</td>', text)
    assert states == ["owner not active", "live", "expired", "revoked", "live"]


def test_the_statements_of_the_list_do_not_grow_with_its_rows(admin):
    def statements():
        with CaptureQueriesContext(connection) as queries:
            admin.get(LIST)
        return len(queries)

    Service(user=UserFactory())
    statements()  # fills the cache of content types
    few = statements()
    for _each in range(5):
        Service(user=UserFactory())
    assert statements() == few


# Changing


def test_name_claims_right_and_expiry_can_be_changed_and_bite_at_once(admin, user):
    service = Service(user=user)
    response = edit(
        admin,
        service.credential,
        name="Renamed",
        claims='{"plan": "gold"}',
        may_introspect="on",
        expires_at_0="2100-01-31",
        expires_at_1="10:00",
    )
    assert response.status_code == 302
    row = service.credential
    assert (row.name, row.claims, row.may_introspect) == ("Renamed", {"plan": "gold"}, True)
    assert row.expires_at.year == 2100
    assert service.introspect(service.exchanged().access_token).json()["plan"] == "gold"
    edit(admin, row, expires_at_0="2020-01-01", expires_at_1="10:00")
    assert service.call().status_code == 401
    assert service.exchange().status_code == 401


def test_attack_nothing_else_can_be_changed(admin, user, jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"])
    service = Service()
    before = Credential.objects.values().get()
    forged = {
        "client_id": "00000000-0000-4000-8000-000000000000",
        "kind": "personal",
        "user": str(user.pk),
        "tenant": "acme",
        "audience": "reports",
        "secret_hash": "x",
        "created_at_0": "2020-01-01",
        "created_at_1": "10:00",
        "revoked_at_0": "2020-01-01",
        "revoked_at_1": "10:00",
    }
    assert edit(admin, service.credential, **forged).status_code == 302
    assert Credential.objects.values().get() == before


@pytest.mark.parametrize("claims", ["[]", '{"sub": 1}', '{"a": NaN}', "{"])
def test_claims_are_checked_when_they_are_changed(admin, claims):
    service = Service(claims={"a": 1})
    assert "claims" in edit(admin, service.credential, claims=claims).context["adminform"].form.errors
    assert service.credential.claims == {"a": 1}


def test_a_credential_of_an_audience_that_is_no_longer_issued_can_be_changed(admin, jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"])
    service = Service(audience="reports")
    jwt_settings(AUDIENCES=["api"])
    assert admin.get(page(service.credential)).status_code == 200
    assert edit(admin, service.credential, name="Renamed").status_code == 302
    assert (service.credential.name, service.credential.audience) == ("Renamed", "reports")


def test_saving_does_not_undo_who_revoked_meanwhile(admin, monkeypatch):
    service = Service()
    save = Credential.save

    def slow(credential, **kwargs):
        credentials.revoke_credential(service.credential)
        save(credential, **kwargs)

    monkeypatch.setattr(Credential, "save", slow)
    assert edit(admin, service.credential, name="Renamed").status_code == 302
    assert service.credential.name == "Renamed"
    assert service.credential.revoked_at is not None


# Revoking


def revoke(client, *services):
    rows = [service.client_id for service in services]
    return client.post(LIST, {"action": "revoke_selected", "_selected_action": rows}, follow=True)


def test_revoking_kills_the_tokens_of_those_selected_and_no_others(admin, user):
    services = [Service(user=user).exchanged(), Service().exchanged(), Service().exchanged()]
    assert "2 credentials revoked." in revoke(admin, *services[:2]).content.decode()
    assert [service.call().status_code for service in services] == [401, 401, 200]
    assert [service.exchange().status_code for service in services] == [401, 401, 200]


def test_what_is_revoked_stays_revoked_since_then(admin):
    service = Service()
    revoke(admin, service)
    moment = service.credential.revoked_at
    assert "0 credentials revoked." in revoke(admin, service).content.decode()
    assert edit(admin, service.credential, name="Renamed").status_code == 302
    assert service.credential.revoked_at == moment
    assert service.exchange().status_code == 401


def test_deleting_kills_the_tokens(admin):
    service = Service().exchanged()
    assert admin.post(page(service.credential, "delete"), {"post": "yes"}).status_code == 302
    assert service.call().status_code == 401


# Who may do it


def test_staff_without_permission_sees_nothing(db):
    service = Service()
    client = staff()
    for each in (LIST, ADD, page(service.credential)):
        assert client.get(each).status_code == 403


def test_staff_that_may_only_look_cannot_act(db):
    service, client = Service().exchanged(), staff("view_credential")
    text = client.get(LIST).content.decode()
    assert "revoke_selected" not in text and "delete_selected" not in text
    revoke(client, service)
    assert edit(client, service.credential, name="Renamed").status_code == 403
    assert add(client).status_code == 403
    assert client.post(page(service.credential, "delete"), {"post": "yes"}).status_code == 403
    assert client.get(page(service.credential)).status_code == 200
    assert (service.credential.name, service.call().status_code) == ("A service", 200)


def test_staff_that_may_change_may_revoke_and_not_add(db):
    service, client = Service().exchanged(), staff("change_credential")
    assert add(client).status_code == 403
    revoke(client, service)
    assert service.call().status_code == 401


def test_staff_that_may_add_is_shown_the_secret(db):
    assert shown(add(staff("add_credential")))


def test_a_visitor_is_sent_to_the_login_page(client):
    assert client.get(LIST)["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize("model", ["revokedsession", "exchangedtoken"])
def test_bookkeeping_is_not_in_the_admin(model):
    with pytest.raises(NoReverseMatch):
        reverse(f"admin:jwt_sessions_{model}_changelist")


def test_the_admin_works_without_time_zones(admin, settings):
    settings.USE_TZ = False
    assert shown(add(admin, expires_at_0="2100-01-31", expires_at_1="10:00"))
    for each in (LIST, page(Credential.objects.get())):
        assert admin.get(each).status_code == 200


@pytest.mark.parametrize("claims", ['{"a": "\\ud800"}', "[" * 5000, "1" * 5000, '{"a": 1' + "0" * 5000 + "}"])
def test_claims_that_cannot_be_read_or_stored_are_an_error_of_the_form(admin, claims):
    response = add(admin, claims=claims)
    assert response.status_code == 200
    assert "claims" in response.context["adminform"].form.errors
    assert not Credential.objects.exists()
