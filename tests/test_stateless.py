"""Tokens verified without a user table: this project's own and other issuers', whose servers may be anything."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core import checks
from django.test import RequestFactory
from django.urls import reverse
from hypothesis import example, given
from hypothesis import strategies as st
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from jwt_sessions import conf, issuers
from jwt_sessions.authentication import JWTStatelessAuthentication
from jwt_sessions.conf.trusted_issuers import PARSERS, TrustedIssuer
from jwt_sessions.credentials import create_credential
from jwt_sessions.exceptions import ExpiredToken, InvalidToken, IssuerUnavailable, JWTSessionsError
from jwt_sessions.issuers import documents, verification
from jwt_sessions.issuers.ended import PackedIds
from jwt_sessions.permissions import RequireRecentLogin, RequireTenant
from jwt_sessions.principal import Principal
from jwt_sessions.tokens import access, jwks
from jwt_sessions.tokens.keys import ring
from tests.clients import Device
from tests.elsewhere import ISSUER, NOW, Server, Signer, running

TIMEOUT = 0.3  # seconds
# What a loaded machine may take on top of it.
MARGIN = 1.5
FEED = "https://feed.example"
ONE, TWO = Signer("ES256", "one"), Signer("ES256", "two")


class WhoAmI(APIView):
    authentication_classes = [JWTStatelessAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"sub": request.user.pk, "tenant": request.auth.tenant, "session": request.auth.session})


def call(token, view=WhoAmI):
    request = RequestFactory().get("/", headers={"Authorization": f"Bearer {token}"})
    response = view.as_view()(request)
    return response


def outcome(token):
    """The code of the refusal, or the subject."""
    try:
        return issuers.verify(token).claims["sub"]
    except JWTSessionsError as error:
        return error.code


@pytest.fixture(autouse=True)
def at_noon(clock):
    """The moment at which the tokens of these tests are good."""
    assert clock
    verification._documents.clear()
    yield
    settle()


@pytest.fixture
def server():
    with running(Server()) as running_server:
        yield running_server


@pytest.fixture
def trust(jwt_settings):
    """Trust ISSUER alone: ``trust(jwks=…)``."""

    def change(**entry):
        jwt_settings(TRUSTED_ISSUERS={ISSUER: entry})

    return change


@pytest.fixture
def later(monkeypatch):
    """Move the clock that tells how old a document is: ``later(seconds)``. Timeouts are waited for in earnest."""
    ahead = [0.0]
    monkeypatch.setattr(documents, "monotonic", lambda: time.monotonic() + ahead[0])

    def move(seconds):
        ahead[0] += seconds

    return move


def settle():
    """Wait until no fetch is on its way."""
    deadline = time.monotonic() + 5
    while any(document._fetching for document in verification._documents.values()):
        assert time.monotonic() < deadline
        time.sleep(0.005)


# This project's own tokens


def own(**claims):
    issued = int(NOW.timestamp())
    return access.encode(
        {"iss": "jwt-sessions", "sub": "1", "aud": "api", "exp": issued + 300, "iat": issued, "jti": "x"} | claims
    )


def test_without_trusted_issuers_a_project_trusts_itself():
    token = issuers.verify(own(tenantId="acme", sid="s", scope="canary"))
    assert token.claims["sub"] == "1"
    assert token.tenant == "acme"
    assert token.session is None
    assert repr(token) == "<BareToken jti='x'>"
    with pytest.raises(TypeError):
        token.claims["sub"] = "2"


@pytest.mark.django_db
def test_a_request_costs_no_statement(device, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = call(device.tokens["access_token"])
    assert response.status_code == 200
    assert response.data == {"sub": str(device.user.pk), "tenant": None, "session": None}


def test_the_user_is_a_principal():
    request = RequestFactory().get("/", headers={"Authorization": f"bearer  {own()} "})
    user, token = JWTStatelessAuthentication().authenticate(WhoAmI().initialize_request(request))
    assert user == Principal(token.claims)
    assert type(user) is Principal


def test_without_a_token_there_is_a_bare_challenge():
    response = WhoAmI.as_view()(RequestFactory().get("/", headers={"Authorization": "Basic abc"}))
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_refused_token_gets_the_challenge_and_the_code(clock):
    token = own()
    forged = call(token[:-4] + "AAAA")
    assert forged.status_code == 401
    assert json.loads(forged.render().content) == {
        "detail": "The token is invalid.",
        "code": "INVALID_TOKEN",
        "terminal": True,
    }
    assert forged["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    clock.shift(300)
    assert call(token).data["code"] == "EXPIRED_TOKEN"
    assert call("é").status_code == 401


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"iss": "https://else.example"}, "INVALID_TOKEN"),
        ({"aud": "other"}, "INVALID_TOKEN"),
        ({"sub": ""}, "INVALID_TOKEN"),
        ({"iat": int(NOW.timestamp()) + 60}, "INVALID_TOKEN"),
        ({"exp": int(NOW.timestamp())}, "EXPIRED_TOKEN"),
        ({"softexp": int(NOW.timestamp())}, "EXPIRED_TOKEN"),
        ({"softexp": int(NOW.timestamp()) + 1}, "1"),
        ({"softexp": "soon"}, "1"),
        ({"tenantId": 5}, "1"),
    ],
)
def test_what_a_token_says_is_looked_at(claims, code):
    assert outcome(own(**claims)) == code


def test_leeway_is_given(jwt_settings):
    jwt_settings(LEEWAY=conf.Settings().REUSE_GRACE_PERIOD)
    assert outcome(own(exp=int(NOW.timestamp()) - 29)) == "1"


@pytest.mark.parametrize("auth_time", [..., "yesterday", None, [1]])
def test_permissions_bear_tokens_that_this_package_did_not_make(trust, auth_time):
    class Guarded(WhoAmI):
        permission_classes = [RequireRecentLogin(conf.Settings().REUSE_GRACE_PERIOD)]

    class ForTenants(WhoAmI):
        permission_classes = [RequireTenant]

    trust(jwks=ONE.jwks)
    token = ONE.token(auth_time=auth_time, tenantId=5)
    assert call(token, Guarded).status_code == 403
    assert call(token, ForTenants).status_code == 403


@pytest.mark.parametrize("auth_time", [10**400, -(10**400), 2**63, int(NOW.timestamp()) + 2])
def test_attack_a_login_at_a_time_that_no_clock_shows(trust, auth_time):
    class Guarded(WhoAmI):
        permission_classes = [RequireRecentLogin(timedelta(days=365))]

    trust(jwks=ONE.jwks)
    response = call(ONE.token(auth_time=auth_time), Guarded)
    assert (response.status_code, response.data["code"]) == (401, "REAUTHENTICATION_REQUIRED")
    assert call(ONE.token(auth_time=int(NOW.timestamp()) + 1), Guarded).status_code == 200


# Other issuers, and their keys in the settings


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA", "Ed25519"])
def test_another_issuers_tokens_are_verified(trust, algorithm):
    signer = Signer("EdDSA" if algorithm == "Ed25519" else algorithm)
    trust(jwks=signer.jwks)
    assert outcome(signer.token(headers={"alg": algorithm} if algorithm == "EdDSA" else None)) == "17"


def test_a_project_that_trusts_others_does_not_trust_itself(trust):
    trust(jwks=ONE.jwks)
    assert outcome(own()) == "INVALID_TOKEN"


def test_each_issuer_speaks_for_itself_alone(jwt_settings):
    jwt_settings(TRUSTED_ISSUERS={"a": {"jwks": ONE.jwks}, "b": {"jwks": TWO.jwks, "audiences": ["b-api"]}})
    assert outcome(ONE.token(iss="a")) == "17"
    assert outcome(TWO.token(iss="b", aud=["x", "b-api"])) == "17"
    assert outcome(TWO.token(iss="b")) == "INVALID_TOKEN"
    assert outcome(TWO.token(iss="a")) == "INVALID_TOKEN"
    assert outcome(ONE.token(iss="b", aud="b-api")) == "INVALID_TOKEN"
    assert outcome(ONE.token(iss="c")) == "INVALID_TOKEN"
    assert outcome(ONE.token(iss=...)) == "INVALID_TOKEN"


@pytest.mark.parametrize(
    "claims", [{"aud": ...}, {"jti": ...}, {"iat": ...}, {"exp": ...}, {"exp": "soon"}, {"exp": 1e300}, {"sub": 17}]
)
def test_claims_that_every_access_token_has_are_required(trust, claims):
    trust(jwks=ONE.jwks)
    signed = ONE.token(**claims) if claims != {"sub": 17} else _signed_as_is({"sub": 17})
    assert outcome(signed) == "INVALID_TOKEN"


def _signed_as_is(claims):
    issued = int(NOW.timestamp())
    good = {"iss": ISSUER, "aud": "api", "iat": issued, "exp": issued + 300, "jti": "x"} | claims
    headers = {"typ": "at+jwt", "kid": "one"}
    return access._jws.encode(json.dumps(good).encode(), ONE.key, "ES256", headers=headers)


def test_types_are_those_that_are_expected_of_the_issuer(trust):
    plain = ONE.token(headers={"typ": "JWT"})
    trust(jwks=ONE.jwks)
    assert outcome(plain) == "INVALID_TOKEN"
    trust(jwks=ONE.jwks, types=["JWT"])
    assert outcome(plain) == "17"
    assert outcome(ONE.token()) == "INVALID_TOKEN"


def test_algorithms_are_those_that_are_expected_of_the_issuer(trust):
    rsa = Signer("RS256", "rsa")
    trust(jwks={"keys": [ONE.jwk, rsa.jwk]}, algorithms=["ES256"])
    assert outcome(ONE.token()) == "17"
    assert outcome(rsa.token()) == "INVALID_TOKEN"


def test_attack_the_public_key_as_an_hmac_secret(trust):
    rsa = Signer("RS256", "rsa")
    trust(jwks=rsa.jwks)
    header = {"alg": "HS256", "typ": "at+jwt", "kid": "rsa"}
    secret = rsa.jwk["n"].encode()
    forged = access._jws.encode(b'{"iss": "%s", "sub": "17"}' % ISSUER.encode(), secret, "HS256", headers=header)
    assert outcome(forged) == "INVALID_TOKEN"


def test_attack_a_symmetric_key_that_was_published():
    oct_key = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "oct", "alg": "HS256"}
    with pytest.raises(ValueError, match="no key"):
        jwks.key_set({"keys": [oct_key]}, ("ES256", "HS256"))


SHORT, PRIVATE = Signer("RS256", "short", bits=1024), {**ONE.jwk, "d": ONE.jwk["x"]}


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "key",
        [],
        {},
        {"kty": ["EC"]},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
        {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"},
        {**TWO.jwk, "x": 5},
        {**TWO.jwk, "y": ["a"]},
        {**TWO.jwk, "y": TWO.jwk["x"]},
        {**TWO.jwk, "x": "é"},
        {**TWO.jwk, "kid": 7},
        {**TWO.jwk, "use": "enc"},
        {**TWO.jwk, "alg": "ES384"},
        {**TWO.jwk, "alg": "ECDH-ES"},
        {**TWO.jwk, "alg": ["ES256"]},
        {**TWO.jwk, "key_ops": ["deriveKey"]},
        {**TWO.jwk, "key_ops": None},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43, "kid": "two"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "two"},
        {"kty": "RSA", "n": "AA", "e": "AQAB", "kid": "two"},
        {"kty": "RSA", "n": "_" * 4096, "e": "AQAB", "kid": "two"},
        SHORT.jwk,
        {**PRIVATE, "kid": "two"},
    ],
)
def test_attack_a_bad_key_in_the_set_is_passed_over(trust, bad):
    trust(jwks={"keys": [bad, ONE.jwk]})
    assert outcome(ONE.token()) == "17"
    assert list(jwks.key_set({"keys": [bad, ONE.jwk]}, ("ES256", "RS256", "EdDSA")).by_kid) == ["one", None]


def test_a_key_without_an_id_is_known_by_its_thumbprint():
    nameless = Signer("ES256", None)
    keys = jwks.key_set({"keys": [nameless.jwk, ONE.jwk]}, ("ES256",))
    from_this_package = jwks.key_set(ring().jwks, ("ES256",))
    assert list(keys.by_kid) == [list(jwks.key_set(nameless.jwks, ("ES256",)).by_kid)[0], "one"]
    assert list(from_this_package.by_kid) == [ring().signer.kid, None]


def test_a_token_that_names_no_key_is_for_a_set_of_one(trust):
    token = ONE.token(headers={"kid": ...})
    trust(jwks=ONE.jwks)
    assert outcome(token) == "17"
    trust(jwks={"keys": [ONE.jwk, TWO.jwk]})
    assert outcome(token) == "INVALID_TOKEN"


def test_a_token_of_our_own_always_names_its_key():
    header = {"typ": "at+jwt"}
    issued = int(NOW.timestamp())
    claims = {"iss": "jwt-sessions", "sub": "1", "aud": "api", "exp": issued + 300, "iat": issued, "jti": "x"}
    token = access._jws.encode(json.dumps(claims).encode(), ring().signer.signing_key, "ES256", headers=header)
    assert outcome(token) == "INVALID_TOKEN"


GOOD_PARTS = ONE.token().split(".")


@given(
    st.one_of(
        st.text(max_size=50),
        st.tuples(*(st.one_of(st.just(part), st.text("AQIZaeJ9_-=", max_size=20)) for part in GOOD_PARTS)).map(
            ".".join
        ),
        st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)).map(
            lambda kid: ONE.token(headers={"x": kid})[:-5]
        ),
    )
)
@example("A" * 20000)
@example("e30.e30.")
@example("W10.W10.")
def test_attack_whatever_is_sent_is_refused_or_good(token):
    if token != ".".join(GOOD_PARTS):
        assert outcome(token) == "INVALID_TOKEN"


# Keys that have to be fetched


def test_keys_are_fetched_once_and_kept(trust, server):
    server.serves(ONE.jwks)
    trust(jwks=server.url)
    assert [outcome(ONE.token(jti=str(number))) for number in range(5)] == ["17"] * 5
    assert len(server.asked) == 1
    assert "application/json" in server.asked[0]["accept"]
    assert "authorization" not in server.asked[0]


def test_a_new_key_is_found_and_an_old_one_forgotten(trust, server, later):
    server.serves(ONE.jwks)
    trust(jwks=server.url)
    assert outcome(ONE.token()) == "17"
    server.serves(TWO.jwks)
    later(verification.KEYS_RHYTHM.pause)
    assert outcome(TWO.token()) == "17"
    assert outcome(ONE.token()) == "INVALID_TOKEN"
    assert len(server.asked) == 2


def test_attack_a_flood_of_made_up_key_ids_costs_one_fetch_in_a_while(trust, server, later):
    server.serves(ONE.jwks)
    trust(jwks=server.url)
    assert outcome(ONE.token()) == "17"
    for _pause in range(3):
        for number in range(20):
            assert outcome(ONE.token(headers={"kid": f"made up {number}"})) == "INVALID_TOKEN"
        later(verification.KEYS_RHYTHM.pause)
    assert len(server.asked) == 3
    assert outcome(ONE.token()) == "17"


def test_attack_tokens_of_unknown_issuers_make_nobody_fetch(trust, server):
    trust(jwks=server.url)
    assert outcome(ONE.token(iss="https://else.example")) == "INVALID_TOKEN"
    assert outcome("nonsense") == "INVALID_TOKEN"
    assert server.asked == []


def test_many_threads_wait_for_one_fetch(trust, server):
    def respond(handler):
        time.sleep(0.1)
        handler.send(json.dumps(ONE.jwks).encode())

    server.respond = respond
    trust(jwks=server.url)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda number: outcome(ONE.token(jti=str(number))), range(8))) == {"17"}
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("cache_control", "lifetime"),
    [
        (None, 300),
        ("public, max-age=600", 600),
        ("max-age=1", 60),
        ("max-age=999999999", 24 * 3600),
        ("s-maxage=9000", 300),
        ("no-store, max-age=600", 60),
        ("max-age=nonsense", 300),
    ],
)
def test_the_server_says_how_long_keys_are_kept_within_bounds(trust, server, later, cache_control, lifetime):
    server.serves(ONE.jwks, **({"Cache-Control": cache_control} if cache_control else {}))
    trust(jwks=server.url)
    assert outcome(ONE.token()) == "17"
    later(0.8 * lifetime - 1)
    assert outcome(ONE.token()) == "17"
    settle()
    assert len(server.asked) == 1
    later(2)
    assert outcome(ONE.token()) == "17"
    settle()
    # Keys that are kept for less than the pause is long are not asked for sooner.
    assert len(server.asked) == 2


def test_keys_that_grow_old_are_fetched_while_nobody_waits(trust, server, later):
    server.serves(ONE.jwks)
    trust(jwks=server.url, timeout=5)
    assert outcome(ONE.token()) == "17"
    server.respond = lambda handler: server.over.wait(10)
    later(299)
    started = time.monotonic()
    assert outcome(ONE.token()) == "17"
    assert time.monotonic() - started < MARGIN
    assert len(verification._documents) == 1


def test_a_process_that_stood_idle_asks_first(trust, server, later):
    server.serves(ONE.jwks)
    trust(jwks=server.url)
    assert outcome(ONE.token()) == "17"
    server.serves(TWO.jwks)
    later(601)
    assert outcome(ONE.token()) == "INVALID_TOKEN"


def test_an_unchanged_set_is_not_sent_again_and_keeps_what_was_found_out(trust, server, later):
    def respond(handler):
        if handler.headers.get("If-None-Match") == '"v1"':
            handler.send(b"", 304)
        else:
            handler.send(json.dumps(ONE.jwks).encode(), ETag='"v1"')

    server.respond = respond
    trust(jwks=server.url)
    assert outcome(ONE.token()) == "17"
    (document,) = verification._documents.values()
    keys = document.value()
    later(601)
    assert document.value() is keys
    server.serves(ONE.jwks)
    later(601)
    assert document.value() is keys
    assert len(server.asked) == 3


def test_known_keys_are_used_on_while_the_server_is_away_but_not_for_ever(trust, server, later, caplog):
    server.serves(ONE.jwks)
    trust(jwks=server.url)
    assert outcome(ONE.token()) == "17"
    server.respond = lambda handler: handler.send(b"", 500)
    for _hour in range(24):
        later(3600)
        assert outcome(ONE.token()) == "17"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    later(3600)
    assert outcome(ONE.token()) == "ISSUER_UNAVAILABLE"
    server.serves(ONE.jwks)
    later(verification.KEYS_RHYTHM.pause)
    assert outcome(ONE.token()) == "17"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_key_that_nobody_could_be_asked_about_is_no_fault_of_the_client(trust, server, later):
    server.serves(ONE.jwks)
    trust(jwks=server.url)
    assert outcome(ONE.token()) == "17"
    assert outcome(TWO.token()) == "INVALID_TOKEN"
    server.respond = lambda handler: handler.send(b"", 500)
    later(verification.KEYS_RHYTHM.pause)
    assert outcome(TWO.token()) == "ISSUER_UNAVAILABLE"
    assert outcome(ONE.token()) == "17"


def test_plain_http_never_goes_through_a_proxy(trust, server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.serves(ONE.jwks)
    trust(jwks=server.url)
    assert outcome(ONE.token()) == "17"


@pytest.fixture
def certificate(tmp_path):
    """A certificate for this machine, and its key, in one file."""
    key = ONE.key
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    builder = builder.not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2100, 1, 1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    path = tmp_path / "certificate.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem + builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def secure_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with running(Server("https")) as running_server:
        running_server.socket = context.wrap_socket(running_server.socket, server_side=True)
        running_server.serves(ONE.jwks)
        yield running_server


def test_https_is_spoken_with_those_whose_certificate_is_good(trust, secure_server, certificate, monkeypatch):
    trust(jwks=secure_server.url)
    assert outcome(ONE.token()) == "ISSUER_UNAVAILABLE"
    assert secure_server.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    verification._documents.clear()
    assert outcome(ONE.token()) == "17"
    assert len(secure_server.asked) == 1


# Servers that are no good


def drip(handler, data):
    try:
        for byte in data:
            handler.wfile.write(bytes([byte]))
            if handler.server.over.wait(0.03):
                return
    except OSError:
        return


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    try:
        while not handler.server.over.is_set():
            handler.wfile.write(b" " * 65536)
    except OSError:
        return


def redirect(handler):
    handler.send(b"", 302, Location=handler.server.url + "?again")


def cut_short(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"keys": [')


def sends(body, status=200, **headers):
    return lambda handler: handler.send(body, status, **headers)


GOOD_BODY = json.dumps(ONE.jwks).encode()
BAD_SERVERS = {
    "says nothing": lambda handler: handler.server.over.wait(10),
    "drips its header": lambda handler: drip(handler, b"HTTP/1.1 200 OK\r\n" + b"X-Slow: 1\r\n" * 1000),
    "drips its body": lambda handler: drip(handler, b"HTTP/1.1 200 OK\r\n\r\n" + GOOD_BODY * 10),
    "hangs up": lambda handler: None,
    "speaks no HTTP": lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "never stops": endless,
    "sends a header without end": lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100000),
    "stops in the middle": cut_short,
    "redirects": redirect,
    "redirects to a file": sends(b"", 302, Location="file:///etc/passwd"),
    "fails": sends(GOOD_BODY, 500),
    "finds nothing": sends(GOOD_BODY, 404),
    "has not changed what was never asked": sends(b"", 304),
    "has created it": sends(GOOD_BODY, 201),
    "has no content": sends(b"", 204),
    "has a web page": sends(b"<html>Welcome</html>", Content_Type="text/html"),
    "has nothing": sends(b""),
    "has too much": sends(b" " * (verification.MAX_KEYS_BYTES + 1)),
    "nests": sends(b'{"keys":' + b"[" * 100_000),
    "sends digits": sends(b'{"keys": ' + b"9" * 5000 + b"}"),
    "sends bytes": sends(b"\xff\xfe\x00{"),
    "has a list": sends(b"[]"),
    "has null": sends(b"null"),
    "has no keys": sends(b'{"keys": []}'),
    "has keys that are none": sends(b'{"keys": {"a": 1}}'),
    "has bad keys": sends(b'{"keys": [1, null, {"kty": "oct", "k": "AAAA"}]}'),
}


@pytest.mark.parametrize("habit", BAD_SERVERS)
def test_attack_a_server_that(trust, server, later, habit):
    """It costs its timeout once in a while, the answer is 503, and nothing lasts once the server is good."""
    server.respond = BAD_SERVERS[habit]
    trust(jwks=server.url, timeout=TIMEOUT)
    started = time.monotonic()
    first = call(ONE.token())
    assert time.monotonic() - started < TIMEOUT + MARGIN
    assert first.status_code == 503
    assert first.data["code"] == "ISSUER_UNAVAILABLE"
    assert json.loads(first.render().content)["terminal"] is False
    assert "WWW-Authenticate" not in first
    assert 1 <= int(first["Retry-After"]) <= verification.KEYS_RHYTHM.pause
    settle()
    started = time.monotonic()
    assert {call(ONE.token(jti=str(number))).status_code for number in range(20)} == {503}
    assert time.monotonic() - started < TIMEOUT + MARGIN
    assert len(server.asked) == 1
    server.serves(ONE.jwks)
    later(verification.KEYS_RHYTHM.pause)
    # Good, but perhaps on a loaded machine.
    (document,) = verification._documents.values()
    document.source = dataclasses.replace(document.source, timeout=10)
    assert call(ONE.token()).status_code == 200
    assert len(server.asked) == 2


@pytest.mark.parametrize("habit", ["says nothing", "drips its header", "drips its body", "never stops"])
def test_attack_no_thread_stays_with_a_server_that(trust, server, habit):
    server.respond = BAD_SERVERS[habit]
    trust(jwks=server.url, timeout=TIMEOUT)
    assert outcome(ONE.token()) == "ISSUER_UNAVAILABLE"
    started = time.monotonic()
    settle()
    assert time.monotonic() - started < MARGIN


def test_attack_a_server_that_is_not_there(trust, server):
    url = server.url
    server.server_close()
    trust(jwks=url)
    assert outcome(ONE.token()) == "ISSUER_UNAVAILABLE"


def test_a_fetch_that_breaks_leaves_nobody_waiting(trust, monkeypatch, caplog):
    def broken(*args):
        raise RuntimeError("canary")

    monkeypatch.setattr(documents, "get", broken)
    trust(jwks="https://issuer.example/jwks.json?key=canary")
    started = time.monotonic()
    assert outcome(ONE.token()) == "ISSUER_UNAVAILABLE"
    assert time.monotonic() - started < MARGIN
    assert "canary" not in caplog.text
    assert "RuntimeError" in caplog.text


def test_a_process_out_of_threads_says_so_and_lives(trust, monkeypatch):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(documents.Thread, "start", refused)
    trust(jwks="https://issuer.example/jwks.json")
    assert outcome(ONE.token()) == "ISSUER_UNAVAILABLE"


# Sessions that ended elsewhere


@pytest.fixture
def feed():
    with running(Server()) as running_server:
        running_server.serves({"revoked": [], "max_age": 300})
        yield running_server


def test_a_session_that_is_listed_as_ended_is_refused(trust, feed, later):
    trust(jwks=ONE.jwks, revoked=feed.url)
    token = ONE.token(sid="a")
    assert outcome(token) == "17"
    feed.serves({"revoked": ["b", "a", 5, None], "max_age": 300})
    later(21)
    assert outcome(token) == "INVALID_TOKEN"
    assert outcome(ONE.token(sid="c")) == "17"
    assert outcome(ONE.token()) == "17"
    assert outcome(ONE.token(sid=["a"])) == "17"


def test_the_list_is_asked_for_once_in_ten_seconds_however_many_ask(trust, feed, later):
    trust(jwks=ONE.jwks, revoked=feed.url)
    for second in range(31):
        for number in range(3):
            assert outcome(ONE.token(sid=str(number))) == "17"
        settle()
        later(1)
        assert len(feed.asked) <= 1 + second / 10
    assert len(feed.asked) >= 3


def test_who_asks_for_the_list_says_so(trust, feed):
    trust(jwks=ONE.jwks, revoked=feed.url, client_id="a:b", client_secret="s cret")
    assert outcome(ONE.token(sid="a")) == "17"
    # "a%3Ab:s+cret": RFC 6749 §2.3.1
    assert feed.asked[0]["authorization"] == "Basic YSUzQWI6cytjcmV0"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"revoked": {}}', b'{"revoked": "a"}', b"[" * 50000])
def test_attack_an_ended_session_while_there_is_no_usable_list(trust, feed, later, caplog, body):
    feed.respond = sends(body)
    trust(jwks=ONE.jwks, revoked=feed.url, client_id="id", client_secret="canary")
    for _time in range(4):
        assert outcome(ONE.token(sid="a")) == "ISSUER_UNAVAILABLE"
        # The token of a credential has no session that could have ended.
        assert outcome(ONE.token()) == "17"
        settle()
        later(11)
    assert len(feed.asked) == 4
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text


def test_attack_a_list_that_never_comes_is_waited_for_once(trust, feed, later):
    feed.respond = BAD_SERVERS["says nothing"]
    trust(jwks=ONE.jwks, revoked=feed.url, timeout=TIMEOUT)
    assert outcome(ONE.token(sid="a")) == "ISSUER_UNAVAILABLE"
    settle()
    started = time.monotonic()
    for number in range(10):
        later(11)
        assert outcome(ONE.token(sid="a", jti=str(number))) == "ISSUER_UNAVAILABLE"
    assert time.monotonic() - started < TIMEOUT
    response = call(ONE.token(sid="a"))
    assert response.status_code == 503
    assert 1 <= int(response["Retry-After"]) <= 10


def test_a_list_is_used_on_while_its_server_starts_anew_and_then_no_more(trust, feed, later, caplog):
    trust(jwks=ONE.jwks, revoked=feed.url)
    feed.serves({"revoked": ["a"]})
    assert outcome(ONE.token(sid="a")) == "INVALID_TOKEN"
    feed.respond = lambda handler: handler.send_error(502)
    for _time in range(6):
        later(11)
        assert (outcome(ONE.token(sid="a")), outcome(ONE.token(sid="b"))) == ("INVALID_TOKEN", "17")
        settle()
    later(11)
    assert outcome(ONE.token(sid="b")) == "ISSUER_UNAVAILABLE"
    assert len(caplog.records) == 1
    feed.serves({"revoked": ["b"]})
    settle()
    later(11)
    outcome(ONE.token(sid="b"))
    settle()
    assert (outcome(ONE.token(sid="a")), outcome(ONE.token(sid="b"))) == ("17", "INVALID_TOKEN")


def test_attack_a_flood_of_ends_that_no_list_can_name_in_full(trust, feed, later, caplog):
    trust(jwks=ONE.jwks, revoked=feed.url)
    feed.serves({"revoked": ["a"]})
    assert (outcome(ONE.token(sid="a")), outcome(ONE.token(sid="b"))) == ("INVALID_TOKEN", "17")
    feed.respond = sends(b"x" * (verification.MAX_ENDED_BYTES + 1))
    later(21)
    # Not even a minute of what was known before: it is known that there is more.
    assert outcome(ONE.token(sid="b")) == "ISSUER_UNAVAILABLE"
    assert "more than 16777216 bytes. Nothing is known of it." in caplog.text


@pytest.mark.parametrize("number", [110_000, 1_000_000])
def test_attack_a_flood_of_ends_hides_none_of_them(trust, feed, number):
    # Only even numbers end.
    packed = b"".join((2 * place).to_bytes(16) for place in range(number))
    feed.respond = lambda handler: handler.send(packed, Content_Type="application/octet-stream")
    trust(jwks=ONE.jwks, revoked=feed.url, timeout=10)
    for ended in (0, 2, number, 2 * number - 2):
        assert outcome(ONE.token(sid=str(UUID(int=ended)))) == "INVALID_TOKEN"
    for living in (1, number + 1, 2 * number - 1, 2 * number, 2**128 - 1):
        assert outcome(ONE.token(sid=str(UUID(int=living)))) == "17"
    assert outcome(ONE.token(sid="a")) == "17"
    assert len(feed.asked) == 1
    assert feed.asked[0]["accept"].startswith("application/octet-stream")


def test_packed_ids_are_found_in_whatever_order_they_come(trust, feed):
    ended = [uuid4() for _ in range(50)]
    body = b"".join(each.bytes for each in ended)
    feed.respond = lambda handler: handler.send(body, Content_Type="Application/Octet-Stream; charset=binary")
    trust(jwks=ONE.jwks, revoked=feed.url)
    assert {outcome(ONE.token(sid=str(sid))) for sid in ended} == {"INVALID_TOKEN"}


def test_a_cut_list_of_packed_ids_is_none(trust, feed):
    feed.respond = lambda handler: handler.send(bytes(47), Content_Type="application/octet-stream")
    trust(jwks=ONE.jwks, revoked=feed.url)
    assert outcome(ONE.token(sid="a")) == "ISSUER_UNAVAILABLE"


def test_the_end_of_a_session_of_this_package_is_noticed(live_server, jwt_settings, later, user):
    credential = create_credential(name="reports", may_introspect=True)
    entry = {
        "jwks": live_server.url + reverse("jwt_sessions:jwks"),
        "revoked": live_server.url + reverse("jwt_sessions:revoked"),
        "client_id": str(credential.credential.pk),
        "client_secret": credential.client_secret,
    }
    jwt_settings(TRUSTED_ISSUERS={"jwt-sessions": entry})
    phone, tablet = Device(user).sign_in(), Device(user).sign_in()
    assert outcome(phone.tokens["access_token"]) == outcome(tablet.tokens["access_token"]) == str(user.pk)
    (read,) = [each._copy.value for each in verification._documents.values() if each.source.client_id]
    assert isinstance(read, PackedIds)
    phone.post("logout", **phone.bearer)
    later(21)
    assert outcome(phone.tokens["access_token"]) == "INVALID_TOKEN"
    assert outcome(tablet.tokens["access_token"]) == str(user.pk)
    later(21)
    assert outcome(phone.tokens["access_token"]) == "INVALID_TOKEN"


# Settings


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        ("https://a.example", "with jwks"),
        ({}, "with jwks"),
        ({"jwks": ONE.jwks, "audience": "api"}, "with jwks"),
        ({"jwks": "http://a.example/jwks.json"}, "https"),
        ({"jwks": "http://127.0.0.1.example/jwks.json"}, "https"),
        ({"jwks": "ftp://a.example/jwks.json"}, "https"),
        ({"jwks": "file:///etc/passwd"}, "https"),
        ({"jwks": "/etc/jwks.json"}, "https"),
        ({"jwks": ""}, "https"),
        ({"jwks": None}, "https"),
        ({"jwks": "https:///jwks.json"}, "https"),
        ({"jwks": "https://a.example/a b"}, "https"),
        ({"jwks": "https://a.example/\r\nX: y"}, "https"),
        ({"jwks": "https://a.example:port/"}, "malformed"),
        ({"jwks": "https://[a.example/"}, "malformed"),
        ({"jwks": "https://me:canary@a.example/"}, "user"),
        ({"jwks": "https://a.example/#a"}, "fragment"),
        ({"jwks": {"keys": [object()]}}, "JSON"),
        ({"jwks": ONE.jwks, "audiences": []}, "at least one"),
        ({"jwks": ONE.jwks, "audiences": "api"}, "list"),
        ({"jwks": ONE.jwks, "algorithms": ["HS256"]}, "algorithms"),
        ({"jwks": ONE.jwks, "algorithms": []}, "at least one"),
        ({"jwks": ONE.jwks, "types": []}, "at least one"),
        ({"jwks": ONE.jwks, "timeout": 0}, "timeout"),
        ({"jwks": ONE.jwks, "timeout": 11}, "timeout"),
        ({"jwks": ONE.jwks, "timeout": True}, "timeout"),
        ({"jwks": ONE.jwks, "timeout": "3"}, "timeout"),
        ({"jwks": ONE.jwks, "revoked": "http://a.example/revoked.json"}, "https"),
        ({"jwks": ONE.jwks, "revoked": FEED, "client_id": "a"}, "together"),
        ({"jwks": ONE.jwks, "client_id": "a", "client_secret": "canary"}, "together"),
        ({"jwks": ONE.jwks, "revoked": FEED, "client_id": "a", "client_secret": b"canary"}, "non-empty"),
    ],
)
def test_a_wrong_entry_is_a_check_error_that_names_the_issuer_and_no_secret(entry, wrong):
    settings, (problem,) = conf.parse({"TRUSTED_ISSUERS": {ISSUER: entry}})
    assert settings is None
    assert (problem.key, problem.id) == ("TRUSTED_ISSUERS", "jwt_sessions.E036")
    assert wrong in problem.hint
    assert "canary" not in repr(problem)


@pytest.mark.parametrize("value", [[], None, {"": {"jwks": ONE.jwks}}, {5: {"jwks": ONE.jwks}}])
def test_it_takes_a_dict_of_issuers(value):
    settings, (problem,) = conf.parse({"TRUSTED_ISSUERS": value})
    assert settings is None
    assert problem.id == "jwt_sessions.E036"


@pytest.mark.parametrize("url", ["http://localhost:8000/j", "http://127.0.0.1/j", "http://[::1]:8000/j"])
def test_plain_http_is_for_this_machine(url):
    assert conf.parse({"TRUSTED_ISSUERS": {ISSUER: {"jwks": url}}})[1] == []


def test_plain_http_is_for_debugging(settings):
    settings.DEBUG = True
    assert conf.parse({"TRUSTED_ISSUERS": {ISSUER: {"jwks": "http://a.example/jwks.json"}}})[1] == []


def test_keys_in_the_settings_that_cannot_be_used_are_a_check_error(db, trust):
    trust(jwks={"keys": [SHORT.jwk]})
    found = [message for message in checks.run_checks() if message.id == "jwt_sessions.E036"]
    assert [message.obj for message in found] == ["TRUSTED_ISSUERS"]
    trust(jwks=ONE.jwks)
    assert "jwt_sessions.E036" not in [message.id for message in checks.run_checks()]


def test_no_secret_is_shown(trust, feed):
    trust(jwks=ONE.jwks, revoked=feed.url, client_id="id", client_secret="canary")
    assert outcome(ONE.token(sid="a")) == "17"
    shown = repr(conf.current()) + repr(verification._documents)
    assert feed.url in shown
    assert "canary" not in shown


def test_the_errors_are_those_of_this_package(trust):
    trust(jwks=ONE.jwks)
    with pytest.raises(InvalidToken):
        issuers.verify("x")
    with pytest.raises(ExpiredToken):
        issuers.verify(ONE.token(exp=int(NOW.timestamp())))
    assert IssuerUnavailable(5).retry_after == 5


# Processes

SERVICE = """
import json, os, sys, time
from django.conf import settings

settings.configure(
    SECRET_KEY="a service's own key, of fifty characters or more, 0123456789",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["rest_framework"],
    DATABASES={},
    USE_TZ=True,
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["jwt_sessions.authentication.JWTStatelessAuthentication"],
        "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
        "DEFAULT_THROTTLE_RATES": {"user": "4/min"},
        "UNAUTHENTICATED_USER": None,
    },
    JWT_SESSIONS=json.loads(sys.argv[1]),
)
import django
django.setup()
from django.test import Client
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView


class WhoAmI(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"sub": request.user.pk, "sid": request.auth.claims.get("sid")})


urlpatterns = [path("who/", WhoAmI.as_view())]


def who(token):
    return Client().get("/who/", headers={"Authorization": "Bearer " + token})

"""

DAY = """
token = sys.argv[2]
answers = [who(token), who("x" + token), Client().get("/who/"), *(who(token) for _ in range(4))]
assert answers[0].json() == {"sub": "17", "sid": "a"}, answers[0].content
assert answers[1].json()["code"] == "INVALID_TOKEN", answers[1].content
assert answers[2]["WWW-Authenticate"] == "Bearer"
assert not [name for name in sys.modules if name.startswith("jwt_sessions.models")]
import jwt_sessions.authentication
assert not hasattr(jwt_sessions.authentication, "JWTNothing")
print([answer.status_code for answer in answers])
"""

# The parent forks while a fetch is on its way. The child has neither its thread nor the end of it.
FORK = """
import threading
token = sys.argv[2]
waiting = threading.Thread(target=who, args=[token])
waiting.start()
time.sleep(0.2)
child = os.fork()
if child == 0:
    os._exit(0 if who(token).status_code == 200 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def try_service(script, jwt_sessions, *arguments):
    root = Path(__file__).resolve().parent.parent
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-c", SERVICE + script, json.dumps(jwt_sessions), *arguments]
    return subprocess.run(
        command, cwd=root, env=environment | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=60
    )


def run_service(script, jwt_sessions, *arguments):
    done = try_service(script, jwt_sessions, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture
def fresh_token():
    """Good at the time that other processes have."""

    def make(**claims):
        return ONE.token(iat=1, exp=2**33, **claims)

    return make


def test_a_service_without_users_and_databases(server, fresh_token):
    server.serves(ONE.jwks)
    trusted = {ISSUER: {"jwks": server.url}}
    told = run_service(DAY, {"TRUSTED_ISSUERS": trusted}, fresh_token(sid="a"))
    assert told == "[200, 401, 401, 200, 200, 200, 429]"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("jwt_sessions", "told"),
    [
        ({"TRUSTED_ISSUER": {}}, "'TRUSTED_ISSUER' is not a setting. Did you mean TRUSTED_ISSUERS?"),
        (
            {"TRUSTED_ISSUERS": {ISSUER: {"jwks": ONE.jwks, "audience": ["api"]}}},
            f"{ISSUER!r} has 'audience', which is none of them: did you mean 'audiences'?",
        ),
        ({"TRUSTED_ISSUERS": {ISSUER: {"jwk": ONE.jwks}}}, f"{ISSUER!r} has 'jwk', which is none of them"),
        ({"TRUSTED_ISSUERS": {ISSUER: {}}}, f"{ISSUER!r} has no jwks"),
        ({"TRUSTED_ISSUERS": {ISSUER: {"jwks": {"keys": []}}}}, f"TRUSTED_ISSUERS: {ISSUER!r}: "),
        ({"ALGORITHM": "RS256"}, "RS256 needs a key in SIGNING_KEYS"),
    ],
)
def test_a_service_with_a_mistake_in_its_settings_does_not_start_and_says_which(jwt_sessions, told):
    done = try_service("print('started')", jwt_sessions)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ImproperlyConfigured: " in done.stderr.splitlines()[-1]
    assert told in done.stderr.splitlines()[-1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_in_the_middle_of_a_fetch(server, fresh_token):
    def respond(handler):
        if len(server.asked) == 1:
            server.over.wait(1.2)
        handler.send(json.dumps(ONE.jwks).encode())

    server.respond = respond
    assert run_service(FORK, {"TRUSTED_ISSUERS": {ISSUER: {"jwks": server.url}}}, fresh_token()) == "0"
    assert len(server.asked) == 2


# What the documentation says


def test_the_documented_way_without_django_accepts_our_tokens_and_no_others(server):
    page = (Path(__file__).resolve().parent.parent / "docs" / "other-services.md").read_text()
    (block,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "import jwt\n" in each]
    server.serves(ring().jwks)
    namespace = {}
    exec(block.replace('f"{ISSUER}/auth/jwks.json"', repr(server.url)), namespace)
    claims = {"iss": namespace["ISSUER"], "aud": ["reports"]}
    assert namespace["verify"](own(**claims))["sub"] == "1"
    for wrong in (own(**claims | {"aud": "api"}), own(**claims | {"iss": "x"}), own(**claims)[:-4] + "AAAA"):
        with pytest.raises(jwt.InvalidTokenError):
            namespace["verify"](wrong)
    plain = jwt.encode({**claims, "sub": "1"}, ring().signer.signing_key, "ES256", {"kid": ring().signer.kid})
    with pytest.raises(jwt.InvalidTokenError, match="no access token"):
        namespace["verify"](plain)


def test_every_key_of_an_issuer_is_documented():
    page = (Path(__file__).resolve().parent.parent / "docs" / "other-services.md").read_text()
    rows = "".join(re.findall(r"^\| \*\*.*?\|", page, re.MULTILINE))
    assert re.findall(r"\*\*`([a-z_]+)`\*\*", rows) == list(PARSERS)
    assert set(PARSERS) == {each.name for each in dataclasses.fields(TrustedIssuer)} - {"name"}
