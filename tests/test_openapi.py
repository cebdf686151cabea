"""The OpenAPI schema: it describes all there is, and what it describes is so."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from django.conf import settings as django_settings
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.test import RequestFactory, override_settings
from django.urls import URLPattern
from drf_spectacular.settings import patched_settings
from hypothesis import HealthCheck, settings
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.config import SchemathesisConfig
from werkzeug.test import Client, TestResponse

from example_project.accounts.models import User
from example_project.wsgi import application
from jwt_sessions import credentials, exceptions, sessions, urls, well_known
from jwt_sessions.api.tokens import LoginView
from jwt_sessions.exceptions import EndReason
from jwt_sessions.http.errors import SHAPES
from jwt_sessions.models import SessionPolicy
from jwt_sessions.openapi.extensions import EndpointExtension
from jwt_sessions.openapi.operations import OPERATIONS
from jwt_sessions.openapi.schema import EndpointSchema
from jwt_sessions.signals import pre_issue
from jwt_sessions.types import ClientSecret
from tests.effort import rounds
from tests.factories import PASSWORD, UserFactory

EVERYTHING_ON = {
    **django_settings.JWT_SESSIONS,
    "ISSUER": "https://id.example.com/here",
    "ALLOW_RENEWAL": True,
    "EXCHANGE_SIMPLEJWT_TOKENS": True,
    "LOGIN_THROTTLE": None,
}
with override_settings(JWT_SESSIONS=EVERYTHING_ON):
    API = schemathesis.openapi.from_wsgi("/api/schema/", application, config=SchemathesisConfig())
OURS = API.include(path_regex=r"^/(auth|\.well-known)/")

# Checks that contradict what an operation is for. All others are made of every operation.
LENIENT = "REST framework takes a number for a text, and a text for a number or a boolean"
EXCLUDED = {
    "token": {
        positive_data_acceptance: "RFC 6749 §5.2 answers a wrong token or password with 400",
        negative_data_rejection: "RFC 6749 §3.1: a parameter without a value counts as omitted",
    },
    "logout": {negative_data_rejection: "204, whatever is presented"},
    "renew": {negative_data_rejection: LENIENT},
    "session_rename": {negative_data_rejection: LENIENT},
    "credential_create": {
        positive_data_acceptance: "JSON schema cannot tell the future from the past",
        negative_data_rejection: LENIENT,
    },
    "policy_create": {
        positive_data_acceptance: "the rules between the fields are the model's",
        negative_data_rejection: LENIENT,
    },
    "policy_change": {
        positive_data_acceptance: "the rules between the fields are the model's",
        negative_data_rejection: LENIENT,
    },
}


@API.hook
def filter_case(context, case):
    """A parameter of a form stands there once (RFC 6749 §3.2). OpenAPI has no words for that of unknown ones."""
    is_form = case.media_type == "application/x-www-form-urlencoded" and isinstance(case.body, dict)
    return not (is_form and any(isinstance(value, list) for value in case.body.values()))


few = settings(
    max_examples=rounds(10), deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(autouse=True)
def everything_on(settings):
    settings.JWT_SESSIONS = EVERYTHING_ON


@pytest.fixture(autouse=True)
def kept_connection():
    """Django's own test client does the same: a request must not close the connection of the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@contextmanager
def undone() -> Iterator[None]:
    """What happens within is taken back, so that one example does not see what another did."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def bearer_of(user: User) -> dict[str, str]:
    pair = sessions.start(user, request=RequestFactory().post("/"))
    return {"Authorization": f"Bearer {pair.access_token}"}


def basic(client: ClientSecret) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{client.client_id}:{client.client_secret}".encode()).decode()}


def credential_of(user: User) -> ClientSecret:
    new = credentials.create_credential(name="A service", user=user, may_introspect=True)
    return ClientSecret(str(new.credential.pk), new.client_secret)


def attack(case, headers: dict[str, str] | None = None, *more_excluded: Any) -> None:
    operation = case.operation.definition.raw["operationId"].removeprefix("jwt_sessions_")
    case.call_and_validate(headers=headers, excluded_checks=[*EXCLUDED.get(operation, ()), *more_excluded])


@OURS.parametrize()
@few
def test_nobody_finds_anything(case, db):
    with undone():
        attack(case)


@OURS.parametrize()
@few
def test_an_administrator_finds_nothing(case, db):
    with undone():
        attack(case, bearer_of(UserFactory(is_staff=True, is_superuser=True)))


@API.include(path_regex="^/auth/.*{").parametrize()
@few
def test_an_administrator_finds_nothing_at_what_there_is(case, db):
    with undone():
        user = UserFactory(is_staff=True, is_superuser=True)
        policy = SessionPolicy.objects.create(audience="api")
        there = {"session_id": "current", "client_id": credential_of(user).client_id, "id": policy.pk}
        case.path_parameters = {name: there[name] for name in case.path_parameters}
        # What was wrong may have been the id that is replaced here.
        attack(case, bearer_of(user), negative_data_rejection)


@API.include(path_regex=r"^/auth/((introspect|token)/|revoked\.json)").parametrize()
@few
def test_a_service_finds_nothing(case, db):
    with undone():
        # What is well formed may name a client in the body too, and nobody may be two.
        attack(case, basic(credential_of(UserFactory())), positive_data_acceptance)


# What is described


def spectacular() -> dict[str, Any]:
    """The schema of the example project, made without a warning."""
    out = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=out)
    return json.loads(out.getvalue())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"COMPONENT_SPLIT_REQUEST": True},
        {"COMPONENT_SPLIT_PATCH": False},
        {"OAS_VERSION": "3.1.0"},
        {"SCHEMA_PATH_PREFIX": "/auth"},
    ],
    ids=str,
)
def test_the_example_project_is_described_without_a_warning(options):
    with patched_settings(options):
        assert len(spectacular()["paths"]) > 20


def described(schema: dict[str, Any]) -> dict[str, str]:
    """The operations of this package: their names by method and path."""
    return {
        f"{method.upper()} {path}": operation["operationId"].removeprefix("jwt_sessions_")
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if operation["operationId"].startswith("jwt_sessions_")
    }


def in_urls(patterns: list[URLPattern], prefix: str) -> set[str]:
    found = set()
    for pattern in patterns:
        path = str(pattern.pattern).replace("<str:pk>", "{id}")
        path = re.sub(r"<str:(\w+)>|\(\?P<(\w+)>.*\)", lambda name: "{%s}" % (name[1] or name[2]), path)
        path = path.replace("\\", "").strip("^$")
        methods = pattern.callback.cls().allowed_methods
        found |= {f"{method} {prefix}{path}" for method in methods if method not in ("HEAD", "OPTIONS")}
    return found


def test_every_endpoint_is_described():
    there = in_urls(urls.urlpatterns, "/auth/") | in_urls(well_known.urlpatterns, "/")
    assert set(described(spectacular())) == there
    assert len(there) > 20


def test_every_description_is_of_an_endpoint():
    assert {name.removesuffix("_of_path") for name in described(spectacular()).values()} == {
        operation.id for operation in OPERATIONS.values()
    }


def test_a_view_that_a_project_derives_is_described_while_it_does_no_more():
    class Louder(LoginView):
        """Sign in loudly."""

    class Larger(LoginView):
        def get(self, request): ...

    assert isinstance(EndpointExtension(Louder.as_view()).view_replacement().schema, EndpointSchema)
    assert EndpointExtension(Larger.as_view()).view_replacement() is Larger


def test_every_excluded_check_is_of_an_operation():
    assert set(EXCLUDED) <= {operation.id for operation in OPERATIONS.values()}


def test_every_error_is_described_somewhere():
    told = {error for operation in OPERATIONS.values() for error in operation.errors}
    # Of a server whose tokens a service takes: none of this package's endpoints asks one.
    assert set(SHAPES) - told == {exceptions.IssuerUnavailable}


def test_the_words_of_errors_are_those_of_the_code():
    components = spectacular()["components"]["schemas"]
    assert set(components["JWTSessionsEndReason"]["enum"]) == set(EndReason.values)
    assert set(components["JWTSessionsErrorCode"]["enum"]) == {error.code for error in SHAPES}
    responses = spectacular()["paths"]["/auth/token/"]["post"]["responses"]
    assert responses["401"]["content"]["application/json"]["schema"]["allOf"][1]["properties"] == {
        "code": {"type": "string", "enum": ["INVALID_CLIENT"]},
        "error": {"type": "string", "enum": ["invalid_client"]},
    }
    assert responses["429"]["headers"]["Retry-After"]["required"]


def test_what_is_off_is_not_described(jwt_settings):
    jwt_settings(EXCHANGE_SIMPLEJWT_TOKENS=False)
    assert "JWTSessionsExchangeGrant" not in spectacular()["components"]["schemas"]
    jwt_settings(EXCHANGE_SIMPLEJWT_TOKENS=True)
    assert "JWTSessionsExchangeGrant" in spectacular()["components"]["schemas"]


def test_the_settings_are_in_the_description(jwt_settings):
    jwt_settings(AUDIENCES=["web", "mobile"], COOKIE={"NAME": "r", "PATH": "/auth/"})
    components = spectacular()["components"]
    assert components["schemas"]["JWTSessionsAudience"]["enum"] == ["mobile", "web"]
    assert components["securitySchemes"]["refreshCookie"]["name"] == "r"


def test_the_projects_own_views_ask_for_the_access_token():
    schema = spectacular()
    assert schema["paths"]["/api/notes/"]["get"]["security"] == [{"accessToken": []}]
    assert schema["components"]["securitySchemes"]["accessToken"]["scheme"] == "bearer"


STRANGER = """
import io, json, sys
from django.conf import settings
DESCRIBED = sys.argv[1] == "described"
settings.configure(
    SECRET_KEY="a stranger's own key, of fifty characters or more, 0123456789",
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "jwt_sessions",
        *["drf_spectacular"] * DESCRIBED,
    ],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["jwt_sessions.authentication.JWTSessionAuthentication"],
        **({"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"} if DESCRIBED else {}),
    },
    ROOT_URLCONF="__main__",
)
import django
django.setup()
from django.core.management import call_command
from django.urls import include, path
from rest_framework import generics, serializers
from jwt_sessions import authentication

class Theirs(authentication.JWTSessionAuthentication):
    pass

class Login(serializers.Serializer):
    code = serializers.ChoiceField(["a", "b"])
    delivery = serializers.ChoiceField(["by_hand", "by_post"])
    kind = serializers.ChoiceField(["x"])

class Own(generics.GenericAPIView):
    authentication_classes = [Theirs]
    serializer_class = Login
    def post(self, request): ...

class Service(Own):
    authentication_classes = [authentication.JWTStatelessAuthentication]

urlpatterns = [
    path("auth/", include("jwt_sessions.urls")), path("", include("jwt_sessions.well_known")),
    path("own/", Own.as_view()), path("service/", Service.as_view()),
]
if DESCRIBED:
    out = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=out)
    print(out.getvalue())
else:
    from django.urls import reverse
    reverse("jwt_sessions:token")
    print(json.dumps(sorted(name for name in sys.modules if name.startswith("drf_spectacular"))))
"""


def run_alone(source: str, *arguments: str) -> Any:
    """What a script prints, as JSON. It runs in a process of its own, where warnings are errors."""
    command = [sys.executable, "-W", "error", "-c", source, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=django_settings.BASE_DIR.parent)
    assert (ran.returncode, ran.stderr) == (0, "")
    return json.loads(ran.stdout)


def test_a_project_with_users_of_django_and_names_that_meet_ours_is_described_without_a_warning():
    schema = run_alone(STRANGER, "described")
    assert set(described(schema)) == set(described(spectacular()))
    login = schema["components"]["schemas"]["JWTSessionsLogin"]
    assert login["required"] == ["password", "username"]
    assert schema["paths"]["/own/"]["post"]["security"] == [{"accessToken": []}, {}]
    assert schema["paths"]["/service/"]["post"]["security"] == [{"accessToken": []}, {}]


SERVICE = """
import io
from django.conf import settings
settings.configure(
    SECRET_KEY="a service's own key, of fifty characters or more, 0123456789",
    INSTALLED_APPS=["rest_framework", "drf_spectacular"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["jwt_sessions.authentication.JWTStatelessAuthentication"],
        "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
        "UNAUTHENTICATED_USER": None,
    },
    ROOT_URLCONF="__main__",
)
import django
django.setup()
from django.core.management import call_command
from django.urls import path
from rest_framework import generics, serializers
from jwt_sessions.openapi import bearer

class Own(generics.GenericAPIView):
    serializer_class = type("Thing", (serializers.Serializer,), {"name": serializers.CharField()})
    def get(self, request): ...

urlpatterns = [path("own/", Own.as_view())]
out = io.StringIO()
call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=out)
print(out.getvalue())
"""


def test_a_service_without_users_is_described_without_a_warning():
    assert {"accessToken": []} in run_alone(SERVICE)["paths"]["/own/"]["get"]["security"]


def test_a_project_without_drf_spectacular_does_not_import_it():
    assert run_alone(STRANGER, "plain") == []


# Whether it is so


class Caller:
    """Calls endpoints by the names of their operations, and compares each answer with its description."""

    def __init__(self) -> None:
        self.schema = API.raw_schema
        self.places = {name: label.split(" ") for label, name in described(self.schema).items()}
        self.seen: set[tuple[str, int]] = set()

    def __call__(
        self,
        name: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        **path: Any,
    ) -> TestResponse:
        method, template = self.places[name]
        response = Client(application, use_cookies=False).open(
            template.format(**path), method=method, json=body, headers=headers
        )
        status = response.status_code
        self.seen.add((name, status))
        API[template][method].validate_response(response)
        answer = self.schema["paths"][template][method.lower()]["responses"][str(status)]
        assert set(answer.get("headers", {})) - {"Set-Cookie"} <= set(response.headers.keys())
        if "content" in answer:
            answers = response.json if isinstance(response.json, list) else [response.json]
            known = self.members(answer["content"]["application/json"]["schema"])
            assert {member for each in answers for member in each} <= known
        else:
            assert response.data == b""
        return response

    def members(self, schema: dict[str, Any]) -> set[str]:
        """The names that a JSON schema gives to the members of an object, or of the objects in a list."""
        if "$ref" in schema:
            return self.members(self.schema["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        parts = [*schema.get("allOf", ()), *schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())]
        return set(schema.get("properties", ())).union(*map(self.members, parts))


@pytest.fixture
def call() -> Caller:
    return Caller()


@pytest.fixture
def administrator(db) -> User:
    return UserFactory(is_staff=True, is_superuser=True)


def test_all_that_goes_well_is_described(call, administrator):
    name_and_password = {"email": administrator.email, "password": PASSWORD}
    by_cookie = call("login", {**name_and_password, "delivery": "cookie"})
    assert "refresh_token" not in by_cookie.json
    assert "Set-Cookie" in by_cookie.headers
    tokens = call("login", name_and_password).json
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    call("renew", {}, bearer)
    call("reauthenticate", {"password": PASSWORD}, bearer)
    tokens = call("token", {"grant_type": "password", "username": administrator.email, "password": PASSWORD}).json
    tokens = call("token", {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}).json
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    call("session_list", headers=bearer)
    call("session_detail", headers=bearer, session_id="current")
    call("session_rename", {"device_name": "Ann's phone"}, bearer, session_id="current")
    call("session_end", headers=bearer, session_id=by_cookie.json["session_id"])
    call("session_end_others", headers=bearer)

    new = call("credential_create", {"name": "A script"}, bearer).json
    call("credential_list", headers=bearer)
    service = ClientSecret(new["client_id"], new["client_secret"])
    granted = call("token", {"grant_type": "client_credentials"}, basic(service)).json
    call("credential_revoke", headers=bearer, client_id=new["client_id"])

    service = credential_of(administrator)
    # The first of these three was revoked with its credential.
    for token in (granted["access_token"], tokens["access_token"], tokens["refresh_token"]):
        call("introspect", {"token": token}, basic(service))
    etag = call("revoked", headers=basic(service)).headers["ETag"]
    call("revoked", headers={**basic(service), "If-None-Match": etag})

    policy = call("policy_create", {"audience": "api", "max_lifetime": 3600}, bearer).json
    call("policy_list", headers=bearer)
    call("policy_detail", headers=bearer, id=policy["id"])
    call("policy_change", {"idle_timeout": 600}, bearer, id=policy["id"])
    call("policy_delete", headers=bearer, id=policy["id"])

    etag = call("jwks").headers["ETag"]
    call("jwks", headers={"If-None-Match": etag})
    etag = call("authorization_server_of_path", issuer_path="here").headers["ETag"]
    call("authorization_server_of_path", headers={"If-None-Match": etag}, issuer_path="here")

    call("revoke", {"token": "unknown"})
    call("session_end_all", headers=bearer)
    call("logout", headers=bearer)
    good = {
        (name, int(status))
        for name, (method, path) in call.places.items()
        for status in call.schema["paths"][path][method.lower()]["responses"]
        if int(status) < 400
    }
    # Only one of the two addresses is that of this issuer.
    elsewhere = {("authorization_server", 200), ("authorization_server", 304)}
    assert call.seen == good - elsewhere


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "HS256"])
def test_keys_of_every_kind_are_described(call, algorithm, jwt_settings):
    jwt_settings(ALGORITHM=algorithm)
    call("jwks")


def test_the_metadata_of_an_issuer_without_a_path_are_described(call, jwt_settings):
    jwt_settings(ISSUER="https://id.example.com")
    assert call("authorization_server").status_code == 200
    assert call("authorization_server_of_path", issuer_path="elsewhere").status_code == 404


@pytest.mark.parametrize("name", ["login", "token", "renew", "reauthenticate"])
def test_a_refused_and_a_failed_issue_are_described(call, name, administrator):
    pair = sessions.start(administrator, request=RequestFactory().post("/"))
    body, headers = {
        "login": ({"email": administrator.email, "password": PASSWORD}, {}),
        "token": ({"grant_type": "refresh_token", "refresh_token": pair.refresh_token}, {}),
        "renew": ({}, {"Authorization": f"Bearer {pair.access_token}"}),
        "reauthenticate": ({"password": PASSWORD}, {"Authorization": f"Bearer {pair.access_token}"}),
    }[name]

    def refuse(**kwargs: Any) -> None:
        raise exceptions.IssueDenied

    def fail(**kwargs: Any) -> None:
        raise ZeroDivisionError

    for receiver, status in ((refuse, 403), (fail, 503)):
        pre_issue.connect(receiver)
        try:
            assert call(name, body, headers).status_code == status
        finally:
            pre_issue.disconnect(receiver)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("login", {"email": "ann@example.com", "password": "wrong"}),
        ("token", {"grant_type": "password", "username": "ann@example.com", "password": "wrong"}),
        ("token", {"grant_type": "client_credentials", "client_id": "ann", "client_secret": "wrong"}),
        ("introspect", {"token": "unknown", "client_id": "ann", "client_secret": "wrong"}),
    ],
)
def test_wrong_secrets_and_the_throttle_are_described(call, name, body, jwt_settings, db):
    jwt_settings(LOGIN_THROTTLE="1/min")
    statuses = [call(name, body).status_code for _attempt in range(2)]
    assert statuses[0] in (400, 401)
    assert statuses[1] == 429


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("login", {"audience": "unknown"}, 400),
        ("login", {"tenantId": "foreign"}, 403),
        ("token", {}, 400),
        ("token", {"grant_type": "unknown"}, 400),
        ("token", {"grant_type": "refresh_token", "refresh_token": "unknown"}, 400),
        ("token", {"grant_type": "client_credentials"}, 401),
        ("revoke", {}, 400),
        ("introspect", {"token": "unknown"}, 401),
        ("revoked", None, 401),
    ],
)
def test_wrong_requests_are_described(call, name, body, status, user):
    if name == "login":
        body = {"email": user.email, "password": PASSWORD, **body}
    assert call(name, body).status_code == status


def test_what_a_credential_cannot_do_is_described(call, user):
    service = credential_of(user)
    granted = call("token", {"grant_type": "client_credentials"}, basic(service)).json["access_token"]
    assert call("revoke", {"token": granted}).json["error"] == "unsupported_token_type"
    assert call("session_list", headers={"Authorization": f"Bearer {granted}"}).status_code == 401
    body = {"grant_type": "client_credentials", "tenantId": "foreign"}
    assert call("token", body, basic(service)).status_code == 403


def test_what_others_may_not_see_is_described(call, user):
    assert call("policy_list", headers=bearer_of(user)).status_code == 403
    assert call("session_detail", headers=bearer_of(user), session_id="unknown").status_code == 404
    assert call("credential_revoke", headers=bearer_of(user), client_id="unknown").status_code == 404


def test_a_session_that_ended_is_described(call, administrator):
    bearer = bearer_of(administrator)
    sessions.end_all(administrator, reason=EndReason.ENDED_BY_ADMIN)
    for name, (_method, path) in call.places.items():
        if name.startswith(("session", "credential", "policy")):
            ended = call(name, headers=bearer, **dict.fromkeys(re.findall(r"{(\w+)}", path), "1"))
            assert (ended.status_code, ended.json["reason"]) == (401, "ended_by_admin")


def test_a_foreign_site_that_sends_the_cookie_is_described(call, user):
    evil = {"Origin": "https://evil.example", "Cookie": "__Host-Http-jwt_sessions_refresh=1"}
    body = {"email": user.email, "password": PASSWORD, "delivery": "cookie"}
    assert call("login", body, evil).status_code == 403
    assert call("token", {"grant_type": "refresh_token"}, evil).status_code == 403
    assert call("logout", None, evil).status_code == 403


def test_renewal_that_is_off_is_described(call, user, jwt_settings):
    jwt_settings(ALLOW_RENEWAL=False)
    assert call("renew", {}, bearer_of(user)).status_code == 404


def test_a_refused_sign_in_is_described(call, user, jwt_settings):
    jwt_settings(MAX_CONCURRENT_SESSIONS=1, ON_SESSION_LIMIT="refuse")
    bearer_of(user)
    assert call("login", {"email": user.email, "password": PASSWORD}).json["code"] == "SESSION_LIMIT"
