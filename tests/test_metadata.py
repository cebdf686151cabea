"""What verifiers and clients read: the JWK set and the metadata of the server."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory
from django.urls import get_script_prefix, reverse, set_script_prefix

from jwt_sessions.tokens.keys import ring

ISSUER = "https://id.example.com"
JWKS = "/auth/jwks.json"
WELL_KNOWN = "/.well-known/oauth-authorization-server"


def test_the_jwk_set_is_public_and_costs_no_query(client):
    assert reverse("jwt_sessions:jwks") == JWKS
    response = client.get(JWKS)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "public, max-age=300"
    assert response.json() == ring().jwks


@pytest.mark.parametrize("spelling", ["{}", "W/{}", '"other", {}', "*"])
def test_a_jwk_set_already_known_is_not_sent_again(client, spelling):
    etag = client.get(JWKS)["ETag"]
    response = client.get(JWKS, headers={"If-None-Match": spelling.format(etag)})
    assert response.status_code == 304
    assert response.content == b""
    assert response["ETag"] == etag
    assert response["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize("condition", ["", '"other"', "garbage", "\x00", '"' * 9000])
def test_a_jwk_set_is_sent_to_who_knows_another(client, condition):
    assert client.get(JWKS, headers={"If-None-Match": condition}).status_code == 200


def test_the_etag_of_the_jwk_set_follows_the_keys(client, settings):
    before = client.get(JWKS)["ETag"]
    assert client.get(JWKS)["ETag"] == before
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
    response = client.get(JWKS, headers={"If-None-Match": before})
    assert response.status_code == 200
    assert response["ETag"] != before
    assert len(response.json()["keys"]) == 2


def test_the_jwk_set_is_only_read(client):
    head = client.head(JWKS)
    assert (head.status_code, head.content, head["ETag"]) == (200, b"", client.get(JWKS)["ETag"])
    refused = client.post(JWKS)
    assert (refused.status_code, refused.json()["code"]) == (405, "INVALID_REQUEST")
    assert "GET" in refused["Allow"]


@pytest.mark.parametrize(
    ("issuer", "path"),
    [
        ("https://id.example.com", ""),
        ("https://id.example.com/", ""),
        ("https://id.example.com/", "/"),
        ("https://id.example.com:8443", ""),
        ("https://[::1]:8443", ""),
        ("https://id.example.com/tenants/a", "/tenants/a"),
        ("https://id.example.com/tenants/a/", "/tenants/a"),
        ("https://id.example.com/tenants/a/", "/tenants/a/"),
        ("https://id.example.com/a%20b/%C3%BC", "/a%20b/%C3%BC"),
    ],
)
def test_the_metadata_stands_where_rfc_8414_puts_it(client, jwt_settings, issuer, path):
    jwt_settings(ISSUER=issuer)
    response = client.get(WELL_KNOWN + path)
    origin = "/".join(issuer.split("/")[:3])
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "public, max-age=300"
    assert response.json() == {
        "issuer": issuer,
        "token_endpoint": f"{origin}/auth/token/",
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "grant_types_supported": ["password", "refresh_token", "client_credentials"],
        "response_types_supported": ["none"],
        "jwks_uri": f"{origin}/auth/jwks.json",
        "revocation_endpoint": f"{origin}/auth/revoke/",
        "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "introspection_endpoint": f"{origin}/auth/introspect/",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }
    assert client.get(WELL_KNOWN + path, headers={"If-None-Match": response["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    ("issuer", "path"),
    [
        ("jwt-sessions", ""),
        ("http://id.example.com", ""),
        ("https:", ""),
        ("https://id.example.com?a=b", ""),
        ("https://id.example.com#a", ""),
        ("urn:example:issuer", ""),
        ("https://id.example.com", "/"),
        ("https://id.example.com", "/tenants/a"),
        ("https://id.example.com/", "//"),
        ("https://id.example.com/tenants/a", ""),
        ("https://id.example.com/tenants/a", "/"),
        ("https://id.example.com/tenants/a", "/tenants/a/"),
        ("https://id.example.com/tenants/a", "/tenants/a//"),
        ("https://id.example.com/tenants/a", "/tenants/b"),
        ("https://id.example.com/tenants/a", "/tenants/A"),
        ("https://id.example.com/tenants/a", "/tenants/%FF"),
        ("https://id.example.com/tenants/a", "tenants/a"),
        ("https://id.example.com/tenants/a", "/tenants/a/.well-known/oauth-authorization-server"),
    ],
)
def test_there_is_no_metadata_elsewhere(client, jwt_settings, issuer, path):
    jwt_settings(ISSUER=issuer)
    assert client.get(WELL_KNOWN + path).status_code == 404


def test_where_there_is_no_metadata_the_answer_is_json_and_not_cached(client):
    response = client.get(WELL_KNOWN)
    assert response.status_code == 404
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("issuer", ["https://id.example.com", "https://id.example.com/", "https://id.example.com/a/"])
def test_authlib_finds_the_metadata_and_nothing_wrong_in_it(client, jwt_settings, issuer):
    jwt_settings(ISSUER=issuer, EXCHANGE_SIMPLEJWT_TOKENS=True)
    metadata = AuthorizationServerMetadata(client.get(get_well_known_url(issuer)).json())
    metadata.validate()
    assert metadata["issuer"] == issuer
    # RFC 8414 §3.2
    assert all(value for value in metadata.values())


def test_the_metadata_names_the_exchange_of_simplejwt_tokens_where_it_is_on(client, jwt_settings):
    jwt_settings(ISSUER=ISSUER, EXCHANGE_SIMPLEJWT_TOKENS=True)
    grants = client.get(WELL_KNOWN).json()["grant_types_supported"]
    assert "urn:ietf:params:oauth:grant-type:token-exchange" in grants


def test_the_etag_of_the_metadata_follows_the_settings(client, jwt_settings):
    jwt_settings(ISSUER=ISSUER)
    before = client.get(WELL_KNOWN)["ETag"]
    assert client.get(WELL_KNOWN)["ETag"] == before
    jwt_settings(ISSUER="https://other.example.com")
    assert client.get(WELL_KNOWN, headers={"If-None-Match": before}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost"},
        {"Host": "evil.example.com"},
        {"X-Forwarded-Host": "evil.example.com", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "81"},
        {"Forwarded": "host=evil.example.com;proto=http"},
    ],
)
def test_attack_no_header_moves_the_endpoints(client, jwt_settings, settings, headers):
    settings.ALLOWED_HOSTS = ["*"]
    settings.USE_X_FORWARDED_HOST = settings.USE_X_FORWARDED_PORT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    jwt_settings(ISSUER=ISSUER)
    expected = client.get(WELL_KNOWN)
    response = client.get(WELL_KNOWN, headers=headers)
    assert response.json() == expected.json()
    assert response["ETag"] == expected["ETag"]
    assert "evil" not in response.content.decode()


@pytest.mark.django_db  # the handler looks after connections that other tests have left open
@pytest.mark.parametrize("by", ["setting", "server"])
def test_the_endpoints_are_below_the_script_name(jwt_settings, settings, by):
    jwt_settings(ISSUER=f"{ISSUER}/app")
    settings.FORCE_SCRIPT_NAME = "/app" if by == "setting" else None
    environ = RequestFactory(SCRIPT_NAME="" if by == "setting" else "/app").get(f"{WELL_KNOWN}/app").environ
    # Not the test client, which leaves out the script name. It stays with the thread, so it is put back.
    prefix = get_script_prefix()
    try:
        metadata = json.loads(b"".join(WSGIHandler()(environ, lambda status, headers: None)))
    finally:
        set_script_prefix(prefix)
    assert metadata["issuer"] == f"{ISSUER}/app"
    names = {"token_endpoint": "token/", "jwks_uri": "jwks.json", "introspection_endpoint": "introspect/"}
    assert {name: metadata[name] for name in names} == {
        name: f"{ISSUER}/app/auth/{path}" for name, path in names.items()
    }


def test_the_metadata_of_a_plain_http_issuer_is_for_debugging(client, jwt_settings, settings):
    jwt_settings(ISSUER="http://localhost:8000")
    settings.DEBUG = True
    assert client.get(WELL_KNOWN).json()["token_endpoint"] == "http://localhost:8000/auth/token/"


@pytest.mark.parametrize(
    ("name", "status"),
    [("jwks_uri", 200), ("token_endpoint", 400), ("revocation_endpoint", 400), ("introspection_endpoint", 401)],
)
def test_the_metadata_names_endpoints_that_answer(client, jwt_settings, name, status):
    jwt_settings(ISSUER=ISSUER)
    url = client.get(WELL_KNOWN).json()[name].removeprefix(ISSUER)
    answer = client.get(url) if name == "jwks_uri" else client.post(url, {}, content_type="application/json")
    assert answer.status_code == status


def test_wrong_settings_are_said_and_not_guessed_around(client, jwt_settings):
    jwt_settings(LEEWAY=5)
    with pytest.raises(ImproperlyConfigured, match="LEEWAY has a value that it does not take"):
        client.get(JWKS)
    jwt_settings(LEEWAY=timedelta(seconds=5))
    assert client.get(JWKS).status_code == 200
