"""
What attackers send, at every door.

A forged token is refused at once: the answer is JSON of the 4xx kind, no statement reaches the database, and no row
changes. Only what was really signed here and names a session gets as far as one read.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzz
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, HMACAlgorithm

from example_project.accounts.models import User
from jwt_sessions.models import RefreshToken, Session, TokenVersion
from jwt_sessions.tokens import access
from jwt_sessions.tokens.keys import ring
from tests.clients import Device
from tests.effort import rounds
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db

API = "/api/me/"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
COOKIE = "__Host-Http-jwt_sessions_refresh"
ENDPOINTS = ("login", "token", "logout", "revoke")


def rows() -> list[list[tuple[object, ...]]]:
    return [list(model.objects.order_by("pk").values_list()) for model in (User, Session, RefreshToken, TokenVersion)]


@contextmanager
def nothing_happens(statements: int = 0) -> Iterator[None]:
    """No statement reaches the database (or so many reads), and no row is another than before."""
    before = rows()
    with CaptureQueriesContext(connection) as queries:
        yield
    assert len(queries) == statements, [query["sql"] for query in queries]
    assert rows() == before


def assert_refused(response: Any, status: int, code: str) -> None:
    assert response.status_code == status
    assert response["Content-Type"] == "application/json"
    assert response.json()["code"] == code


def assert_refused_everywhere(token: str, status: int = 401, code: str = "INVALID_TOKEN") -> None:
    """Present a token that is worth nothing at every door that takes one."""
    http = Client()
    bearer = {"headers": {"Authorization": f"Bearer {token}"}}
    for response in (
        http.get(API, **bearer),
        http.get("/auth/sessions/", **bearer),
        http.post("/auth/sessions/end-all/", **bearer),
        http.delete("/auth/sessions/current/", **bearer),
    ):
        assert_refused(response, status, code)
        assert response["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    grant = {"grant_type": "refresh_token", "refresh_token": token}
    for content_type, body in ((JSON, json.dumps(grant)), (FORM, urlencode(grant))):
        assert_refused(http.post("/auth/token/", body, content_type=content_type), 400, "INVALID_TOKEN")
    assert_useless_for_signing_out(http, token)


def assert_useless_for_signing_out(http: Client, token: str) -> None:
    revoked = http.post("/auth/revoke/", {"token": token}, content_type=JSON)
    assert (revoked.status_code, revoked.json()) == (200, {})
    assert http.post("/auth/logout/", headers={"Authorization": f"Bearer {token}"}).status_code == 204
    assert http.post("/auth/logout/", {"refresh_token": token}, content_type=JSON).status_code == 204


# Forged access tokens


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def encoded(part: Any) -> str:
    return base64url(part if isinstance(part, bytes) else json.dumps(part).encode())


@dataclass(frozen=True)
class Genuine:
    """A genuine token taken apart, and what an attacker makes of it."""

    token: str

    @property
    def header(self) -> dict[str, Any]:
        return {"alg": "ES256", "kid": ring().signer.kid, "typ": "at+jwt"}

    @property
    def claims(self) -> dict[str, Any]:
        payload = self.token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=="))

    @property
    def signature(self) -> str:
        return self.token.split(".")[2]

    def changed(self, name: str, value: Any) -> dict[str, Any]:
        """The claims with one changed, or left out for ``...``."""
        return {each: content for each, content in {**self.claims, name: value}.items() if content is not ...}

    def forge(self, sign: Callable[[bytes], bytes], header: Any = None, claims: Any = None) -> str:
        head = {**self.header, **header} if isinstance(header, dict) else header or self.header
        kept = {name: value for name, value in head.items() if value is not ...} if isinstance(head, dict) else head
        signed = f"{encoded(kept)}.{encoded(self.claims if claims is None else claims)}"
        return f"{signed}.{base64url(sign(signed.encode()))}"


def by_server(signed: bytes) -> bytes:
    """The server's own signature: what is refused then is the content."""
    return ECAlgorithm(ECAlgorithm.SHA256).sign(signed, ring().signer.signing_key)


MALLORY = ec.generate_private_key(ec.SECP256R1())
MALLORYS_JWK = {**ECAlgorithm.to_jwk(MALLORY.public_key(), as_dict=True), "alg": "ES256", "use": "sig"}


def by_mallory(signed: bytes) -> bytes:
    return ECAlgorithm(ECAlgorithm.SHA256).sign(signed, MALLORY)


def unsigned(signed: bytes) -> bytes:
    return b""


def hmac_with(key: bytes, sha: Any = HMACAlgorithm.SHA256) -> Callable[[bytes], bytes]:
    return lambda signed: HMACAlgorithm(sha).sign(signed, key)


def public_key_as(spelling: str) -> bytes:
    """The published key in the shapes in which a confused verifier might take it for an HMAC secret."""
    public = ring().signer.verifying_key
    form = serialization.PublicFormat
    match spelling:
        case "PEM":
            return public.public_bytes(serialization.Encoding.PEM, form.SubjectPublicKeyInfo)
        case "PEM, stripped":
            return public.public_bytes(serialization.Encoding.PEM, form.SubjectPublicKeyInfo).strip()
        case "DER":
            return public.public_bytes(serialization.Encoding.DER, form.SubjectPublicKeyInfo)
        case "point":
            return public.public_bytes(serialization.Encoding.X962, form.UncompressedPoint)
        case "JWK":
            return json.dumps(ring().signer.jwk).encode()
        case "JWK, compact":
            return json.dumps(ring().signer.jwk, separators=(",", ":")).encode()
        case "kid":
            return ring().signer.kid.encode()
    return b""


PUBLIC_SPELLINGS = ("PEM", "PEM, stripped", "DER", "point", "JWK", "JWK, compact", "kid", "nothing at all")


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "none ", " none", "none\0", "", "ｎｏｎｅ"])
def test_attack_algorithm_none(device, alg):
    genuine = Genuine(device.tokens["access_token"])
    with nothing_happens():
        for signature in ("", genuine.signature, "AAAA"):
            assert_refused_everywhere(genuine.forge(unsigned, {"alg": alg}) + signature)


@pytest.mark.parametrize("alg", [..., None, [], ["ES256"], ["none"], {}, {"alg": "ES256"}, 0, 1, True, False, 1.5])
def test_attack_algorithm_of_another_type(device, alg):
    with nothing_happens():
        assert_refused_everywhere(Genuine(device.tokens["access_token"]).forge(by_server, {"alg": alg}))


@pytest.mark.parametrize("alg", ["HS256", "ES384", "ES512", "ES256K", "RS256", "PS256", "EdDSA", "es256", "ES256 "])
def test_attack_genuine_signature_under_another_algorithm(device, alg):
    with nothing_happens():
        assert_refused_everywhere(Genuine(device.tokens["access_token"]).forge(by_server, {"alg": alg}))


@pytest.mark.parametrize("spelling", PUBLIC_SPELLINGS)
def test_attack_public_key_as_hmac_secret(device, spelling):
    genuine, key = Genuine(device.tokens["access_token"]), public_key_as(spelling)
    hashes = {"HS256": HMACAlgorithm.SHA256, "HS384": HMACAlgorithm.SHA384, "HS512": HMACAlgorithm.SHA512}
    with nothing_happens():
        for alg, sha in hashes.items():
            assert_refused_everywhere(genuine.forge(hmac_with(key, sha), {"alg": alg}))


def test_attack_hmac_confusion_in_a_ring_of_both_kinds(jwt_settings, user):
    pem = ring().signer.signing_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    jwk = ring().signer.jwk
    jwt_settings(ALGORITHM="HS256", SIGNING_KEYS=["a secret of thirty-two bytes or more", pem.decode()])
    device = Device(user).sign_in()
    genuine = Genuine(device.tokens["access_token"])
    symmetric = ring().signer.kid
    assert ring().jwks["keys"] == [jwk]
    with nothing_happens():
        for alg, kid in (("HS256", jwk["kid"]), ("ES256", symmetric)):
            for sign in (hmac_with(b"guess"), by_mallory):
                assert_refused_everywhere(genuine.forge(sign, {"alg": alg, "kid": kid}))
    assert device.call().status_code == 200


ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize(
    "signature",
    [
        bytes(64),
        bytes(31) + b"\1" + bytes(32),
        bytes(32) + bytes(31) + b"\1",
        ORDER.to_bytes(32, "big") * 2,
        b"\xff" * 64,
        b"",
        bytes(63),
        bytes(65),
        bytes(128),
        encode_dss_signature(1, 1),
    ],
    ids=["zeros", "s=0", "r=0", "order", "ones", "empty", "short", "long", "double", "der"],
)
def test_attack_psychic_signature(device, signature):
    with nothing_happens():
        assert_refused_everywhere(Genuine(device.tokens["access_token"]).forge(lambda signed: signature))


def test_attack_another_key_under_the_genuine_kid(device):
    with nothing_happens():
        assert_refused_everywhere(Genuine(device.tokens["access_token"]).forge(by_mallory))


@pytest.mark.parametrize(
    "kid", ["mallory", "", " ", "../../../../dev/null", "' OR 1=1 --", "\0", "\ud800", "k" * 9000], ids=ascii
)
def test_attack_foreign_kid(device, kid):
    genuine = Genuine(device.tokens["access_token"])
    with nothing_happens():
        assert_refused_everywhere(genuine.forge(by_server, {"kid": kid}))
        assert_refused_everywhere(genuine.forge(by_mallory, {"kid": kid}))


def test_attack_near_miss_of_the_kid(device):
    genuine = Genuine(device.tokens["access_token"])
    kid = genuine.header["kid"]
    with nothing_happens():
        for near_miss in (kid[:-1], kid + "=", kid + " ", kid.swapcase(), kid + "\0", [kid], {kid: kid}):
            assert_refused_everywhere(genuine.forge(by_server, {"kid": near_miss}))


@pytest.mark.parametrize("kid", [..., None, 0, 1, 1.5, True, False, [], {}, [[]], {"kid": 1}])
def test_attack_kid_of_the_wrong_type(device, kid):
    with nothing_happens():
        assert_refused_everywhere(Genuine(device.tokens["access_token"]).forge(by_server, {"kid": kid}))


BROUGHT_ALONG = {
    "jwk": MALLORYS_JWK,
    "jku": "http://127.0.0.1:9/jwks.json",
    "x5u": "http://127.0.0.1:9/certificate.pem",
    "x5c": ["MIIB"],
    "crit": ["exp"],
    "b64": False,
}


@pytest.mark.parametrize("name", BROUGHT_ALONG)
@pytest.mark.parametrize("sign", [by_server, by_mallory])
def test_attack_token_that_brings_its_own_key_or_rules(device, name, sign):
    genuine = Genuine(device.tokens["access_token"])
    with nothing_happens():
        for kid in (genuine.header["kid"], "mallory", ...):
            assert_refused_everywhere(genuine.forge(sign, {name: BROUGHT_ALONG[name], "kid": kid}))


@pytest.mark.parametrize(
    "header",
    [
        {"crit": []},
        {"crit": None},
        {"crit": "b64"},
        {"crit": ["b64"], "b64": True},
        {"crit": ["b64"], "b64": False},
        {"crit": ["urn:example:unknown"], "urn:example:unknown": 1},
        {"crit": {"exp": 1}},
        {"b64": True},
        {"b64": None},
        {"jwk": None},
        {"jku": ""},
        {"x5c": []},
    ],
    ids=str,
)
def test_attack_extension_under_a_genuine_signature(device, header):
    with nothing_happens():
        assert_refused_everywhere(Genuine(device.tokens["access_token"]).forge(by_server, header))


def test_attack_detached_payload(device):
    genuine = Genuine(device.tokens["access_token"])
    head = encoded({**genuine.header, "b64": False, "crit": ["b64"]})
    signature = base64url(by_server(head.encode() + b"." + json.dumps(genuine.claims).encode()))
    first, _, last = device.tokens["access_token"].split(".")
    with nothing_happens():
        assert_refused_everywhere(f"{head}..{signature}")
        assert_refused_everywhere(f"{first}..{last}")


@pytest.mark.parametrize(
    "typ", [..., None, "", "JWT", "jwt", "at", "at+jwt ", "at+jwt;v=1", "text/at+jwt", "refresh+jwt", 1, ["at+jwt"], {}]
)
def test_attack_token_of_another_type(device, typ):
    with nothing_happens():
        assert_refused_everywhere(Genuine(device.tokens["access_token"]).forge(by_server, {"typ": typ}))


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_the_media_type_of_an_access_token_has_several_spellings(device, typ):
    token = Genuine(device.tokens["access_token"]).forge(by_server, {"typ": typ})
    assert Client().get(API, headers={"Authorization": f"Bearer {token}"}).status_code == 200


# Signed here, but not meant for this door


ANY_TEXT = ("sub", "jti")
NOT_TEXT = (..., None, [], {}, True, 1, 1.5, "")


@pytest.mark.parametrize("name", ANY_TEXT)
def test_attack_required_text_missing_or_of_the_wrong_type(device, name):
    genuine = Genuine(device.tokens["access_token"])
    with nothing_happens():
        for value in NOT_TEXT:
            assert_refused_everywhere(genuine.forge(by_server, claims=genuine.changed(name, value)))


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "iat", "sid", "auth_time", "type", "jwt_version", "gen"])
def test_attack_required_claim_missing_or_of_the_wrong_type(device, name):
    genuine = Genuine(device.tokens["access_token"])
    with nothing_happens():
        for value in (*NOT_TEXT[:5], *NOT_TEXT[6:], "\0", "\ud800", "1e400"):
            assert_refused_everywhere(genuine.forge(by_server, claims=genuine.changed(name, value)))


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://evil.example.com"},
        {"iss": "jwt-sessions "},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": "api\0"},
        {"type": "api"},
        {"sid": "current"},
        {"nbf": 2**40},
        {"iat": 2**40},
        {"iat": 10**400},
    ],
    ids=str,
)
def test_attack_token_for_another_place_or_time(device, change):
    genuine = Genuine(device.tokens["access_token"])
    with nothing_happens():
        assert_refused_everywhere(genuine.forge(by_server, claims={**genuine.claims, **change}))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"token"',
        b"1",
        b"{}",
        b"{",
        b"\xff\xfe",
        b"[" * 9000,
        b'{"a":' * 2000,
        b"NaN",
        b"1" * 5000,
    ],
    ids=lambda payload: repr(payload[:10]),
)
def test_attack_payload_that_is_no_object_of_claims(device, payload):
    with nothing_happens():
        assert_refused_everywhere(Genuine(device.tokens["access_token"]).forge(by_server, claims=payload))


@pytest.mark.parametrize(
    "header",
    [b"null", b"[]", b'"ES256"', b"1", b"{}", b"{", b"\xff\xfe", b"[" * 9000, b'{"kid":' * 1500, b"NaN", b"1" * 5000],
    ids=lambda header: repr(header[:10]),
)
def test_attack_header_that_is_no_object(device, header):
    with nothing_happens():
        assert_refused_everywhere(Genuine(device.tokens["access_token"]).forge(by_server, header))


def test_attack_names_given_twice_in_the_header(device):
    genuine = Genuine(device.tokens["access_token"])
    kid = genuine.header["kid"]
    with nothing_happens():
        for algorithms in ('"alg":"ES256","alg":"none"', '"alg":"none","alg":"ES256"'):
            head = f'{{{algorithms},"kid":"{kid}","typ":"at+jwt"}}'.encode()
            assert_refused_everywhere(genuine.forge(unsigned, head))


@pytest.mark.parametrize(
    "change",
    [{"sid": "01890000-0000-7000-8000-00000000002a"}, {"gen": 1}, {"gen": 2**70}, {"sub": "1"}, {"sub": "\0"}],
    ids=str,
)
def test_attack_signed_claims_that_fit_no_session(device, change):
    genuine = Genuine(device.tokens["access_token"])
    token = genuine.forge(by_server, claims={**genuine.claims, **change})
    with nothing_happens(statements=1):
        assert_refused(Client().get(API, headers={"Authorization": f"Bearer {token}"}), 401, "INVALID_TOKEN")


def test_attack_session_of_another_user(device):
    other = Device(UserFactory()).sign_in()
    genuine = Genuine(device.tokens["access_token"])
    claims = {**genuine.claims, "sub": str(other.user.pk)}
    with nothing_happens(statements=1):
        token = genuine.forge(by_server, claims=claims)
        assert_refused(Client().get(API, headers={"Authorization": f"Bearer {token}"}), 401, "INVALID_TOKEN")


@pytest.mark.parametrize("sub", ["1", "\0", "\ud800", "not a key", "9" * 4000])
def test_attack_subject_that_is_no_key_where_no_database_is_asked(jwt_settings, device, sub):
    jwt_settings(SESSION_CHECK="none")
    genuine = Genuine(device.tokens["access_token"])
    token = genuine.forge(by_server, claims={**genuine.claims, "sub": sub})
    with nothing_happens():
        assert_refused(Client().get(API, headers={"Authorization": f"Bearer {token}"}), 401, "INVALID_TOKEN")


# Time


def test_an_expired_token_is_refused_at_the_second_without_a_query(clock, device, jwt_settings):
    bearer = {"headers": device.bearer}
    clock.shift(timedelta(seconds=299))
    assert Client().get(API, **bearer).status_code == 200
    clock.shift(timedelta(seconds=1))
    with nothing_happens():
        assert_refused(Client().get(API, **bearer), 401, "EXPIRED_TOKEN")
    jwt_settings(LEEWAY=timedelta(seconds=10))
    clock.shift(timedelta(seconds=9))
    assert Client().get(API, **bearer).status_code == 200
    clock.shift(timedelta(seconds=1))
    with nothing_happens():
        assert_refused(Client().get(API, **bearer), 401, "EXPIRED_TOKEN")


def test_attack_expired_token_with_a_new_expiry(clock, device):
    genuine = Genuine(device.tokens["access_token"])
    clock.shift(timedelta(seconds=300))
    _header, _payload, signature = device.tokens["access_token"].split(".")
    forged = f"{encoded(genuine.header)}.{encoded({**genuine.claims, 'exp': 2**40})}.{signature}"
    with nothing_happens():
        assert_refused_everywhere(forged)


# One kind of token in the place of the other


def test_attack_refresh_token_as_access_token(device):
    refresh_token = device.tokens["refresh_token"]
    with nothing_happens():
        for url in (API, "/auth/sessions/"):
            response = Client().get(url, headers={"Authorization": f"Bearer {refresh_token}"})
            assert_refused(response, 401, "INVALID_TOKEN")


def test_attack_access_token_as_refresh_token(device):
    with nothing_happens():
        assert_refused(device.refresh(device.tokens["access_token"]), 400, "INVALID_TOKEN")
        http = Client()
        http.cookies[COOKIE] = device.tokens["access_token"]
        assert_refused(http.post("/auth/token/", {"grant_type": "refresh_token"}), 400, "INVALID_TOKEN")


@pytest.mark.parametrize(
    "place", [f"{API}?access_token={{}}", f"{API}?token={{}}", f"{API}?Authorization=Bearer%20{{}}"]
)
def test_attack_token_in_the_address(device, place):
    with nothing_happens():
        response = Client().get(place.format(device.tokens["access_token"]))
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == "Bearer"


def test_attack_grant_in_the_address(device):
    grant = {"grant_type": "refresh_token", "refresh_token": device.tokens["refresh_token"]}
    with nothing_happens():
        assert_refused(Client().post("/auth/token/?" + urlencode(grant)), 400, "INVALID_REQUEST")


# Damage


def test_attack_access_token_cut_at_every_length(device):
    token, http = device.tokens["access_token"], Client()
    with nothing_happens():
        for length in range(len(token)):
            response = http.get(API, headers={"Authorization": f"Bearer {token[:length]}"})
            assert_refused(response, 401, "INVALID_TOKEN")


def test_attack_access_token_with_a_bit_flipped_in_every_character(device):
    token, http = device.tokens["access_token"], Client()
    with nothing_happens():
        for position, character in enumerate(token):
            flipped = token[:position] + chr(ord(character) ^ 1) + token[position + 1 :]
            assert_refused(http.get(API, headers={"Authorization": f"Bearer {flipped}"}), 401, "INVALID_TOKEN")


def test_attack_refresh_token_cut_or_flipped_at_every_character(device):
    token = device.tokens["refresh_token"]
    damaged = [token[:length] for length in range(1, len(token))]
    damaged += [token[:at] + chr(ord(each) ^ 1) + token[at + 1 :] for at, each in enumerate(token)]
    with nothing_happens():
        for each in damaged:
            assert_refused(device.refresh(each), 400, "INVALID_TOKEN")
            assert_useless_for_signing_out(device.http, each)


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "Bearer a b",
        "Bearer .",
        "Bearer ..",
        "Bearer ...",
        "Bearer ....",
        "Bearer null",
        "Bearer undefined",
        "Bearer \0",
        "Bearer e30.e30.\0",
        "Bearer é.é.é",
        "Bearer \xff\xfe",
        "bearer " + "a" * 16385,
        "Bearer " + "a" * 1_000_000,
        "Bearer " + "." * 1_000_000,
        "Bearer " + "e30." * 4000,
        "Bearer " + "jsr_" * 250_000,
    ],
    ids=lambda header: repr(header[:20]),
)
def test_attack_odd_authorization_header(device, header):
    with nothing_happens():
        assert_refused(Client().get(API, headers={"Authorization": header}), 401, "INVALID_TOKEN")
        assert Client().post("/auth/logout/", headers={"Authorization": header}).status_code == 204


@pytest.mark.parametrize(
    "header", ["", " ", "Basic YTpi", "Bearer,x", "Bearer=x", "JWT x", "x" * 1_000_000, "\0", "\xff"]
)
def test_what_is_no_bearer_token_gets_a_bare_challenge(device, header):
    with nothing_happens():
        response = Client().get(API, headers={"Authorization": header})
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response["Content-Type"] == "application/json"


def test_attack_two_tokens_in_one_header(device):
    token = device.tokens["access_token"]
    with nothing_happens():
        for both in (f"Bearer {token}, Bearer {token}", f"Bearer {token} {token}", f"Bearer Bearer {token}"):
            assert_refused(Client().get(API, headers={"Authorization": both}), 401, "INVALID_TOKEN")


@pytest.mark.parametrize("value", ["garbage", "jsr_", "jsr_" + "A" * 92, "a.b.c", "%00", '"', "\xff", "A" * 1_000_000])
def test_attack_garbage_in_the_cookie(device, value):
    with nothing_happens():
        for url, status in (("/auth/token/", 400), ("/auth/logout/", 204)):
            response = Client().post(url, {"grant_type": "refresh_token"}, HTTP_COOKIE=f"{COOKIE}={value}")
            assert response.status_code == status


# Bodies

DEEP = {
    "lists": b"[" * 60_000,
    "closed lists": b"[" * 30_000 + b"]" * 30_000,
    "objects": b'{"a":' * 12_000,
    "in a parameter": b'{"grant_type":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
}
NO_OBJECT = [
    b"null",
    b"[]",
    b'["grant_type"]',
    b"1",
    b'"text"',
    b"true",
    b"{",
    b"{]",
    b"NaN",
    b"\0",
    b"\xff\xfe{}",
    b"{}{}",
]
NOT_JSON = [
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": -Infinity}',
    b'{"a": ' + b"9" * 5000 + b"}",
    b"{'a': 1}",
    b'{"a":\0}',
]
NOT_UTF_8 = ['{"grant_type": "password"}'.encode(each) for each in ("utf-16", "utf-16-le", "utf-32")]
NOT_UTF_8 += [b"\xef\xbb\xbf{}", b'{"grant_type": "\xff"}', b'{"\xc3\x28": 1}', b'{"a": "\xed\xa0\x80"}']
TOO_LARGE = [b'{"a": "' + b"a" * 70_000 + b'"}', b" " * 1_000_000 + b"{}"]
TWICE = [
    b'{"grant_type": "password", "grant_type": "refresh_token"}',
    b'{"a": {"b": 1, "b": 1}}',
    b'{"\\u0061": 1, "a": 1}',
]


@pytest.mark.parametrize(
    "body", [*DEEP.values(), *NO_OBJECT, *NOT_JSON, *NOT_UTF_8, *TOO_LARGE, *TWICE], ids=lambda body: repr(body[:24])
)
def test_attack_body_that_is_no_sensible_json_object(device, body):
    with nothing_happens():
        for endpoint in ENDPOINTS:
            response = Client().generic("POST", f"/auth/{endpoint}/", body, content_type=JSON)
            assert_unreadable(endpoint, response)


def assert_unreadable(endpoint: str, response: Any, status: int = 400) -> None:
    """A body that cannot be read is refused; but signing out answers 204 whatever is presented."""
    if endpoint == "logout":
        assert (response.status_code, response.content) == (204, b"")
    else:
        assert_refused(response, status, "INVALID_REQUEST")


def multipart(*parts: tuple[str, bytes], boundary: str = "x") -> bytes:
    lines = (
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary.encode(), disposition.encode(), content)
        for disposition, content in parts
    )
    return b"".join(lines) + b"--%s--\r\n" % boundary.encode()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, b"token=a&token=a"),
        (FORM, b"email=a&password=a&email=b"),
        (FORM, b"grant_type=password&grant_type=password"),
        (FORM, b"refresh_token=a&refresh_token="),
        (FORM, b"token=" + b"a" * 70_000),
        (FORM, b"&".join(b"p%d=1" % number for number in range(2000))),
        ("multipart/form-data; boundary=x", multipart(('name="token"', b"a"), ('name="token"', b"b"))),
        ("multipart/form-data; boundary=x", multipart(('name="token"; filename="a"', b"a"))),
        ("multipart/form-data; boundary=x", multipart(('name="token"', b"a" * 70_000))),
        ("multipart/form-data; boundary=x", multipart(*((f'name="p{number}"', b"1") for number in range(1001)))),
        ("multipart/form-data", multipart(('name="token"', b"a"))),
        ("multipart/form-data; boundary=\xff", multipart(('name="token"', b"a"))),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else value[:40],
)
def test_attack_form_that_says_a_thing_twice_or_too_much_or_nothing(device, content_type, body):
    with nothing_happens():
        for endpoint in ENDPOINTS:
            response = Client().generic("POST", f"/auth/{endpoint}/", body, content_type=content_type)
            assert_unreadable(endpoint, response)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/html",
        "application/xml",
        "application/octet-stream",
        "application/jwt",
        "garbage",
        "/",
        "json",
    ],
)
def test_attack_body_of_a_type_that_is_not_taken(device, content_type):
    with nothing_happens():
        for endpoint in ENDPOINTS:
            response = Client().generic("POST", f"/auth/{endpoint}/", b'{"token": "a"}', content_type=content_type)
            assert_unreadable(endpoint, response, 415)


CODECS = (
    "utf-8",
    "utf-7",
    "utf-16",
    "ascii",
    "idna",
    "punycode",
    "undefined",
    "unicode_escape",
    "hex",
    "zlib",
    "nonsense",
)


@pytest.mark.parametrize("codec", CODECS)
def test_attack_charset_that_names_any_codec_of_python(device, codec):
    token = device.tokens["refresh_token"]
    bodies = {
        JSON: json.dumps({"grant_type": "magic", "refresh_token": token}).encode(),
        FORM: urlencode({"grant_type": "magic", "refresh_token": token}).encode(),
        "multipart/form-data; boundary=x": multipart(('name="grant_type"', b"magic"), ('name="a"', b"\xff\0")),
    }
    with nothing_happens():
        for content_type, body in bodies.items():
            response = Client().generic("POST", "/auth/token/", body, content_type=f"{content_type}; charset={codec}")
            assert_refused(response, 400, "INVALID_REQUEST")
            assert response.json()["error"] == "unsupported_grant_type"


# Parameters


def good_bodies(device: Device) -> dict[str, tuple[str, dict[str, Any]]]:
    email = device.user.email
    return {
        "login": ("/auth/login/", {"email": email, "password": PASSWORD}),
        "password": ("/auth/token/", {"grant_type": "password", "username": email, "password": PASSWORD}),
        "refresh": ("/auth/token/", {"grant_type": "refresh_token", "refresh_token": device.tokens["refresh_token"]}),
    }


PARAMETERS = [
    *(("login", name) for name in ("email", "password", "audience", "device_name", "delivery", "replace_others")),
    *(("password", name) for name in ("grant_type", "username", "password", "audience", "resource")),
    *(("refresh", name) for name in ("grant_type", "audience", "resource", "background")),
]
NASTY = {
    "NUL": "\0",
    "NUL inside": "a\0b",
    "lone surrogate": "\ud800",
    "lone surrogates": "a\udfff\ud800",
    "list": ["a"],
    "empty list": [],
    "object": {"a": "b"},
    "empty object": {},
    "deep list": json.loads("[" * 400 + "]" * 400),
    "list of surrogates": ["\ud800"],
    "object of surrogates": {"\ud800": "\ud800"},
    "very long": "a" * 60_000,
}


@pytest.mark.parametrize(("call", "name"), PARAMETERS)
def test_attack_parameter_that_no_database_and_no_answer_can_hold(device, call, name):
    url, body = good_bodies(device)[call]
    with nothing_happens():
        for value in NASTY.values():
            response = Client().post(url, {**body, name: value}, content_type=JSON)
            assert_refused(response, 400, "INVALID_REQUEST")
            assert response.json()["field"] == name


@pytest.mark.parametrize("value", NASTY.values(), ids=NASTY)
def test_attack_token_that_no_database_and_no_answer_can_hold(device, value):
    with nothing_happens():
        grant = {"grant_type": "refresh_token", "refresh_token": value}
        refused = Client().post("/auth/token/", grant, content_type=JSON)
        assert refused.status_code == 400
        assert refused.json()["code"] == ("INVALID_TOKEN" if isinstance(value, str) else "INVALID_REQUEST")
        revoked = Client().post("/auth/revoke/", {"token": value}, content_type=JSON)
        assert revoked.status_code == (200 if isinstance(value, str) else 400)
        assert Client().post("/auth/logout/", {"refresh_token": value}, content_type=JSON).status_code == 204


@pytest.mark.parametrize("value", NASTY.values(), ids=NASTY)
def test_attack_device_name_that_no_database_can_hold(device, value):
    with nothing_happens(statements=2):
        response = device.http.patch(
            "/auth/sessions/current/", {"device_name": value}, content_type=JSON, headers=device.bearer
        )
        assert_refused(response, 400, "INVALID_REQUEST")


@pytest.mark.parametrize("name", ["\ud800", "\0", "", "a" * 50_000, "password\0", "EMAIL", "__class__"])
def test_attack_parameter_with_an_odd_name(device, name):
    with nothing_happens():
        response = Client().post("/auth/login/", {**good_bodies(device)["login"][1], name: 1}, content_type=JSON)
        assert_refused(response, 400, "INVALID_REQUEST")
        response = Client().post("/auth/token/", {name: 1}, content_type=JSON)
        assert_refused(response, 400, "INVALID_REQUEST")


@pytest.mark.parametrize("value", ["0", "-1", "1e400", "-1e400", "1" + "0" * 4000, "0.1", "true", "false"])
@pytest.mark.parametrize("name", ["email", "password"])
def test_attack_number_for_a_name_or_a_password(device, name, value):
    fields = {"email": device.user.email, "password": "wrong"}
    body = json.dumps({**fields, name: "@"}).replace('"@"', value)
    before = rows()
    response = Client().generic("POST", "/auth/login/", body, content_type=JSON)
    assert response.status_code in (400, 401)
    assert response.json()["code"] in ("INVALID_REQUEST", "INVALID_CREDENTIALS")
    assert rows() == before


@pytest.mark.parametrize(
    "user_agent", ["\0", "\xff", "a\0b/1", "\r\n", "x" * 100_000, "Mozilla/5.0 (" * 5000, "/", "é/1"]
)
def test_attack_user_agent_does_not_keep_anybody_from_signing_in(user, user_agent):
    device = Device(user, user_agent).sign_in()
    assert device.call().status_code == 200
    assert "\0" not in str(rows())


@pytest.mark.parametrize(
    "address", ["", "unknown", "999.1.1.1", "\0", "::1%eth0", "fe80::" + ":" * 99, "10.0.0.1, 10.0.0.2"]
)
def test_attack_address_does_not_keep_anybody_from_signing_in(user, address):
    body = {"email": user.email, "password": PASSWORD}
    assert Client(REMOTE_ADDR=address).post("/auth/login/", body, content_type=JSON).status_code == 200


@pytest.mark.parametrize("session_id", ["\0", "..", "current\0", "\U0001f984", "a" * 5000, "' OR 1=1", "{}", "%00"])
def test_attack_session_id_in_the_address(device, session_id):
    url = f"/auth/sessions/{quote(session_id, safe='')}/"
    for method in ("get", "delete", "patch"):
        response = getattr(device.http, method)(url, headers=device.bearer)
        assert response.status_code == 404
        assert response["Content-Type"] == "application/json"
    assert device.call().status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
def test_attack_method_that_is_not_taken(device, method):
    with nothing_happens():
        for endpoint in ENDPOINTS:
            response = Client().generic(method, f"/auth/{endpoint}/", b"{}", content_type=JSON)
            assert response.status_code == 405
            assert response["Content-Type"] == "application/json"
            assert "POST" in response["Allow"]


# Whatever else there is

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["refresh_token", "audience", "resource", "background", "scope"]) | st.text(max_size=5)
grants = st.sampled_from(["refresh_token", "client_credentials", ""]) | values
bounded = fuzz(
    max_examples=rounds(80),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(grant_type=grants, parameters=st.dictionaries(names, values, max_size=4))
@bounded
def test_fuzz_of_the_token_endpoint_is_refused(user, grant_type, parameters):
    body = json.dumps({**parameters, "grant_type": grant_type})
    with nothing_happens():
        response = Client().generic("POST", "/auth/token/", body, content_type=JSON)
        # A client that wants a token for itself has to say who it is (RFC 6749 §5.2).
        assert response.status_code == (401 if response.json()["error"] == "invalid_client" else 400)
        assert response.json().keys() >= {"error", "error_description", "code", "terminal"}


@given(
    endpoint=st.sampled_from(["login", "token", "revoke"]),
    content_type=st.sampled_from([JSON, FORM, "multipart/form-data; boundary=x", "text/plain", ""])
    | st.text(max_size=20),
    body=st.binary(max_size=200),
)
@bounded
def test_fuzz_of_bodies_is_refused(user, endpoint, content_type, body):
    content_type = content_type.encode("latin-1", "ignore").decode("latin-1").replace("\0", "")
    with nothing_happens():
        response = Client().generic("POST", f"/auth/{endpoint}/", body, content_type=content_type)
        assert response.status_code in (400, 415)
        assert response.json()["code"] == "INVALID_REQUEST"


@given(st.text(st.characters(max_codepoint=255), max_size=300))
@bounded
def test_fuzz_of_the_authorization_header_is_refused(user, text):
    with nothing_happens():
        response = Client().get(API, headers={"Authorization": f"Bearer {text}"})
        assert_refused(response, 401, "INVALID_TOKEN")


def test_after_all_this_a_genuine_token_still_works(device):
    assert access.decode(device.tokens["access_token"], device.user.date_joined + timedelta(seconds=60))
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200
