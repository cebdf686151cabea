"""The access token by itself: what is signed, which claims it must have, and when it is good."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as fuzz
from hypothesis import strategies as st

from jwt_sessions import sessions
from jwt_sessions.exceptions import ExpiredToken, InvalidToken
from jwt_sessions.tokens import access
from jwt_sessions.tokens.keys import ring
from tests.effort import rounds

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SID = "01890000-0000-7000-8000-00000000002a"


def good(**changes: Any) -> dict[str, Any]:
    """Claims that are good at NOW, with changes; a claim changed to ``...`` is left out."""
    issued = int(NOW.timestamp())
    claims = {
        "iss": "jwt-sessions",
        "sub": "1",
        "aud": "api",
        "exp": issued + 300,
        "iat": issued,
        "jti": "b64",
        "sid": SID,
        "auth_time": issued,
        "client_id": "api",
        "type": "user",
        "jwt_version": 0,
        "gen": 0,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def is_refused(token: str, now: datetime = NOW) -> bool:
    try:
        access.decode(token, now)
    except InvalidToken:
        return True
    return False


def test_claims_survive_the_trip():
    claims = good(tenantId="a", roles=["ä", "日本"], nested={"a": [1, None, True]})
    assert access.decode(access.encode(claims), NOW) == claims


def test_the_header_is_that_of_rfc_9068():
    header = jwt.get_unverified_header(access.encode(good()))
    assert header == {"alg": "ES256", "kid": ring().signer.kid, "typ": "at+jwt"}


def test_a_token_of_a_session_has_the_claims_of_the_contract(clock, device):
    claims = access.decode(device.tokens["access_token"], NOW)
    now = int(NOW.timestamp())
    assert claims.pop("jti")
    assert claims == {
        "amr": ["pwd"],
        "iss": "jwt-sessions",
        "sub": str(device.user.pk),
        "aud": "api",
        "exp": now + 300,
        "iat": now,
        "sid": device.tokens["session_id"],
        "auth_time": now,
        "client_id": "api",
        "type": "user",
        "jwt_version": 0,
        "gen": 0,
    }


def test_no_two_tokens_have_the_same_id():
    ids = {access.make_jti() for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(each) for each in ids} == {22}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), object(), b"bytes", {1, 2}, NOW])
def test_what_is_not_json_is_not_signed(value):
    with pytest.raises((TypeError, ValueError)):
        access.encode(good(value=value))


# Claims

REQUIRED = ("iss", "sub", "aud", "exp", "iat", "jti", "sid", "auth_time", "type", "jwt_version", "gen")
TEXTS, NUMBERS = ("iss", "sub", "jti", "sid", "type"), ("exp", "iat", "auth_time", "jwt_version", "gen")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_token_without_a_required_claim_is_refused(name):
    assert is_refused(access.encode(good(**{name: ...})))


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in TEXTS for value in (None, 1, True, "", [], ["user"], {}, {"a": "b"})]
    + [(name, value) for name in NUMBERS for value in (None, "1", "", True, 1.5, 10**12 + 0.5, [], [1], {})]
    + [("aud", value) for value in (None, 1, True, "", [], {}, {"api": 1}, [None], [1], [["api"]], [{}])]
    + [("nbf", value) for value in (None, "1", True, 1.5, [], {})],
)
def test_a_claim_of_the_wrong_type_is_refused(name, value):
    assert is_refused(access.encode(good(**{name: value})))


@pytest.mark.parametrize(
    "iss",
    [
        "jwt-session",
        "jwt-sessionss",
        "JWT-sessions",
        "jwt-sessions ",
        "jwt-sessions/",
        "jwt-sessions\0",
        "jwt‐sessions",
    ],
)
def test_a_near_miss_of_the_issuer_is_refused(iss):
    assert is_refused(access.encode(good(iss=iss)))


@pytest.mark.parametrize(
    "aud", ["ap", "apis", "API", "api ", " api", "api/", "api\0", "web", "аpi", ["API"], ["web", "app"]]
)
def test_a_near_miss_of_the_audience_is_refused(aud):
    assert is_refused(access.encode(good(aud=aud)))


@pytest.mark.parametrize("aud", ["api", "web", ["api"], ["other", "web"]])
def test_any_configured_audience_is_accepted(jwt_settings, aud):
    jwt_settings(AUDIENCES=["api", "web"])
    assert not is_refused(access.encode(good(aud=aud)))


@pytest.mark.parametrize("sid", ["current", "0", SID[:-1], SID + "0", SID.replace("-", "")[:-1] + "g", "\0" * 32])
def test_a_sid_that_is_no_id_is_refused(sid):
    assert is_refused(access.encode(good(sid=sid)))


@pytest.mark.parametrize("token_type", ["personal", "api", "User", "refresh"])
def test_a_token_of_another_type_is_refused(token_type):
    assert is_refused(access.encode(good(type=token_type)))


# Time


@pytest.mark.parametrize("leeway", [0, 10])
def test_a_token_expires_at_the_second_and_not_before(jwt_settings, leeway):
    jwt_settings(LEEWAY=timedelta(seconds=leeway))
    token = access.encode(good())
    ends = NOW + timedelta(seconds=300 + leeway)
    assert access.decode(token, ends - timedelta(microseconds=1))["jti"] == "b64"
    for late in (ends, ends + SECOND, ends + timedelta(days=36_500)):
        with pytest.raises(ExpiredToken):
            access.decode(token, late)
    assert access.decode(token, ends, check_expiry=False)["jti"] == "b64"


@pytest.mark.parametrize(
    ("claim", "leeway", "accepted"), [("iat", 0, 1), ("iat", 0.2, 1), ("iat", 10, 10), ("nbf", 0, 0), ("nbf", 10, 10)]
)
def test_a_token_is_good_from_its_second_on_and_not_before(jwt_settings, claim, leeway, accepted):
    jwt_settings(LEEWAY=timedelta(seconds=leeway))
    starts = int(NOW.timestamp()) + accepted + 1
    token = access.encode(good(**{claim: starts}))
    assert is_refused(token, NOW + SECOND - timedelta(milliseconds=1))
    assert not is_refused(token, NOW + SECOND)


@pytest.mark.parametrize("behind", [timedelta(milliseconds=1), SECOND])
@pytest.mark.parametrize("claims", [{}, {"nbf": int(NOW.timestamp())}])
def test_a_clock_a_little_behind_takes_a_fresh_token(behind, claims):
    assert not is_refused(access.encode(good(**claims)), NOW - behind)


def test_reading_an_expired_token_forgives_nothing_but_its_expiry():
    for claims in (good(iat=2**40), good(iss="other"), good(exp="1"), good(exp=...)):
        with pytest.raises(InvalidToken):
            access.decode(access.encode(claims), NOW, check_expiry=False)


@pytest.mark.parametrize("exp", [-(2**70), -1, 0, 1])
def test_a_time_before_all_times_is_past(exp):
    with pytest.raises(ExpiredToken):
        access.decode(access.encode(good(exp=exp)), NOW)


def test_a_time_after_all_times_is_no_accident():
    assert access.decode(access.encode(good(exp=10**400)), NOW)["exp"] == 10**400
    assert is_refused(access.encode(good(iat=10**400)))
    assert is_refused(access.encode(good(nbf=10**400)))


# Shape


@pytest.mark.parametrize("payload", [b"[]", b"null", b'"text"', b"1", b"", b"{", b"\xff", b"{}", b"NaN", b"[" * 9000])
def test_a_signed_payload_that_is_no_object_of_claims_is_refused(payload):
    signer = ring().signer
    token = jwt.PyJWS().encode(payload, signer.signing_key, "ES256", headers={"typ": "at+jwt", "kid": signer.kid})
    assert is_refused(token)


def test_every_truncation_is_refused():
    token = access.encode(good())
    for length in range(len(token)):
        assert is_refused(token[:length])
        assert is_refused(token[length + 1 :])


def test_every_flipped_bit_is_refused():
    token = access.encode(good())
    for position, character in enumerate(token):
        for bit in range(7):
            flipped = chr(ord(character) ^ 1 << bit)
            assert is_refused(token[:position] + flipped + token[position + 1 :])


def spellings_of_the_signature(token: str) -> dict[str, str]:
    """Strings that lenient base64 decoders read as the same signature."""
    head, _, signature = token.rpartition(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = alphabet[alphabet.index(signature[-1]) ^ 1]
    spellings = {
        "padded": signature + "==",
        "padded twice": signature + "====",
        "spare bits": signature[:-1] + spare,
        "junk inside": signature[:10] + "!!!!" + signature[10:],
        "line ends inside": signature[:10] + "\r\n\r\n" + signature[10:],
        "spaces behind": signature + "    ",
        "non-ASCII inside": signature[:10] + "éé" + signature[10:],
        "standard alphabet": "+/" + signature[2:],
    }
    return {name: f"{head}.{spelling}" for name, spelling in spellings.items()}


@pytest.mark.parametrize("name", spellings_of_the_signature("a.b.cdefghijklmn"))
def test_another_spelling_of_the_signature_is_refused(name):
    token = access.encode(good())
    assert not is_refused(token)
    assert is_refused(spellings_of_the_signature(token)[name])


def test_another_spelling_of_header_or_payload_is_refused():
    header, payload, signature = access.encode(good()).split(".")
    assert is_refused(f"{header}=.{payload}.{signature}")
    assert is_refused(f"{header}.{payload}=.{signature}")
    assert is_refused(f"{header}.{payload}\n.{signature}")
    assert is_refused(f"{header}.{payload}.{signature}.")
    assert is_refused(f".{header}.{payload}.{signature}")
    assert is_refused(f"{header}.{payload}.{signature}.{signature}.{signature}")
    assert is_refused(json.dumps({"protected": header, "payload": payload, "signature": signature}))


def test_a_token_longer_than_any_header_is_refused_unread(monkeypatch):
    seen = []
    monkeypatch.setattr(access, "_verified_payload", lambda token, *_: seen.append(token))
    assert is_refused("a" * 16385)
    assert seen == []


@given(st.one_of(st.text(max_size=200), st.lists(st.binary(max_size=60), min_size=3, max_size=3)))
@fuzz(max_examples=rounds(300), deadline=None)
def test_fuzz_whatever_is_no_token_is_refused(content):
    if not isinstance(content, str):
        content = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in content)
    assert is_refused(content)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from([*REQUIRED, "nbf"]), value=anything)
@fuzz(max_examples=rounds(300), deadline=None)
def test_fuzz_a_signed_claim_is_accepted_as_it_is_meant_or_refused(name, value):
    claims = good(**{name: value})
    try:
        decoded = access.decode(access.encode(claims), NOW)
    except (InvalidToken, ExpiredToken):
        return
    assert decoded == claims
    assert type(value) is (int if name in (*NUMBERS, "nbf") else str)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "zip"]), anything, max_size=6))
@fuzz(max_examples=rounds(200), deadline=None)
def test_fuzz_a_forged_header_is_refused(header):
    _, payload, signature = access.encode(good()).split(".")
    forged = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    assert is_refused(f"{forged}.{payload}.{signature}")


# What was verified once is remembered, and that fools nobody


def verified(token: str) -> int:
    """How many signatures a decoding costs."""
    before = access._verified_payload.cache_info().misses
    is_refused(token)
    return access._verified_payload.cache_info().misses - before


def test_a_token_is_verified_once():
    token = access.encode(good())
    assert [verified(token) for _ in range(3)] == [1, 0, 0]


def test_a_refusal_is_not_remembered():
    token = access.encode(good())[:-4] + "AAAA"
    assert [verified(token) for _ in range(2)] == [1, 1]


def test_a_remembered_token_still_expires():
    token = access.encode(good())
    access.decode(token, NOW)
    with pytest.raises(ExpiredToken):
        access.decode(token, NOW + timedelta(seconds=300))


@pytest.mark.parametrize(
    "change", [{"ISSUER": "https://id.example.com"}, {"AUDIENCES": ["web"]}, {"ALGORITHM": "EdDSA"}], ids=str
)
def test_a_remembered_token_bows_to_changed_settings(jwt_settings, change):
    token = access.encode(good())
    assert not is_refused(token)
    jwt_settings(**change)
    assert is_refused(token)


def test_a_remembered_token_bows_to_a_changed_key(settings):
    token = access.encode(good())
    assert not is_refused(token)
    settings.SECRET_KEY = "new"
    assert is_refused(token)


def test_a_remembered_token_lends_its_trust_to_no_other_spelling():
    token = access.encode(good())
    assert not is_refused(token)
    for spelling in spellings_of_the_signature(token).values():
        assert is_refused(spelling)


def test_each_reader_has_claims_of_its_own():
    token = access.encode(good(roles=["reader"]))
    access.decode(token, NOW)["roles"].append("admin")
    assert access.decode(token, NOW)["roles"] == ["reader"]


def test_the_claims_of_a_request_cannot_be_changed(device):
    _user, verified_token = sessions.authorize(device.tokens["access_token"])
    with pytest.raises(TypeError):
        verified_token.claims["gen"] = 7
    assert verified_token.claims["gen"] == 0


@pytest.mark.parametrize("claims", [{"softexp": "soon"}, {"softexp": 1.5}, {"tenantId": ["acme"]}, {"tenantId": 1}])
def test_a_claim_of_a_type_that_is_never_issued_is_refused(db, user, claims):
    now = timezone.now()
    genuine = access.decode(sessions.start(user).access_token, now)
    with pytest.raises(InvalidToken):
        access.decode(access.encode({**genuine, **claims}), now)
