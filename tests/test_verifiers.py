"""Libraries of other services verify access tokens by what ``jwks.json`` serves."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from authlib.oauth2.rfc6750 import InvalidTokenError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from authlib.oauth2.rfc9068.claims import JWTAccessTokenClaims
from django.urls import reverse
from joserfc import jwt as joserfc_jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import KeySet
from jwt.algorithms import OKPAlgorithm

from jwt_sessions.tokens import material
from tests.clients import Device

# joserfc advises every caller to use the newer name, "Ed25519".
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")

ISSUER = "https://id.example.com"
ALGORITHMS = ["ES256", "RS256", "EdDSA", "Ed25519"]


@pytest.fixture(params=ALGORITHMS)
def algorithm(request, jwt_settings) -> str:
    """The server signs with this algorithm, and publishes a key of each other kind too."""
    first, *others = [request.param, *(name for name in ("ES256", "RS256", "EdDSA") if name != request.param)]
    signing_keys = [material.generate(name, 2048) for name in (first, *others)]
    jwt_settings(ISSUER=ISSUER, ALGORITHM=first, SIGNING_KEYS=signing_keys)
    return first


@pytest.fixture
def token(algorithm, user) -> str:
    return Device(user).sign_in().tokens["access_token"]


@pytest.fixture
def served(algorithm, client) -> dict[str, list[dict[str, str]]]:
    return client.get(reverse("jwt_sessions:jwks")).json()


def forged(token: str) -> str:
    """The token with another subject under the same signature."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) | {"sub": "0"}
    other = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{header}.{other}.{signature}"


def read_with_pyjwt(token: str, served: dict, algorithm: str) -> dict:
    key = jwt.PyJWKSet.from_dict(served)[jwt.get_unverified_header(token)["kid"]]
    reader = jwt.PyJWT()
    if algorithm == "Ed25519":
        # PyJWT knows the algorithm by its older name only.
        reader._jws.register_algorithm("Ed25519", OKPAlgorithm())
        key = key.key
    return reader.decode(token, key, algorithms=[algorithm], audience="api", issuer=ISSUER)


def test_pyjwt(token, served, algorithm, user):
    assert len(jwt.PyJWKSet.from_dict(served).keys) == len(served["keys"])
    assert read_with_pyjwt(token, served, algorithm)["sub"] == str(user.pk)
    with pytest.raises(jwt.InvalidSignatureError):
        read_with_pyjwt(forged(token), served, algorithm)


def test_joserfc(token, served, algorithm, user):
    keys = KeySet.import_key_set(served)
    read = joserfc_jwt.decode(token, keys, algorithms=[algorithm])
    assert (read.claims["sub"], read.header["typ"]) == (str(user.pk), "at+jwt")
    rules = {"iss": {"essential": True, "value": ISSUER}, "aud": {"essential": True, "value": "api"}}
    joserfc_jwt.JWTClaimsRegistry(**rules, exp={"essential": True}).validate(read.claims)
    with pytest.raises(BadSignatureError):
        joserfc_jwt.decode(forged(token), keys, algorithms=[algorithm])


class ResourceServer(JWTBearerTokenValidator):
    """Authlib's validator of the access tokens of RFC 9068, as its documentation asks to complete it."""

    def __init__(self, served: dict, audience: str = "api") -> None:
        super().__init__(issuer=ISSUER, resource_server=audience)
        self.served = served

    def get_jwks(self) -> KeySet:
        return KeySet.import_key_set(self.served)


class EdwardsResourceServer(ResourceServer):
    """The same for Ed25519, which Authlib's validator leaves out: its one line that names no algorithm, with one."""

    def authenticate_token(self, token_string: str) -> JWTAccessTokenClaims:
        try:
            read = joserfc_jwt.decode(token_string, self.get_jwks(), algorithms=["EdDSA", "Ed25519"])
        except JoseError:
            raise InvalidTokenError from None
        required = {name: {"essential": True} for name in ("exp", "iat", "sub", "jti", "client_id")}
        values = {"iss": self.issuer, "aud": self.resource_server}
        expected = {name: {"essential": True, "value": value} for name, value in values.items()}
        return JWTAccessTokenClaims(read.claims, read.header, required | expected)


def test_authlib(token, served, algorithm, user):
    server_class = ResourceServer if algorithm in ("ES256", "RS256") else EdwardsResourceServer
    server = server_class(served)
    claims = server.authenticate_token(token)
    server.validate_token(claims, [], None)
    assert claims["sub"] == str(user.pk)
    with pytest.raises(InvalidTokenError):
        server.authenticate_token(forged(token))
    elsewhere = server_class(served, audience="https://other.example.com")
    with pytest.raises(InvalidTokenError):
        elsewhere.validate_token(elsewhere.authenticate_token(token), [], None)


def test_attack_a_token_under_another_key_of_the_set_is_refused(token, served, algorithm):
    header, payload, signature = token.split(".")
    named = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    others = [key["kid"] for key in served["keys"] if key["kid"] != named["kid"]]
    assert len(others) >= 2
    for kid in others:
        other = base64.urlsafe_b64encode(json.dumps(named | {"kid": kid}).encode()).rstrip(b"=").decode()
        crossed = f"{other}.{payload}.{signature}"
        with pytest.raises((jwt.PyJWTError, TypeError)):
            read_with_pyjwt(crossed, served, algorithm)
        with pytest.raises(JoseError):
            joserfc_jwt.decode(crossed, KeySet.import_key_set(served), algorithms=[algorithm])


def test_no_library_finds_a_secret_in_the_set(jwt_settings, client):
    secret = material.generate("HS256")
    jwt_settings(ALGORITHM="HS256", SIGNING_KEYS=[secret, material.generate("ES256")])
    response = client.get(reverse("jwt_sessions:jwks"))
    keys = KeySet.import_key_set(response.json()).keys
    assert [(key.key_type, key.is_private) for key in keys] == [("EC", False)]
    assert secret.encode() not in response.content
