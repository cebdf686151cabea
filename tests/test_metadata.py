"""What verifiers and clients read: the JWK set and the metadata of the server."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse

from jwt_sessions.tokens.keys import ring

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
        ("https://id.example.com/tenants/a", "/tenants/a"),
        ("https://id.example.com/tenants/a/", "/tenants/a/"),
    ],
)
def test_the_metadata_stands_where_rfc_8414_puts_it(client, jwt_settings, issuer, path):
    jwt_settings(ISSUER=issuer)
    response = client.get(WELL_KNOWN + path)
    origin = "/".join(issuer.split("/")[:3])
    assert response.status_code == 200
    assert response["Cache-Control"] == "public, max-age=300"
    assert response.json() == {
        "issuer": issuer,
        "token_endpoint": f"{origin}/auth/token/",
        "revocation_endpoint": f"{origin}/auth/revoke/",
        "jwks_uri": f"{origin}/auth/jwks.json",
        "grant_types_supported": ["password", "refresh_token"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
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
        ("https://id.example.com", "/tenants/a"),
        ("https://id.example.com/tenants/a", ""),
        ("https://id.example.com/tenants/a", "/tenants/b"),
        ("https://id.example.com/tenants/a", "/tenants/A"),
    ],
)
def test_there_is_no_metadata_elsewhere(client, jwt_settings, issuer, path):
    jwt_settings(ISSUER=issuer)
    response = client.get(WELL_KNOWN + path)
    assert response.status_code == 404
    assert response["Content-Type"] == "application/json"


def test_the_metadata_of_a_plain_http_issuer_is_for_debugging(client, jwt_settings, settings):
    jwt_settings(ISSUER="http://localhost:8000")
    settings.DEBUG = True
    assert client.get(WELL_KNOWN).json()["token_endpoint"] == "http://localhost:8000/auth/token/"


@pytest.mark.parametrize("name", ["token_endpoint", "revocation_endpoint", "jwks_uri"])
def test_the_metadata_names_endpoints_that_answer(client, jwt_settings, name):
    jwt_settings(ISSUER="https://testserver")
    url = client.get(WELL_KNOWN).json()[name].removeprefix("https://testserver")
    answer = client.get(url) if name == "jwks_uri" else client.post(url, {}, content_type="application/json")
    assert answer.status_code == (200 if name == "jwks_uri" else 400)


def test_wrong_settings_are_said_and_not_guessed_around(client, jwt_settings):
    jwt_settings(LEEWAY=5)
    with pytest.raises(ImproperlyConfigured, match="LEEWAY has a value that it does not take"):
        client.get(JWKS)
    jwt_settings(LEEWAY=timedelta(seconds=5))
    assert client.get(JWKS).status_code == 200
