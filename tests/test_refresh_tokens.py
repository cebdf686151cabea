"""The refresh token as a string: what it says about itself, what is stored of it, what is sealed under it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import settings as fuzz
from hypothesis import strategies as st

from jwt_sessions.exceptions import InvalidToken
from jwt_sessions.models import RefreshToken
from jwt_sessions.tokens import opaque as refresh
from jwt_sessions.tokens.keys import derived
from tests.effort import rounds

SESSION = UUID("01890000-0000-7000-8000-00000000002a")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.fixture
def token() -> refresh.OpaqueToken:
    return refresh.make(SESSION, 7)


def body(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.removeprefix("jsr_"))


def text_of(raw: bytes) -> str:
    return "jsr_" + base64.urlsafe_b64encode(raw).decode()


def tagged(signed: bytes, key: bytes | None = None) -> str:
    """What only this project can make: a tag over any content."""
    return text_of(signed + hmac.digest(key or derived("refresh-tag")[0], signed, "sha256")[:16])


def test_a_token_is_a_prefix_and_base64url_without_padding(token):
    assert token.text.startswith("jsr_")
    assert set(token.text.removeprefix("jsr_")) <= set(ALPHABET)
    assert len(token.text) == 96


def test_a_token_read_back_is_the_same(token):
    read = refresh.parse(token.text)
    assert read == token
    assert (read.session_id, read.generation) == (SESSION, 7)
    assert (read.text, read.digest) == (token.text, token.digest)


@given(session_id=st.uuids(), generation=st.integers(0, 2**31 - 1))
@fuzz(max_examples=rounds(100), deadline=None)
def test_any_session_and_generation_survive_the_trip(session_id, generation):
    made = refresh.make(session_id, generation)
    assert refresh.parse(made.text) == made


def test_each_token_has_256_random_bits_of_its_own():
    made = [refresh.make(SESSION, 0) for _ in range(200)]
    assert {len(token.secret) for token in made} == {32}
    assert len({token.secret for token in made}) == 200
    ones = sum(int.from_bytes(token.secret, "big").bit_count() for token in made)
    assert abs(ones - 25_600) < 6 * math.sqrt(200 * 256 / 4)


def test_the_repr_of_a_token_shows_no_secret(token):
    assert repr(token) == f"OpaqueToken(session_id={SESSION!r}, generation=7)"


# What is stored


def test_the_digest_is_sha256_of_all_but_the_tag(token):
    assert token.digest == hashlib.sha256(body(token.text)[:-16]).digest()
    assert len(token.digest) == 32


@pytest.mark.parametrize(
    "change",
    [{"session_id": uuid4()}, {"generation": 8}, {"secret": bytes(32)}],
    ids=["session", "generation", "secret"],
)
def test_the_digest_covers_every_part(token, change):
    assert replace(token, **change).digest != token.digest


def test_nothing_stored_holds_a_token_or_its_secret(device):
    first = device.tokens["refresh_token"]
    second = device.refresh().json()["refresh_token"]
    stored = b"".join(
        bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
        for row in RefreshToken.objects.values_list()
        for value in row
    )
    for text in (first, second):
        parsed = refresh.parse(text)
        assert parsed.digest in stored
        assert parsed.secret not in stored
        assert parsed.secret[:8] not in stored
        assert text.encode() not in stored


# What is sealed


def test_only_the_predecessor_unseals_its_successor(token):
    successor = refresh.make(SESSION, 8)
    sealed = token.seal(successor)
    assert successor.secret not in sealed
    assert token.unseal(sealed) == successor
    for other in (
        refresh.make(SESSION, 7),
        successor,
        replace(token, session_id=uuid4()),
        replace(token, generation=6),
        replace(token, generation=8),
    ):
        assert other.unseal(sealed) is None


def test_the_secret_key_unseals_nothing(token):
    sealed = token.seal(refresh.make(SESSION, 8))
    for purpose in ("refresh-tag", "auth-hash"):
        for key in derived(purpose):
            assert replace(token, secret=key).unseal(sealed) is None


def test_a_seal_that_was_tampered_with_is_not_opened(token):
    sealed = token.seal(refresh.make(SESSION, 8))
    for position in range(len(sealed)):
        tampered = bytearray(sealed)
        tampered[position] ^= 1
        assert token.unseal(bytes(tampered)) is None
    for length in range(len(sealed)):
        assert token.unseal(sealed[:length]) is None


# What is refused


def assert_refused(text: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        refresh.parse(text)
    assert str(caught.value) == "The token is invalid."


def test_every_truncation_is_refused(token):
    for length in range(len(token.text)):
        assert_refused(token.text[:length])


def test_every_flipped_bit_is_refused(token):
    raw = body(token.text)
    for bit in range(len(raw) * 8):
        tampered = bytearray(raw)
        tampered[bit // 8] ^= 1 << bit % 8
        assert_refused(text_of(bytes(tampered)))


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: text + "=",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text[:50] + "\n" + text[50:],
        lambda text: text[:50] + " " + text[51:],
        lambda text: text[:-1] + "=",
        lambda text: text[:-1] + "+",
        lambda text: text[:-1] + "é",
        lambda text: text[:-1] + "\ud800",
        lambda text: text[:-1] + "\0",
        lambda text: text.upper(),
        lambda text: "JSR_" + text[4:],
        lambda text: "jwt_" + text[4:],
        lambda text: text[4:],
        lambda text: text + text,
        lambda text: text * 20_000,
    ],
)
def test_another_spelling_is_refused(token, spell):
    assert_refused(spell(token.text))


def test_the_standard_alphabet_is_no_other_spelling():
    text = next(
        text for text in (refresh.make(SESSION, 0).text for _ in range(1000)) if "-" in text and "_" in text[4:]
    )
    assert_refused("jsr_" + text[4:].replace("-", "+").replace("_", "/"))


def test_a_token_tagged_with_any_other_key_is_refused(token):
    signed = body(token.text)[:-16]
    assert refresh.parse(tagged(signed)) == token
    for key in (b"\0" * 32, b"refresh-tag", *derived("auth-hash"), token.secret):
        assert_refused(tagged(signed, key))


@pytest.mark.parametrize("version", [0, 2, 255])
def test_a_genuine_tag_on_an_unknown_format_is_refused(token, version):
    signed = body(token.text)[:-16]
    assert_refused(tagged(bytes([version]) + signed[1:]))


@given(
    st.one_of(
        st.text(max_size=120),
        st.text(ALPHABET, min_size=92, max_size=92).map("jsr_".__add__),
        st.binary(min_size=69, max_size=69).map(text_of),
    )
)
@fuzz(max_examples=rounds(300), deadline=None)
def test_fuzz_whatever_was_not_made_here_is_refused(text):
    assert_refused(text)


@pytest.mark.parametrize(
    ("text", "looks"),
    [("jsr_", True), ("jsr_anything", True), ("JSR_x", False), ("eyJhbGciOi.e30.x", False), ("", False)],
)
def test_the_kinds_of_token_look_different(text, looks):
    assert refresh.looks_like_refresh_token(text) is looks


# The tag follows SECRET_KEY, the digest does not


def test_a_changed_secret_key_tags_the_same_token_anew(settings, token):
    old_text, old_key = token.text, settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["older", old_key]
    read = refresh.parse(old_text)
    assert read == token
    assert read.text != old_text
    assert read.digest == token.digest
    assert body(read.text)[:-16] == body(old_text)[:-16]
    settings.SECRET_KEY_FALLBACKS = []
    assert refresh.parse(read.text) == token
    assert_refused(old_text)


def test_a_token_is_handed_back_under_the_current_key(settings, device, jwt_settings):
    jwt_settings(ROTATE_REFRESH_TOKENS=False)
    old = device.tokens["refresh_token"]
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
    renewed = device.refresh().json()["refresh_token"]
    assert renewed != old
    assert refresh.parse(renewed) == refresh.parse(old)
    settings.SECRET_KEY_FALLBACKS = []
    assert device.refresh(old).status_code == 400
    assert device.refresh(renewed).status_code == 200


def test_a_replay_across_a_change_of_the_secret_key_gets_the_same_successor(settings, device, jwt_settings):
    jwt_settings(REUSE_GRACE_PERIOD=timedelta(minutes=5))
    first = device.tokens["refresh_token"]
    second = device.refresh().json()["refresh_token"]
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
    again = device.refresh(first).json()["refresh_token"]
    assert again != second
    assert refresh.parse(again) == refresh.parse(second)


def test_tokens_of_another_project_are_unknown_here(settings, device):
    with_our_key = device.tokens["refresh_token"]
    settings.SECRET_KEY = "of another project"
    response = device.refresh(with_our_key)
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_TOKEN")
