"""Keys: which signs, which verify, how they are named, and that none is ever quoted."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from functools import cache

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse
from django.utils import timezone

from jwt_sessions.checks import check_settings
from jwt_sessions.exceptions import InvalidToken
from jwt_sessions.tokens import access, keys
from jwt_sessions.tokens.material import generate
from tests.clients import Device
from tests.pems import private_pem, public_pem

# RFC 7638 §3.1 and RFC 8037 §A.2 with §A.3: a public key and its thumbprint.
RFC_7638_KEY = {
    "kty": "RSA",
    "e": "AQAB",
    "n": (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3o"
        "knjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu"
        "6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8aw"
        "apJzKnqDKgw"
    ),
}
RFC_7638_THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
RFC_8037_KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
RFC_8037_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"

SECRET = "a secret that HMAC can use: 32 bytes and some more"


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def pems(rsa_key) -> dict[str, str]:
    """A private key for each algorithm that takes one."""
    edwards = private_pem(ed25519.Ed25519PrivateKey.generate())
    p256 = private_pem(ec.generate_private_key(ec.SECP256R1()))
    return {"ES256": p256, "RS256": private_pem(rsa_key), "EdDSA": edwards, "Ed25519": edwards}


@pytest.fixture
def claims() -> dict[str, object]:
    now = int(timezone.now().timestamp())
    return {
        "iss": "jwt-sessions",
        "aud": "api",
        "sub": "1",
        "jti": "1",
        "sid": "01890000-0000-7000-8000-000000000000",
        "iat": now,
        "exp": now + 60,
        "auth_time": now,
        "type": "user",
        "jwt_version": 0,
        "gen": 0,
    }


def published() -> list[dict[str, str]]:
    return keys.ring().jwks["keys"]


# Derived from SECRET_KEY


def test_the_default_is_a_p256_key_that_follows_from_the_secret_key(settings):
    settings.SECRET_KEY = "one"
    one = keys.ring().signer
    assert one.algorithm == "ES256"
    assert isinstance(one.signing_key.curve, ec.SECP256R1)
    settings.SECRET_KEY = "two"
    assert keys.ring().signer.kid != one.kid
    keys._ring.cache_clear()
    settings.SECRET_KEY = "one"
    assert keys.ring().signer.kid == one.kid


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "Ed25519", "HS256"])
def test_rotating_the_secret_key_rotates_the_signing_key(settings, jwt_settings, claims, algorithm):
    jwt_settings(ALGORITHM=algorithm)
    settings.SECRET_KEY = "old"
    token, old_kid = access.encode(claims), keys.ring().signer.kid
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["old", "older"]
    assert keys.ring().signer.kid != old_kid
    assert list(keys.ring().by_kid)[1] == old_kid
    assert access.decode(token, timezone.now()) == claims
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(InvalidToken):
        access.decode(token, timezone.now())


def test_a_signed_in_device_does_not_notice_a_rotation_of_the_secret_key(settings, device):
    before = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [before]
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200
    settings.SECRET_KEY_FALLBACKS = []
    assert device.call().status_code == 200
    assert device.refresh().status_code == 200


def test_no_two_derived_keys_are_alike(settings, jwt_settings):
    settings.SECRET_KEY_FALLBACKS = ["other"]
    kids = []
    for algorithm in ("ES256", "EdDSA", "HS256"):
        jwt_settings(ALGORITHM=algorithm)
        kids += keys.ring().by_kid
    assert len(set(kids)) == 6
    assert len({*keys.derived("refresh-tag"), *keys.derived("auth-hash")}) == 4


def test_a_secret_key_may_be_bytes(settings):
    settings.SECRET_KEY = "secret"
    kid = keys.ring().signer.kid
    settings.SECRET_KEY = b"secret"
    assert keys.ring().signer.kid == kid


def test_no_rsa_key_is_derived(jwt_settings):
    jwt_settings(ALGORITHM="RS256")
    with pytest.raises(ImproperlyConfigured, match="RS256 needs a key in SIGNING_KEYS"):
        keys.ring()


# Given in SIGNING_KEYS


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA", "Ed25519"])
def test_a_key_may_be_a_pem_or_a_path_or_a_pem_on_one_line(jwt_settings, pems, tmp_path, algorithm):
    pem = pems[algorithm]
    path = tmp_path / "key.pem"
    path.write_text(pem)
    kids = set()
    for spelling in (pem, str(path), pem.replace("\n", "\\n")):
        jwt_settings(ALGORITHM=algorithm, SIGNING_KEYS=[spelling])
        kids.add(keys.ring().signer.kid)
        assert keys.ring().signer.algorithm == algorithm
    assert len(kids) == 1


@pytest.mark.parametrize("given", [False, True], ids=["derived", "given"])
@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_another_library_verifies_tokens_by_the_published_keys(jwt_settings, pems, user, client, algorithm, given):
    if algorithm == "RS256" or given:
        jwt_settings(ALGORITHM=algorithm, SIGNING_KEYS=[pems[algorithm]])
    else:
        jwt_settings(ALGORITHM=algorithm)
    device = Device(user).sign_in()
    assert device.call().status_code == 200
    token = device.tokens["access_token"]
    header = jwt.get_unverified_header(token)
    assert set(header) == {"alg", "kid", "typ"}
    assert (header["alg"], header["typ"]) == (algorithm, "at+jwt")
    key = jwt.PyJWKSet.from_dict(client.get(reverse("jwt_sessions:jwks")).json())[header["kid"]]
    claims = jwt.decode(token, key, algorithms=[algorithm], audience="api", issuer="jwt-sessions")
    assert claims["sub"] == str(user.pk)


@pytest.mark.parametrize(("signs", "reads"), [("EdDSA", "Ed25519"), ("Ed25519", "EdDSA")])
def test_the_two_names_of_ed25519_are_one_algorithm(jwt_settings, pems, claims, signs, reads):
    jwt_settings(ALGORITHM=signs, SIGNING_KEYS=[pems["EdDSA"]])
    token = access.encode(claims)
    assert jwt.get_unverified_header(token)["alg"] == signs
    before = published()
    jwt_settings(ALGORITHM=reads)
    # Verifiers that go by "alg" would refuse one of the two, or not know it.
    assert "alg" not in before[0]
    assert published() == before
    assert access.decode(token, timezone.now()) == claims


def test_the_first_key_signs_and_the_others_verify(jwt_settings, pems, rsa_key, claims):
    jwt_settings(ALGORITHM="RS256", SIGNING_KEYS=[pems["RS256"]])
    token = access.encode(claims)
    others = [public_pem(rsa_key.public_key()), pems["EdDSA"]]
    jwt_settings(ALGORITHM="ES256", SIGNING_KEYS=[pems["ES256"], *others])
    assert [key.get("alg", key.get("crv")) for key in published()] == ["ES256", "RS256", "Ed25519"]
    assert keys.ring().signer.algorithm == "ES256"
    assert access.decode(token, timezone.now()) == claims
    jwt_settings(SIGNING_KEYS=[pems["ES256"]])
    with pytest.raises(InvalidToken):
        access.decode(token, timezone.now())


def test_a_key_accepts_no_algorithm_but_its_own(jwt_settings, pems):
    jwt_settings(ALGORITHM="HS256", SIGNING_KEYS=[SECRET, pems["ES256"], pems["RS256"], pems["EdDSA"]])
    accepted = [key.accepted for key in keys.ring().by_kid.values()]
    assert accepted == [("HS256",), ("ES256",), ("RS256",), ("EdDSA", "Ed25519")]


def test_signing_keys_replace_the_derived_ones(settings, jwt_settings, pems, claims):
    token = access.encode(claims)
    jwt_settings(SIGNING_KEYS=[pems["ES256"]])
    with pytest.raises(InvalidToken):
        access.decode(token, timezone.now())
    kid = keys.ring().signer.kid
    settings.SECRET_KEY = "other"
    assert keys.ring().signer.kid == kid


# Symmetric keys


def test_a_symmetric_key_is_never_published(jwt_settings, pems, claims, client):
    jwt_settings(ALGORITHM="HS256")
    assert client.get(reverse("jwt_sessions:jwks")).json() == {"keys": []}
    jwt_settings(SIGNING_KEYS=[SECRET, pems["ES256"]])
    assert [key["kty"] for key in client.get(reverse("jwt_sessions:jwks")).json()["keys"]] == ["EC"]
    assert access.decode(access.encode(claims), timezone.now()) == claims


def test_a_symmetric_secret_may_be_a_text_or_a_path(jwt_settings, tmp_path, claims):
    path = tmp_path / "secret"
    path.write_text(SECRET)
    jwt_settings(ALGORITHM="HS256", SIGNING_KEYS=[SECRET])
    token = access.encode(claims)
    assert jwt.decode(token, SECRET, algorithms=["HS256"], audience="api")["sub"] == "1"
    jwt_settings(SIGNING_KEYS=[str(path)])
    assert access.decode(token, timezone.now()) == claims


def test_the_kid_of_a_symmetric_key_is_no_plain_hash_of_it(jwt_settings):
    jwt_settings(ALGORITHM="HS256", SIGNING_KEYS=[SECRET])
    encoded = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
    plain = {thumbprint({"k": encoded, "kty": "oct"}), base64url(hashlib.sha256(SECRET.encode()).digest())}
    assert keys.ring().signer.kid not in plain


def test_a_path_that_cannot_be_read_never_becomes_the_secret(jwt_settings, tmp_path):
    missing, folder, binary = tmp_path / "missing-key-file", tmp_path / "folder", tmp_path / "binary"
    folder.mkdir()
    binary.write_bytes(b"\xff" * 32)
    for path in (missing, folder, binary):
        assert len(str(path)) >= 32
        jwt_settings(ALGORITHM="HS256", SIGNING_KEYS=[str(path)])
        with pytest.raises(ImproperlyConfigured, match="readable file"):
            keys.ring()


@pytest.mark.parametrize(
    "path",
    [
        "secrets/production/jwt-signing-key",
        "secrets-of-the-production-server-jwt.key",
        "..\\secrets\\production\\jwt-signing-key",
        "~/secrets-of-the-production-server",
        "file:///run/secrets/jwt-signing-key",
    ],
)
def test_attack_the_path_of_a_secret_that_is_not_there_as_the_secret(jwt_settings, monkeypatch, tmp_path, claims, path):
    monkeypatch.chdir(tmp_path)
    forged = jwt.encode(claims, path, "HS256", headers={"typ": "at+jwt", "kid": keys._symmetric_key(path.encode()).kid})
    for given in ([path], [SECRET, path]):
        jwt_settings(ALGORITHM="HS256", SIGNING_KEYS=given)
        with pytest.raises(ImproperlyConfigured, match=r"SIGNING_KEYS\[.\] looks like a path"):
            access.encode(claims)
        with pytest.raises(ImproperlyConfigured, match="looks like a path"):
            access.decode(forged, timezone.now())
        assert "jwt_sessions.E043" in [message.id for message in check_settings(None)]


def test_a_secret_of_this_package_never_looks_like_a_path(jwt_settings):
    for _ in range(200):
        jwt_settings(ALGORITHM="HS256", SIGNING_KEYS=[generate("HS256")])
        assert keys.ring().signer.algorithm == "HS256"


# Names


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638 §3, written out again."""
    members = {"RSA": "e kty n", "EC": "crv kty x y", "OKP": "crv kty x", "oct": "k kty"}[jwk["kty"]].split()
    canonical = "{" + ",".join(f'"{name}":"{jwk[name]}"' for name in members) + "}"
    return base64url(hashlib.sha256(canonical.encode()).digest())


@pytest.mark.parametrize(
    ("algorithm", "jwk", "expected"),
    [
        (jwt.algorithms.RSAAlgorithm, RFC_7638_KEY, RFC_7638_THUMBPRINT),
        (jwt.algorithms.OKPAlgorithm, RFC_8037_KEY, RFC_8037_THUMBPRINT),
    ],
    ids=["RFC 7638", "RFC 8037"],
)
def test_keys_are_named_by_the_thumbprints_of_the_rfcs(jwt_settings, pems, algorithm, jwk, expected):
    jwt_settings(SIGNING_KEYS=[pems["ES256"], public_pem(algorithm.from_jwk(jwk))])
    assert published()[1]["kid"] == expected
    assert published()[1].items() >= jwk.items()


def test_every_published_key_has_its_thumbprint_for_a_name_and_no_private_member(jwt_settings, pems):
    jwt_settings(SIGNING_KEYS=[pems["ES256"], pems["RS256"], pems["EdDSA"]])
    for jwk in published():
        assert jwk["kid"] == thumbprint(jwk)
        assert jwk["use"] == "sig"
        assert set(jwk) <= {"kid", "alg", "use", "kty", "crv", "x", "y", "n", "e"}
    assert [jwk["kid"] for jwk in published()] == list(keys.ring().by_kid)


# What is no key


GARBAGE = "-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n"


@cache
def material(name: str) -> str:
    """What a name in the table below stands for; any other name stands for itself."""
    match name:
        case "p256":
            return private_pem(ec.generate_private_key(ec.SECP256R1()))
        case "p256, encrypted":
            return private_pem(ec.generate_private_key(ec.SECP256R1()), b"password")
        case "p256, public":
            return public_pem(ec.generate_private_key(ec.SECP256R1()).public_key())
        case "p384":
            return private_pem(ec.generate_private_key(ec.SECP384R1()))
        case "x25519":
            return private_pem(x25519.X25519PrivateKey.generate())
        case "ed25519":
            return private_pem(ed25519.Ed25519PrivateKey.generate())
        case "short rsa":
            return private_pem(rsa.generate_private_key(65537, 1024))
    return name


@pytest.mark.parametrize(
    ("algorithm", "entries", "message"),
    [
        ("ES256", ["p256, public"], "SIGNING_KEYS[0] signs"),
        ("ES256", ["ed25519"], "SIGNING_KEYS[0] is not a key for ES256"),
        ("Ed25519", ["p256"], "SIGNING_KEYS[0] is not a key for Ed25519"),
        ("ES256", ["p256", GARBAGE], "SIGNING_KEYS[1] is not a readable, unencrypted PEM key"),
        ("ES256", [GARBAGE.replace("PRIVATE", "PUBLIC")], "SIGNING_KEYS[0] is not a readable, unencrypted PEM key"),
        ("ES256", ["p256, encrypted"], "SIGNING_KEYS[0] is not a readable, unencrypted PEM key"),
        ("RS256", ["short rsa"], "An RSA key in SIGNING_KEYS has fewer than 2048 bits"),
        ("ES256", ["p384"], "not supported"),
        ("ES256", ["x25519"], "not supported"),
        ("ES256", ["/nowhere/CANARY.pem"], "SIGNING_KEYS[0] is neither"),
        ("ES256", ["CANARY\0"], "SIGNING_KEYS[0] is neither"),
        ("ES256", ["CANARY" * 1000], "SIGNING_KEYS[0] is neither"),
        ("HS256", ["CANARY"], "SIGNING_KEYS[0] is shorter than 32 bytes"),
        ("HS256", ["p256"], "SIGNING_KEYS[0] is a PEM"),
        ("HS256", ["p256, public"], "SIGNING_KEYS[0] is a PEM"),
    ],
)
def test_a_bad_key_is_named_and_not_quoted(jwt_settings, algorithm, entries, message):
    signing_keys = [material(entry) for entry in entries]
    jwt_settings(ALGORITHM=algorithm, SIGNING_KEYS=signing_keys)
    with pytest.raises(ImproperlyConfigured) as caught:
        keys.ring()
    assert message in str(caught.value)
    assert "CANARY" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert not any(line in str(caught.value) for line in signing_keys[-1].split("\n")[1:-2])


def test_no_repr_shows_a_key(jwt_settings, pems):
    for algorithm, signing_keys in (("HS256", [SECRET]), ("RS256", [pems["RS256"]]), ("ES256", [])):
        jwt_settings(ALGORITHM=algorithm, SIGNING_KEYS=signing_keys)
        shown = repr(keys.ring()) + repr(keys.ring().signer)
        assert keys.ring().signer.kid in shown
        assert SECRET not in shown
        assert "object at" not in shown


# The price


def test_keys_are_parsed_once_and_not_per_request(jwt_settings, pems, user, monkeypatch):
    parsed = []

    def counting(*args, **kwargs):
        parsed.append(args)
        return serialization.load_pem_private_key(*args, **kwargs)

    monkeypatch.setattr(keys, "load_pem_private_key", counting)
    keys._ring.cache_clear()
    jwt_settings(ALGORITHM="RS256", SIGNING_KEYS=[pems["RS256"]], ACCESS_TOKEN_LIFETIME=timedelta(minutes=1))
    for _ in range(3):
        device = Device(user).sign_in()
        assert device.call().status_code == 200
        assert device.refresh().status_code == 200
        jwt_settings(REUSE_GRACE_PERIOD=timedelta(seconds=5))
    assert len(parsed) == 1


def test_the_same_keys_are_derived_once(monkeypatch):
    derived = []
    original = keys._hkdf

    def counting(*args):
        derived.append(args)
        return original(*args)

    keys._ring.cache_clear()
    monkeypatch.setattr(keys, "_hkdf", counting)
    assert keys.ring() is keys.ring()
    assert len(derived) == 1
