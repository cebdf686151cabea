"""Standard OAuth 2 clients and verifiers for Python against a running server, as their users have them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc6750 import InvalidTokenError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc import jwt as joserfc_jwt
from joserfc.errors import InvalidClaimError
from joserfc.jwk import KeySet
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError, InvalidGrantError, LegacyApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from jwt_sessions import credentials, sessions
from jwt_sessions.credentials import NewCredential
from tests.effort import rounds
from tests.factories import PASSWORD
from tests.served import Served, assert_one_living_session

LIFETIME = timedelta(minutes=5)
EXPIRIES = rounds(15)
BOTH_WAYS = ["client_secret_basic", "client_secret_post"]


@pytest.fixture
def service(user) -> NewCredential:
    """A credential of another service, which may introspect."""
    return credentials.create_credential(name="service", may_introspect=True)


def client_of(credential: NewCredential) -> dict[str, str]:
    return {"client_id": str(credential.credential.pk), "client_secret": credential.client_secret}


# requests-oauthlib


def legacy_session(server: Served, **options: Any) -> OAuth2Session:
    return OAuth2Session(
        client=LegacyApplicationClient("web"),
        auto_refresh_url=server.token_endpoint,
        auto_refresh_kwargs={"client_id": "web"},
        **options,
    )


def test_requests_oauthlib_refreshes_by_itself_across_many_expiries(clock, server, user):
    stored: list[dict[str, Any]] = []
    with legacy_session(server, token_updater=stored.append) as http:
        first = http.fetch_token(server.token_endpoint, username=user.email, password=PASSWORD)
        for count in range(EXPIRIES):
            assert http.get(server.users_api).json()["email"] == user.email
            assert len(stored) == count
            clock.shift(LIFETIME + timedelta(seconds=1))
        assert http.get(server.users_api).json()["email"] == user.email
    assert len({token["refresh_token"] for token in (first, *stored)}) == EXPIRIES + 1
    assert_one_living_session(user, generation=EXPIRIES)


@pytest.mark.parametrize("include_client_id", [None, True, False])
def test_requests_oauthlib_names_a_public_client_in_each_of_its_ways(server, user, include_client_id):
    with legacy_session(server) as http:
        token = http.fetch_token(
            server.token_endpoint, username=user.email, password=PASSWORD, include_client_id=include_client_id
        )
        assert http.refresh_token(server.token_endpoint)["refresh_token"] != token["refresh_token"]
        assert http.get(server.users_api).json()["email"] == user.email
    assert_one_living_session(user, generation=1)


def test_requests_oauthlib_refreshes_with_the_secret_of_a_client(clock, server, user, service):
    stored: list[dict[str, Any]] = []
    with legacy_session(server, token_updater=stored.append) as http:
        http.fetch_token(server.token_endpoint, username=user.email, password=PASSWORD)
        clock.shift(LIFETIME + timedelta(seconds=1))
        assert http.get(server.users_api, **client_of(service)).json()["email"] == user.email
        clock.shift(LIFETIME + timedelta(seconds=1))
        with pytest.raises(InvalidClientError):
            http.get(server.users_api, **{**client_of(service), "client_secret": "wrong"})
    assert len(stored) == 1
    assert_one_living_session(user, generation=1)


@pytest.mark.parametrize("in_body", [False, True])
def test_requests_oauthlib_gets_client_credentials(server, service, in_body):
    client = client_of(service)
    how = {**client, "include_client_id": True} if in_body else {"auth": HTTPBasicAuth(*client.values())}
    how.pop("client_id", None)
    with OAuth2Session(client=BackendApplicationClient(client["client_id"])) as http:
        token = http.fetch_token(server.token_endpoint, **how)
        assert http.get(server.services_api).json()["sub"] == client["client_id"]
    assert "refresh_token" not in token


def test_requests_oauthlib_understands_refusals(server, user, service):
    with legacy_session(server) as http:
        with pytest.raises(InvalidGrantError):
            http.fetch_token(server.token_endpoint, username=user.email, password="wrong")
        with pytest.raises(InvalidGrantError):
            http.refresh_token(server.token_endpoint, refresh_token="garbage")
    client = BackendApplicationClient(client_of(service)["client_id"])
    with OAuth2Session(client=client) as http, pytest.raises(InvalidClientError):
        http.fetch_token(server.token_endpoint, client_secret="wrong")


# Authlib


def authlib_session(server: Served, **options: Any) -> AuthlibSession:
    return AuthlibSession(**{"client_id": "web", "token_endpoint": server.token_endpoint, **options})


@pytest.mark.parametrize("early", [timedelta(seconds=-1), timedelta(seconds=30)])
def test_authlib_refreshes_by_itself_across_many_expiries(clock, server, user, early):
    """Also while the last access token is still good: it refreshes a minute before."""
    stored: list[dict[str, Any]] = []
    with authlib_session(server, update_token=lambda token, refresh_token: stored.append(token)) as http:
        http.fetch_token(username=user.email, password=PASSWORD)
        for count in range(EXPIRIES):
            assert http.get(server.users_api).json()["email"] == user.email
            assert len(stored) == count
            clock.shift(LIFETIME - early)
        assert http.get(server.users_api).json()["email"] == user.email
    assert len({token["refresh_token"] for token in stored}) == EXPIRIES
    assert_one_living_session(user, generation=EXPIRIES)


def test_two_processes_that_share_what_they_store_stay_signed_in(clock, server, user):
    store: list[dict[str, Any]] = []

    def save(token, refresh_token=None):
        store.append(dict(token))

    with authlib_session(server) as http:
        save(http.fetch_token(username=user.email, password=PASSWORD))
    for _count in range(EXPIRIES):
        clock.shift(LIFETIME)
        read = store[-1]  # by both, before one of them stores anew
        for _process in range(2):
            with authlib_session(server, token=dict(read), update_token=save) as http:
                assert http.get(server.users_api).json()["email"] == user.email
        assert store[-1]["refresh_token"] == store[-2]["refresh_token"] != read["refresh_token"]
    assert_one_living_session(user, generation=EXPIRIES)


def test_authlib_refreshes_by_itself_in_a_coroutine_too(clock, server, user):
    stored: list[dict[str, Any]] = []

    async def update_token(token, refresh_token):
        stored.append(token)

    async def call():
        async with AsyncOAuth2Client("web", token_endpoint=endpoint, update_token=update_token) as http:
            await http.fetch_token(username=user.email, password=PASSWORD)
            for _count in range(5):
                clock.shift(LIFETIME)
                # It has one lock for all that go on at once.
                answers = await asyncio.gather(*(http.get(server.users_api) for _tab in range(3)))
                assert [answer.json()["email"] for answer in answers] == [user.email] * 3

    endpoint = server.token_endpoint
    asyncio.run(call())
    assert len(stored) == 5
    assert_one_living_session(user, generation=5)


@pytest.mark.parametrize("method", BOTH_WAYS)
def test_authlib_gets_client_credentials_again_and_again(clock, server, service, method):
    client = client_of(service)
    stored: list[dict[str, Any]] = []
    with authlib_session(
        server,
        **client,
        token_endpoint_auth_method=method,
        grant_type="client_credentials",
        update_token=lambda token, access_token: stored.append(token),
    ) as http:
        http.fetch_token()
        for count in range(5):
            assert http.get(server.services_api).json()["sub"] == client["client_id"]
            assert len(stored) == count
            clock.shift(LIFETIME)


@pytest.mark.parametrize("method", BOTH_WAYS)
def test_authlib_introspects_and_revokes(server, user, service, method):
    with authlib_session(server) as http:
        tokens = http.fetch_token(username=user.email, password=PASSWORD)
    with authlib_session(
        server, **client_of(service), token_endpoint_auth_method=method, revocation_endpoint_auth_method=method
    ) as http:

        def introspect(name: str) -> dict[str, Any]:
            return http.introspect_token(server.introspection_endpoint, tokens[name], token_type_hint=name).json()

        access, refresh = introspect("access_token"), introspect("refresh_token")
        assert (access["active"], access["iss"], access["token_type"]) == (True, server.issuer, "Bearer")
        assert (refresh["active"], refresh["sub"], refresh["sid"]) == (True, str(user.pk), access["sid"])

        response = http.revoke_token(server.revocation_endpoint, tokens["refresh_token"], "refresh_token")
        assert response.status_code == 200
        assert introspect("access_token") == introspect("refresh_token") == {"active": False}
        again = http.revoke_token(server.revocation_endpoint, tokens["refresh_token"], "refresh_token")
        assert again.status_code == 200


def test_authlib_revokes_as_a_public_client(server, user):
    with authlib_session(server) as http:
        tokens = http.fetch_token(username=user.email, password=PASSWORD)
        assert http.revoke_token(server.revocation_endpoint, tokens["access_token"]).status_code == 200
        with pytest.raises(OAuthError) as refusal:
            http.refresh_token()
    assert refusal.value.error == "invalid_grant"


@pytest.mark.parametrize("method", BOTH_WAYS)
def test_authlib_understands_refusals(server, user, service, method):
    wrong = {**client_of(service), "client_secret": "wrong"}
    with authlib_session(server, **wrong, token_endpoint_auth_method=method) as http:
        with pytest.raises(OAuthError) as refusal:
            http.fetch_token(grant_type="client_credentials")
        assert refusal.value.error == "invalid_client"
        response = http.introspect_token(server.introspection_endpoint, "garbage")
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


# Both, by the clock on the wall


def test_sessions_refresh_by_themselves_in_real_time(server, user, jwt_settings):
    """
    Times in tokens are whole seconds: of two, an access token lives more than one. By what oauthlib rounds to, it has
    expired two and a half seconds after it was issued at the latest.
    """
    second = timedelta(seconds=1)
    jwt_settings(ACCESS_TOKEN_LIFETIME=2 * second, REUSE_GRACE_PERIOD=second)
    stored: list[dict[str, Any]] = []
    with legacy_session(server, token_updater=stored.append) as one, authlib_session(server, leeway=0) as other:
        first = one.fetch_token(server.token_endpoint, username=user.email, password=PASSWORD)
        second = other.fetch_token(username=user.email, password=PASSWORD)
        for _count in range(3):
            time.sleep(2.6)
            for http in (one, other):
                assert http.get(server.users_api).json()["email"] == user.email
    assert first["session_id"] != second["session_id"]
    assert [session.generation for session in user.jwt_sessions.all()] == [3, 3]


# Verifiers of other services, which know the issuer's URL and their audience


class ResourceServer(JWTBearerTokenValidator):
    """Authlib's validator of the access tokens of RFC 9068, with keys as its documentation asks to fetch them."""

    def __init__(self, server: Served) -> None:
        super().__init__(issuer=server.issuer, resource_server="api")
        self.jwks_uri = server.jwks_uri

    def get_jwks(self) -> KeySet:
        return KeySet.import_key_set(requests.get(self.jwks_uri, timeout=10).json())


def read_with_pyjwt(server: Served, token: str) -> dict[str, Any]:
    key = jwt.PyJWKClient(server.jwks_uri).get_signing_key_from_jwt(token)
    required = ["iss", "aud", "sub", "exp", "iat", "jti", "client_id"]
    options = {"require": required, "strict_aud": True}
    return jwt.decode(token, key, ["ES256"], audience="api", issuer=server.issuer, options=options)


def read_with_joserfc(server: Served, token: str) -> dict[str, Any]:
    keys = KeySet.import_key_set(requests.get(server.jwks_uri, timeout=10).json())
    read = joserfc_jwt.decode(token, keys, algorithms=["ES256"])
    values = {"iss": {"essential": True, "value": server.issuer}, "aud": {"essential": True, "value": "api"}}
    joserfc_jwt.JWTClaimsRegistry(**values, exp={"essential": True}).validate(read.claims)
    return read.claims


def read_with_authlib(server: Served, token: str) -> dict[str, Any]:
    validator = ResourceServer(server)
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, [], None)
    return dict(claims)


@pytest.mark.parametrize("read", [read_with_pyjwt, read_with_joserfc, read_with_authlib])
@pytest.mark.parametrize("issuer_path", ["", "/", "/tenants/a"])
def test_verifiers_read_what_the_server_issues(server, user, service, read: Callable[[Served, str], dict[str, Any]]):
    with authlib_session(server) as http:
        tokens = http.fetch_token(username=user.email, password=PASSWORD)
    client = client_of(service)
    with authlib_session(server, **client) as http:
        issued = http.fetch_token(grant_type="client_credentials")
    of_user, of_service = read(server, tokens["access_token"]), read(server, issued["access_token"])
    assert (of_user["sub"], of_user["sid"], of_user["type"]) == (str(user.pk), tokens["session_id"], "user")
    assert (of_service["sub"], of_service["client_id"]) == (client["client_id"], client["client_id"])


@pytest.mark.parametrize(
    ("read", "refusal"),
    [
        (read_with_pyjwt, jwt.InvalidIssuerError),
        (read_with_joserfc, InvalidClaimError),
        (read_with_authlib, InvalidTokenError),
    ],
)
def test_attack_a_token_of_another_issuer_with_the_same_keys_is_refused(server, user, jwt_settings, read, refusal):
    with authlib_session(server) as http:
        tokens = http.fetch_token(username=user.email, password=PASSWORD)
    other = Served(f"{server.origin}/other")
    jwt_settings(ISSUER=other.issuer)
    with pytest.raises(refusal):
        read(other, tokens["access_token"])


# The documentation

PAGE = (Path(__file__).parent.parent / "docs" / "clients.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.split()[1])
def test_examples_of_the_documentation_run(server, user, service, example):
    stored: list[dict[str, Any]] = []
    names = {"email": user.email, "password": PASSWORD, "store": stored.append, **client_of(service)}
    names["access_token"] = sessions.start(user).access_token
    assert "https://id.example.com" in example
    exec(compile(example.replace("https://id.example.com", server.origin), "clients.md", "exec"), names)
    if http := names.get("http"):
        http.close()
    assert ("store(" in example) == bool(stored)


def test_the_documentation_has_examples():
    assert len(EXAMPLES) == 4
