"""Credentials: making them, exchanging them, what their tokens open, and how these die."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import JSONField, Value
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from jwt_sessions import credentials, sessions, signals
from jwt_sessions.authentication import JWTSessionAuthentication
from jwt_sessions.exceptions import InvalidCredentials, InvalidTarget, IssueDenied, TenantForbidden
from jwt_sessions.models import Credential, SessionPolicy
from jwt_sessions.permissions import RequireRecentLogin, RequireTenant, RequireTokenType
from jwt_sessions.principal import Principal
from jwt_sessions.tokens import access
from tests.clients import Device
from tests.credential_ends import OF_ALL, OF_OWNERS, deactivate, delete_owner, raise_version, revoke
from tests.factories import UserFactory
from tests.services import Service

pytestmark = pytest.mark.django_db

ISSUED = {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "type"}


@pytest.fixture
def api(db) -> Service:
    return Service(name="Importer")


@pytest.fixture
def personal(user) -> Service:
    return Service(user=user)


@pytest.fixture
def memberships(jwt_settings):
    """The tenants that accepted whoever asks; a test adds and removes them."""
    tenants = ["acme", "globex"]
    jwt_settings(TENANTS=lambda user: tenants)
    return tenants


@pytest.fixture
def hook():
    """Connect a receiver to ``pre_issue`` until the test ends."""
    connected = []

    def connect(change):
        def receiver(draft, **kwargs):
            change(draft)

        signals.pre_issue.connect(receiver)
        connected.append(receiver)

    yield connect
    for receiver in connected:
        signals.pre_issue.disconnect(receiver)


def claims_of(service):
    return access.decode(service.access_token, timezone.now())


def raised(error):
    def change(draft):
        raise error

    return change


# Making


def test_a_credential_of_a_user_is_personal_and_one_of_nobody_is_for_an_api(clock, user):
    personal = credentials.create_credential(name="CI", user=user).credential
    api = credentials.create_credential(name="Importer").credential
    assert (personal.kind, personal.user, api.kind, api.user) == ("personal", user, "api", None)
    for credential in (personal, api):
        credential.refresh_from_db()
        assert (credential.audience, credential.tenant, credential.claims) == ("api", "", {})
        assert (credential.may_introspect, credential.expires_at, credential.last_used_at) == (False, None, None)
        assert (credential.created_at, credential.revoked_at) == (timezone.now(), None)
        assert credential.pk.version == 7
    assert str(personal) == f"CI ({personal.pk})"


def test_a_credential_is_made_for_audiences_that_are_issued_and_tenants_that_accepted_the_owner(user, memberships):
    with pytest.raises(InvalidTarget):
        credentials.create_credential(name="CI", audience="elsewhere")
    with pytest.raises(TenantForbidden):
        credentials.create_credential(name="CI", user=user, tenant="initech")
    assert not Credential.objects.exists()
    assert credentials.create_credential(name="CI", user=user, tenant="acme").credential.tenant == "acme"
    # An API credential belongs to a tenant because an administrator says so.
    assert credentials.create_credential(name="CI", tenant="initech").credential.tenant == "initech"


@pytest.mark.parametrize(
    "wrong",
    [{"name": "n" * 101}, {"name": ""}, {"expires_at": timezone.now() - timedelta(days=1)}, {"tenant": "t" * 256}],
)
def test_a_value_that_the_model_does_not_take_makes_no_credential(db, wrong):
    with pytest.raises(ValidationError) as raised:
        credentials.create_credential(**{"name": "A service", **wrong})
    assert list(raised.value.message_dict) == list(wrong)
    assert not Credential.objects.exists()


def test_a_user_who_is_not_active_gets_no_credential(db):
    with pytest.raises(InvalidCredentials):
        credentials.create_credential(name="A service", user=UserFactory(is_active=False))
    assert not Credential.objects.exists()


@pytest.mark.parametrize("kind", ["api", "other"])
def test_the_database_knows_that_only_personal_ones_have_an_owner(user, kind):
    row = Credential(kind=kind, user=user, name="x", secret_hash=b"", created_at=timezone.now())
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()


def test_attack_a_personal_credential_without_an_owner_opens_nothing(personal):
    personal.exchanged()
    Credential.objects.update(user=None)
    assert personal.call().status_code == 401
    assert personal.exchange().json()["code"] == "INVALID_CLIENT"


@pytest.mark.parametrize(
    "claims",
    [[], "x", 0, {"sub": "x"}, {"a": float("nan")}, {"a": float("inf")}, {"a": "\ud800"}, {"a": {"\0": 1}}],
)
def test_claims_that_cannot_be_stored_or_issued_are_refused_by_the_model(claims):
    with pytest.raises(ValidationError) as refused:
        Credential(claims=claims).clean()
    assert set(refused.value.message_dict) == {"claims"}


# Exchanging


def test_an_api_credential_is_exchanged_for_an_access_token_alone(clock, api):
    response = api.exchange()
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"access_token", "token_type", "expires_in"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 300)
    assert (response["Cache-Control"], response["Pragma"]) == ("no-store", "no-cache")
    claims = claims_of(api)
    assert set(claims) == ISSUED
    assert (claims["type"], claims["sub"], claims["client_id"]) == ("api", api.client_id, api.client_id)
    assert claims["exp"] - claims["iat"] == 300


def test_a_personal_credential_speaks_for_its_owner(personal, user):
    claims = claims_of(personal.exchanged())
    assert set(claims) == ISSUED | {"jwt_version"}
    assert (claims["type"], claims["sub"], claims["client_id"]) == ("personal", str(user.pk), personal.client_id)
    assert personal.call("/api/me/").json()["email"] == user.email


def test_every_exchange_is_a_token_of_its_own(api):
    first = claims_of(api.exchanged())
    assert claims_of(api.exchanged())["jti"] != first["jti"]


def test_own_claims_of_a_credential_are_in_its_tokens(user, jwt_settings):
    jwt_settings(CLAIMS={"mail": "email", "plan": "email"})
    own = {"plan": "gold", "limits": {"a": [1, None, True, "ü"]}}
    personal, api = Service(user=user, claims=own).exchanged(), Service(claims=own).exchanged()
    # What an administrator says about one credential is nearer than what the settings say about all users.
    assert {name: claims_of(personal)[name] for name in ("mail", "plan")} == {"mail": user.email, "plan": "gold"}
    assert set(claims_of(api)) == ISSUED | {"plan", "limits"}
    assert claims_of(api)["limits"] == own["limits"]


def test_a_policy_leaves_configured_claims_out_of_personal_tokens_too(user, jwt_settings):
    jwt_settings(CLAIMS={"mail": "email"})
    SessionPolicy.objects.create(audience="api", excluded_claims=["mail"])
    assert "mail" not in claims_of(Service(user=user).exchanged())


@pytest.mark.parametrize("name", ["sub", "type", "client_id", "tenantId"])
def test_attack_a_credential_with_a_reserved_claim_gets_no_token(name):
    service = Service()
    # Past the rules of the model, as a bulk update or a fixture goes.
    Credential.objects.update(claims={name: "x"})
    response = service.exchange()
    assert (response.status_code, response.json()["code"]) == (503, "ISSUE_FAILED")


@pytest.mark.parametrize("claims", [["plan"], "plan", 1, None])
def test_a_credential_with_claims_that_are_none_gets_no_token(claims):
    service = Service()
    Credential.objects.update(claims=Value(claims, JSONField()))
    response = service.exchange()
    assert (response.status_code, response.json()["code"]) == (503, "ISSUE_FAILED")


@pytest.mark.parametrize("parameter", ["audience", "resource"])
def test_a_credential_is_for_one_audience(jwt_settings, parameter):
    jwt_settings(AUDIENCES=["api", "reports"])
    service = Service(audience="reports")
    for asked in ({}, {parameter: "reports"}):
        assert claims_of(service.exchanged(**asked))["aud"] == "reports"
    for audience in ("api", "elsewhere"):
        response = service.exchange(**{parameter: audience})
        assert (response.status_code, response.json()["error"]) == (400, "invalid_target")


def test_audience_and_resource_have_to_agree(jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"])
    response = Service().exchange(audience="api", resource="reports")
    assert (response.json()["error"], response.json()["field"]) == ("invalid_target", "resource")


def test_a_credential_of_an_audience_that_is_no_longer_issued_gets_no_token(jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"])
    service = Service(audience="reports")
    jwt_settings(AUDIENCES=["api"])
    assert service.exchange().json()["error"] == "invalid_target"


TENANTS = [
    # owned, tenant of the credential, asked, answered
    (False, "", None, None),
    (False, "", "acme", "TENANT_FORBIDDEN"),
    (False, "acme", None, "acme"),
    (False, "acme", "acme", "acme"),
    (False, "acme", "globex", "TENANT_FORBIDDEN"),
    (True, "", None, None),
    (True, "", "acme", "acme"),
    (True, "", "initech", "TENANT_FORBIDDEN"),
    (True, "acme", None, "acme"),
    (True, "acme", "acme", "acme"),
    (True, "acme", "globex", "TENANT_FORBIDDEN"),
]


@pytest.mark.parametrize(("owned", "tenant", "asked", "answered"), TENANTS)
def test_a_credential_acts_for_its_tenant_or_for_those_of_its_owner(
    user, memberships, owned, tenant, asked, answered
):  # fmt: skip
    service = Service(user=user if owned else None, tenant=tenant)
    response = service.exchange(**({} if asked is None else {"tenantId": asked}))
    if answered == "TENANT_FORBIDDEN":
        assert (response.status_code, response.json()["code"]) == (403, answered)
        assert response.json()["error"] == "access_denied"
        return
    assert response.json().get("tenantId") == claims_of(service).get("tenantId") == answered
    assert service.call().json()["tenant"] == answered


def test_a_lost_membership_ends_the_exchange_for_that_tenant(user, memberships):
    service = Service(user=user, tenant="acme").exchanged()
    memberships.remove("acme")
    assert service.exchange().json()["code"] == "TENANT_FORBIDDEN"


def test_a_public_client_has_no_credential_to_exchange(client):
    response = client.post("/auth/token/", {"grant_type": "client_credentials", "client_id": "x"})
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


# Lifetimes


@pytest.mark.parametrize(("owned", "seconds"), [(True, 3600), (False, 600)])
def test_each_type_of_token_has_its_own_lifetime(clock, user, jwt_settings, owned, seconds):
    lifetimes = {"user": 5, "personal": 60, "api": 10}
    jwt_settings(ACCESS_TOKEN_LIFETIME={name: timedelta(minutes=number) for name, number in lifetimes.items()})
    service = Service(user=user if owned else None).exchanged()
    claims = claims_of(service)
    assert claims["exp"] - claims["iat"] == seconds
    assert Device(user).sign_in().tokens["expires_in"] == 300


def test_a_policy_shortens_the_tokens_of_its_audience(clock, api):
    SessionPolicy.objects.create(audience="api", access_token_lifetime=timedelta(minutes=1))
    assert api.exchange().json()["expires_in"] == 60


def test_a_token_never_outlives_its_credential(clock):
    service = Service(expires_at=timezone.now() + timedelta(seconds=90.9)).exchanged()
    claims = claims_of(service)
    assert claims["exp"] - claims["iat"] == 90
    clock.shift(timedelta(seconds=89))
    assert service.call().status_code == 200
    assert service.exchange().json()["expires_in"] == 1
    clock.shift(timedelta(seconds=2))
    assert service.call().status_code == 401
    assert service.exchange().json()["code"] == "INVALID_CLIENT"


@pytest.mark.parametrize("owned", [True, False])
@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [(timedelta(minutes=1), 60), (timedelta(hours=2), 7200), (timedelta.max, 50 * 365 * 86400)],
)
def test_the_hook_sets_the_lifetime(clock, user, hook, owned, expires_in, seconds):
    hook(lambda draft: setattr(draft, "expires_in", expires_in))
    response = Service(user=user if owned else None).exchange()
    assert response.json()["expires_in"] == seconds


def test_the_hook_sets_no_lifetime_beyond_that_of_the_credential(clock, hook):
    hook(lambda draft: setattr(draft, "expires_in", timedelta(hours=2)))
    service = Service(expires_at=timezone.now() + timedelta(hours=1))
    assert service.exchange().json()["expires_in"] == 3600


# The hook


def test_a_denied_exchange_says_why(api, hook):
    hook(raised(IssueDenied("Pay first.")))
    response = api.exchange()
    assert response.status_code == 403
    assert response.json() == {
        "error": "access_denied",
        "error_description": "Pay first.",
        "code": "ISSUE_DENIED",
        "terminal": False,
    }


def test_a_failing_exchange_tells_nothing(api, hook):
    hook(raised(RuntimeError("canary")))
    response = api.exchange()
    assert (response.status_code, response.json()["code"]) == (503, "ISSUE_FAILED")
    assert "canary" not in response.content.decode()


# How tokens die


@pytest.mark.parametrize(
    ("owned", "end"), [*[(True, end) for end in OF_ALL + OF_OWNERS], *[(False, end) for end in OF_ALL]]
)
def test_a_token_dies_on_the_next_request_in_one_statement(user, owned, end):
    service = Service(user=user if owned else None).exchanged()
    assert service.call().status_code == 200
    end(service)
    with CaptureQueriesContext(connection) as queries:
        response = service.call()
    assert response.status_code == 401
    assert response.json() == {"detail": "The token is invalid.", "code": "INVALID_TOKEN", "terminal": True}
    assert len(queries) == 1


@pytest.mark.parametrize("end", [*OF_ALL, deactivate, delete_owner])
def test_what_kills_tokens_kills_the_exchange(personal, end):
    end(personal)
    assert personal.exchange().json()["code"] == "INVALID_CLIENT"


def test_a_raised_version_kills_tokens_and_not_the_credential(personal):
    personal.exchanged()
    old = personal.access_token
    raise_version(personal)
    assert personal.exchanged().call().status_code == 200
    personal.access_token = old
    assert personal.call().status_code == 401


def test_a_credential_works_again_when_its_owner_is_active_again(personal):
    deactivate(personal)
    assert personal.exchange().status_code == 401
    type(personal.credential.user).objects.update(is_active=True)
    assert personal.exchanged().call().status_code == 200


def test_a_credential_is_revoked_once(api, caplog):
    credential = api.credential
    assert credentials.revoke_credential(credential) is True
    moment = api.credential.revoked_at
    assert credential.revoked_at == moment
    assert credentials.revoke_credential(credential) is False
    assert api.credential.revoked_at == moment


def test_other_credentials_go_on(user):
    first, second, device = Service(user=user).exchanged(), Service(user=user).exchanged(), Device(user).sign_in()
    revoke(first)
    assert (first.call().status_code, second.call().status_code, device.call().status_code) == (401, 200, 200)


def test_sessions_and_credentials_end_apart(personal, user):
    device = Device(user).sign_in()
    personal.exchanged()
    sessions.end_all(user, reason="ended_by_admin")
    assert (device.call().status_code, personal.call().status_code) == (401, 200)


def test_its_access_token_cannot_be_revoked_by_itself(client, api):
    api.exchanged()
    response = client.post("/auth/revoke/", {"token": api.access_token})
    assert (response.status_code, response.json()["error"]) == (400, "unsupported_token_type")
    assert client.post("/auth/logout/", {}, headers=api.bearer).status_code == 204
    assert api.call().status_code == 200


@pytest.mark.parametrize("change", [{"type": "api"}, {"type": "personal", "jwt_version": 0}, {"sub": "x"}])
def test_attack_a_token_whose_type_or_subject_is_not_that_of_its_credential(user, change):
    """Nobody can sign such a token but this server itself; a mistake in a project's code shall not open anything."""
    for service in (Service().exchanged(), Service(user=user).exchanged()):
        claims = claims_of(service)
        if claims["type"] != change.get("type"):
            service.access_token = access.encode({**claims, **change})
            assert service.call().status_code == 401


# What their tokens open


def test_the_user_of_an_api_token_is_a_principal_without_a_row(api):
    api.exchanged()
    user, token = sessions.authorize(api.access_token)
    assert isinstance(user, Principal)
    assert (user.pk, user.is_authenticated, user.is_staff) == (api.client_id, True, False)
    assert (token.session, token.credential, token.claims["type"]) == (None, api.credential, "api")


def test_the_user_of_a_personal_token_is_the_owner(personal, user):
    found, token = sessions.authorize(personal.exchanged().access_token)
    assert (found, token.session, token.credential) == (user, None, personal.credential)


def ask(permission, service):
    class View(APIView):
        authentication_classes = (JWTSessionAuthentication,)
        permission_classes = (IsAuthenticated, permission)

        def get(self, request):
            return Response({"user": str(request.user.pk)})

    return View.as_view()(APIRequestFactory().get("/", headers=service.bearer)).status_code


@pytest.fixture
def of_each_type(user, memberships):
    """Holders of a token of each type, for a tenant."""
    device = Device(user).sign_in(tenantId="acme")
    return {
        "user": device,
        "personal": Service(user=user, tenant="acme").exchanged(),
        "api": Service(tenant="acme").exchanged(),
    }


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        (RequireRecentLogin(timedelta(minutes=5)), {"user": 200, "personal": 403, "api": 403}),
        (RequireTenant, {"user": 200, "personal": 200, "api": 200}),
        (RequireTokenType("user"), {"user": 200, "personal": 403, "api": 403}),
        (RequireTokenType("user", "personal"), {"user": 200, "personal": 200, "api": 403}),
        (RequireTokenType("api"), {"user": 403, "personal": 403, "api": 200}),
        (RequireTokenType(), {"user": 403, "personal": 403, "api": 403}),
    ],
)
def test_permissions_by_type_of_token(of_each_type, permission, expected):
    assert {name: ask(permission, holder) for name, holder in of_each_type.items()} == expected


def test_a_tenant_is_required_of_credentials_too(user, api, personal):
    assert [ask(RequireTenant, holder.exchanged()) for holder in (api, personal)] == [403, 403]


def test_who_presents_no_token_is_asked_for_one_and_not_told_its_type():
    class View(APIView):
        authentication_classes = (JWTSessionAuthentication,)
        permission_classes = (RequireTokenType("user"),)

    response = View.as_view()(APIRequestFactory().get("/"))
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("owned", [True, False])
def test_without_session_check_a_request_asks_nothing(user, jwt_settings, django_assert_num_queries, owned):
    service = Service(user=user if owned else None).exchanged()
    jwt_settings(SESSION_CHECK="none")
    with django_assert_num_queries(0):
        found, token = sessions.authorize(service.access_token)
        assert str(found.pk) == (str(user.pk) if owned else service.client_id)
        assert token.session is None
        assert service.call().status_code == 200
    with django_assert_num_queries(1):
        assert str(token.credential.pk) == service.client_id


OWN = [
    ("get", "session-list", ()),
    ("get", "session-detail", ("current",)),
    ("patch", "session-detail", ("current",)),
    ("delete", "session-detail", ("current",)),
    ("post", "session-end-others", ()),
    ("post", "session-end-all", ()),
    ("get", "credential-list", ()),
    ("post", "credential-list", ()),
    ("delete", "credential-detail", ("x",)),
    ("post", "renew", ()),
    ("post", "reauthenticate", ()),
]


@pytest.mark.parametrize("check", ["database", "none"])
@pytest.mark.parametrize("owned", [True, False])
@pytest.mark.parametrize(("method", "name", "arguments"), OWN)
def test_attack_a_leaked_credential_opens_no_door_to_what_lets_a_user_in(
    user, jwt_settings, check, owned, method, name, arguments
):
    jwt_settings(ALLOW_RENEWAL=True, SESSION_CHECK=check)
    device = Device(user).sign_in()
    service = Service(user=user if owned else None).exchanged()
    url = reverse(f"jwt_sessions:{name}", args=arguments)
    body = json.dumps({"password": "x", "name": "x", "device_name": "x"})
    options = {"data": body, "content_type": "application/json"} if method != "get" else {}
    response = getattr(service.http, method)(url, headers=service.bearer, **options)
    assert (response.status_code, response.json()["code"]) == (401, "INVALID_TOKEN")
    assert Credential.objects.filter(revoked_at=None).count() == 1
    assert device.call().status_code == 200


@pytest.mark.parametrize("owned", [True, False])
def test_policies_are_for_staff_whatever_the_token(user, owned):
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.filter(codename="view_sessionpolicy"))
    service = Service(user=user if owned else None).exchanged()
    assert service.call("/auth/policies/").status_code == (200 if owned else 403)


# The endpoints of the owner


def make(device, **parameters):
    return device.post("credential-list", {"name": "CI", **parameters}, **device.bearer)


def remove(device, client_id):
    url = reverse("jwt_sessions:credential-detail", args=[client_id])
    return device.http.delete(url, headers=device.bearer)


def test_a_user_makes_uses_lists_and_revokes_a_credential(clock, device, user):
    expiry = timezone.now() + timedelta(days=90)
    response = make(device, expires_at=expiry.isoformat())
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    made = response.json()
    shown = {
        "client_id": made["client_id"],
        "kind": "personal",
        "name": "CI",
        "audience": "api",
        "tenantId": None,
        "created_at": "2026-03-01T12:00:00Z",
        "expires_at": "2026-05-30T12:00:00Z",
        "last_used_at": None,
    }
    assert made == {**shown, "client_secret": made["client_secret"]}
    assert device.get("credential-list").json() == [shown]
    grant = {"grant_type": "client_credentials"}
    secret = {"client_id": made["client_id"], "client_secret": made["client_secret"]}
    token = device.http.post("/auth/token/", {**grant, **secret}).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert device.http.get("/api/me/", headers=bearer).json()["email"] == user.email
    assert device.get("credential-list").json() == [{**shown, "last_used_at": "2026-03-01T12:00:00Z"}]
    assert remove(device, made["client_id"]).status_code == 204
    assert device.http.get("/api/me/", headers=bearer).status_code == 401
    assert device.get("credential-list").json() == []
    assert remove(device, made["client_id"]).status_code == 404
    # It is kept: an administrator can see that there was one.
    assert Credential.objects.get().revoked_at == timezone.now()


def test_the_newest_stands_first(device):
    for name in ("first", "second"):
        make(device, name=name)
    assert [each["name"] for each in device.get("credential-list").json()] == ["second", "first"]


@pytest.mark.parametrize("named", [{}, {"audience": "reports", "tenantId": "acme"}])
def test_a_credential_is_made_for_the_audience_and_the_tenant_of_the_token(user, memberships, jwt_settings, named):
    jwt_settings(AUDIENCES=["api", "reports"])
    device = Device(user).sign_in(audience="reports", tenantId="acme")
    made = make(device, **named).json()
    assert (made["audience"], made["tenantId"]) == ("reports", "acme")


def test_attack_a_token_as_another_service_sees_it_makes_no_credential(device, jwt_settings):
    jwt_settings(AUDIENCES=["api", "reports"])
    device.refresh(audience="reports")
    response = make(device)
    assert (response.status_code, response.json()["code"]) == (401, "INVALID_TOKEN")
    assert device.get("session-list").status_code == 401
    assert not Credential.objects.exists()


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [({"audience": "reports"}, 400, "INVALID_REQUEST"), ({"tenantId": "umbrella"}, 403, "TENANT_FORBIDDEN")],
)
def test_attack_a_token_makes_a_credential_for_more_than_itself(user, memberships, jwt_settings, asked, status, code):
    jwt_settings(AUDIENCES=["api", "reports"])
    response = make(Device(user).sign_in(tenantId="acme"), **asked)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert not Credential.objects.exists()


@pytest.mark.parametrize(("recent", "status"), [(timedelta(hours=1), 401), (timedelta(hours=3), 201), (None, 201)])
def test_a_credential_takes_a_recent_login(clock, device, jwt_settings, recent, status):
    jwt_settings(CREDENTIAL_RECENT_LOGIN=recent)
    clock.shift(timedelta(hours=1))
    device.refresh()
    response = make(device)
    assert response.status_code == status
    if status == 401:
        assert (response.json()["code"], response.json()["max_age"]) == ("REAUTHENTICATION_REQUIRED", 3600)
        assert device.get("credential-list").status_code == 200


@pytest.mark.parametrize("most", [0, 2])
def test_credentials_of_owners_can_be_capped_and_turned_off(device, jwt_settings, most):
    jwt_settings(MAX_PERSONAL_CREDENTIALS=most)
    assert [make(device).status_code for _ in range(most + 1)] == [201] * most + [403]
    assert make(device).json()["code"] == "CREDENTIAL_LIMIT"
    assert credentials.create_credential(name="A service")
    for made in credentials.own_credentials(device.user):
        credentials.revoke_credential(made)
        assert make(device).status_code == 201
        break


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "n" * 101}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": None}, "name"),
        ({"name": {}}, "name"),
        ({"audience": "elsewhere"}, "audience"),
        ({"audience": ""}, "audience"),
        ({"tenantId": "t" * 256}, "tenantId"),
        ({"expires_at": "2026-03-01T12:00:00Z"}, "expires_at"),
        ({"expires_at": "0001-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": 4102444800}, "expires_at"),
        ({"claims": {"roles": ["admin"]}}, "claims"),
        ({"may_introspect": True}, "may_introspect"),
        ({"kind": "api"}, "kind"),
        ({"user": "x"}, "user"),
        ({"client_secret": "mine"}, "client_secret"),
    ],
)
def test_bad_parameters_are_refused_with_the_field_named(clock, device, parameters, field):
    response = make(device, **parameters)
    assert (response.status_code, response.json()["code"], response.json()["field"]) == (400, "INVALID_REQUEST", field)
    assert not Credential.objects.exists()


def test_a_name_is_needed(device):
    response = device.post("credential-list", {}, **device.bearer)
    assert (response.status_code, response.json()["field"]) == (400, "name")


def test_attack_a_credential_for_a_foreign_tenant(device, memberships):
    response = make(device, tenantId="initech")
    assert (response.status_code, response.json()["code"]) == (403, "TENANT_FORBIDDEN")
    assert not Credential.objects.exists()


@pytest.mark.parametrize("expires_at", ["9999-12-31T23:59:59Z", None])
def test_a_credential_may_last_for_ever(device, expires_at):
    made = make(device, expires_at=expires_at)
    assert (made.status_code, made.json()["expires_at"]) == (201, expires_at)
    secret = {"client_id": made.json()["client_id"], "client_secret": made.json()["client_secret"]}
    assert device.http.post("/auth/token/", {"grant_type": "client_credentials", **secret}).status_code == 200
    assert device.get("credential-list").json()[0]["expires_at"] == expires_at


def test_attack_the_credentials_of_others_are_neither_seen_nor_revoked(device, api):
    others = [api, Service(user=UserFactory())]
    assert device.get("credential-list").json() == []
    for other in others:
        assert remove(device, other.client_id).status_code == 404
        assert other.exchange().status_code == 200


@pytest.mark.parametrize("client_id", ["x", "current", "0", "%00", str(UUID(int=0))])
def test_an_unknown_credential_is_not_found(device, client_id):
    assert remove(device, client_id).status_code == 404


def test_who_is_not_signed_in_sees_no_credentials(client):
    for response in (client.get("/auth/credentials/"), client.post("/auth/credentials/", {"name": "x"})):
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("claims", [["plan"], {"sub": "somebody"}, {"at": object()}])
def test_claims_that_could_not_be_issued_make_no_credential(db, claims):
    with pytest.raises(ValidationError):
        credentials.create_credential(name="A service", claims=claims)
    assert not Credential.objects.exists()


@pytest.mark.parametrize("check", ["database", "cache", "none"])
def test_attack_a_token_of_an_ended_session_makes_no_credential_that_outlives_it(device, jwt_settings, check):
    jwt_settings(SESSION_CHECK=check)
    sessions.end(UUID(device.tokens["session_id"]), reason="logout")
    response = device.post("credential-list", {"name": "x"}, **device.bearer)
    assert (response.status_code, response.json()["code"]) == (401, "SESSION_ENDED")
    assert device.get("session-list").status_code == device.get("policy-list").status_code == 401
    assert not Credential.objects.exists()


@pytest.mark.parametrize("check", ["database", "cache", "none"])
def test_the_token_of_a_deleted_user_is_refused_at_every_own_door(device, jwt_settings, check):
    jwt_settings(SESSION_CHECK=check)
    device.user.delete()
    for name in ("credential-list", "session-list", "policy-list"):
        assert device.get(name).json()["code"] == "INVALID_TOKEN"


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
@pytest.mark.parametrize("use_tz", [True, False])
def test_an_expiry_beyond_the_calendar_is_no_failure(device, settings, use_tz, moment):
    settings.USE_TZ = use_tz
    response = device.post("credential-list", {"name": "x", "expires_at": moment}, **device.bearer)
    assert (response.status_code, response.json()["field"]) == (400, "expires_at")


@pytest.mark.django_db(transaction=True)
def test_a_use_that_cannot_be_written_keeps_nobody_out(caplog):
    service = Service()

    def fail(execute, sql, *rest):
        if sql.startswith("UPDATE"):
            raise OperationalError("the disk is full")
        return execute(sql, *rest)

    with connection.execute_wrapper(fail):
        assert service.exchange().status_code == 200
    assert service.credential.last_used_at is None
    assert "the use of a credential could not be written" in caplog.text
    assert service.exchange().status_code == 200
    assert service.credential.last_used_at is not None
