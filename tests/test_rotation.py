"""Refresh-token rotation, rule by rule, at both sides of each boundary."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core.management import call_command
from django.db import DatabaseError

from example_project.accounts.models import User
from jwt_sessions import sessions, signals
from jwt_sessions.exceptions import InvalidToken, IssueDenied, IssueFailed, JWTSessionsError, SessionEnded
from jwt_sessions.models import RefreshToken, Session
from jwt_sessions.tokens import opaque
from jwt_sessions.types import TokenPair
from tests.clients import Device
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

START = datetime(2027, 1, 4, 9, tzinfo=UTC)
GRACE = timedelta(seconds=30)
WINDOW = timedelta(hours=24)
LIFETIME = timedelta(days=7)
TICK = timedelta(microseconds=1)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def first(user) -> TokenPair:
    """The pair of a fresh sign-in."""
    return sessions.start(user)


def rotated(pair: TokenPair, times: int = 1) -> list[TokenPair]:
    """The pairs of so many rotations, each begun when the predecessor is out of grace."""
    pairs = []
    for _ in range(times):
        pair = sessions.refresh(pair.refresh_token)
        pairs.append(pair)
        if len(pairs) < times:
            use_by_access_token(pair)
            Session.objects.filter(pk=pair.session.pk).update(first_used_at=datetime.now(UTC) - GRACE)
    return pairs


def use_by_access_token(pair: TokenPair) -> None:
    sessions.authorize(pair.access_token)


def use_by_refresh_token(pair: TokenPair) -> None:
    sessions.refresh(pair.refresh_token)


def stored(pair: TokenPair) -> Session:
    return Session.objects.get(pk=pair.session.pk)


def everything(pair: TokenPair) -> list[dict]:
    """All that is stored about a session."""
    tokens = RefreshToken.objects.filter(session_id=pair.session.pk).order_by("generation")
    rows = [*Session.objects.filter(pk=pair.session.pk).values(), *tokens.values()]
    return [{name: bytes(v) if isinstance(v, memoryview) else v for name, v in row.items()} for row in rows]


def assert_reuse(refresh_token: str, pair: TokenPair) -> None:
    """The token is refused as reused, and its session is over with all its tokens."""
    with pytest.raises(InvalidToken):
        sessions.refresh(refresh_token)
    assert stored(pair).end_reason == "token_reuse"
    with pytest.raises(SessionEnded, match="token_reuse"):
        sessions.authorize(pair.access_token)


# Rule 1: R(g) rotates to R(g+1)


def test_a_refresh_rotates_and_stores_one_row_more(first, clock):
    clock.shift(10)
    second = sessions.refresh(first.refresh_token)
    assert second.rotated
    assert second.refresh_token != first.refresh_token
    assert stored(first).generation == second.session.generation == 1
    old, new = RefreshToken.objects.order_by("generation")
    assert (old.generation, old.last_used_at, old.revoked_at) == (0, second.session.last_active_at, new.created_at)
    assert (new.generation, new.last_used_at, new.revoked_at) == (1, None, None)


def test_the_successor_is_sealed_under_its_predecessor_and_wiped_when_replaced(first):
    second, third = rotated(first, 2)
    assert [row.content is None for row in RefreshToken.objects.order_by("generation")] == [True, True, False]
    sealed = bytes(RefreshToken.objects.get(generation=2).content)
    assert opaque.parse(second.refresh_token).unseal(sealed) == opaque.parse(third.refresh_token)
    assert opaque.parse(first.refresh_token).unseal(sealed) is None


# Rule 2: R(g-1) is honoured for a while


@pytest.mark.parametrize("use", [use_by_access_token, use_by_refresh_token])
@pytest.mark.parametrize("rotations", [1, 3])
def test_the_previous_token_is_honoured_until_the_grace_after_first_use(first, clock, use, rotations):
    previous, current = [first, *rotated(first, rotations)][-2:]
    clock.shift(100)
    use(current)
    clock.shift(GRACE - TICK)
    again = sessions.refresh(previous.refresh_token)
    assert again.refresh_token == current.refresh_token
    assert (again.rotated, stored(first).generation) == (False, rotations)
    clock.shift(TICK)
    assert_reuse(previous.refresh_token, again)


def test_only_the_first_use_counts(first, clock):
    (second,) = rotated(first)
    use_by_access_token(second)
    clock.shift(GRACE - TICK)
    use_by_access_token(second)
    use_by_refresh_token(second)
    clock.shift(TICK)
    assert_reuse(first.refresh_token, second)


def test_a_replay_of_the_previous_token_is_no_use_of_the_current_one(first, clock):
    rotated(first)
    sessions.refresh(first.refresh_token)
    clock.shift(WINDOW - TICK)
    assert not sessions.refresh(first.refresh_token).rotated


def test_an_access_token_of_the_previous_generation_is_no_use_of_the_current_one(first, clock):
    (second,) = rotated(first)
    use_by_access_token(first)
    clock.shift(GRACE)
    assert sessions.refresh(first.refresh_token).refresh_token == second.refresh_token


def test_the_access_token_of_a_replay_counts_as_use_of_the_current_one(first, clock):
    rotated(first)
    replay = sessions.refresh(first.refresh_token)
    use_by_access_token(replay)
    clock.shift(GRACE)
    assert_reuse(first.refresh_token, replay)


def test_a_lost_answer_is_repeated_until_the_window_closes(first, clock):
    (lost,) = rotated(first)
    clock.shift(WINDOW - TICK)
    again = sessions.refresh(first.refresh_token)
    assert again.refresh_token == lost.refresh_token
    clock.shift(TICK)
    assert_reuse(first.refresh_token, again)


def test_a_first_use_at_the_end_of_the_window_still_gives_the_grace(first, clock):
    rotated(first)
    clock.shift(WINDOW - TICK)
    again = sessions.refresh(first.refresh_token)
    use_by_access_token(again)
    clock.shift(GRACE - TICK)
    assert sessions.refresh(first.refresh_token).refresh_token == again.refresh_token
    clock.shift(TICK)
    assert_reuse(first.refresh_token, again)


def test_a_first_use_after_the_window_does_not_open_it_again(first, clock):
    rotated(first)
    clock.shift(WINDOW - TICK)
    again = sessions.refresh(first.refresh_token)
    clock.shift(TICK)
    use_by_access_token(again)
    assert_reuse(first.refresh_token, again)


# Rule 3: while R(g-1) is honoured, R(g) is not rotated


def test_the_current_token_stays_while_the_previous_is_honoured(first, clock):
    (second,) = rotated(first)
    for wait in (timedelta(0), GRACE - TICK):
        clock.shift(wait)
        again = sessions.refresh(second.refresh_token)
        assert (again.refresh_token, again.rotated) == (second.refresh_token, False)
        assert again.access_token != second.access_token
        assert stored(first).generation == 1
    clock.shift(TICK)
    assert sessions.refresh(second.refresh_token).session.generation == 2


def test_the_current_token_rotates_once_the_window_has_closed_unused(first, clock):
    (second,) = rotated(first)
    clock.shift(WINDOW)
    assert sessions.refresh(second.refresh_token).rotated


def test_tabs_and_a_phone_that_lost_the_answer_converge_on_one_token(first, clock):
    answers = [sessions.refresh(first.refresh_token) for _ in range(5)]
    assert len({answer.refresh_token for answer in answers}) == 1
    clock.shift(GRACE - TICK)
    use_by_access_token(answers[0])
    assert sessions.refresh(answers[3].refresh_token).refresh_token == answers[0].refresh_token
    assert RefreshToken.objects.count() == 2


# Rule 4: anything older is reuse


@pytest.mark.parametrize("generation", [0, 1, 2])
@pytest.mark.parametrize("wait", [timedelta(0), GRACE, WINDOW])
def test_attack_replaying_an_older_generation_ends_the_session(first, clock, generation, wait):
    pairs = [first, *rotated(first, 4)]
    clock.shift(wait)
    with pytest.raises(InvalidToken):
        sessions.refresh(pairs[generation].refresh_token)
    assert stored(first).end_reason == "token_reuse"
    for pair in pairs:
        with pytest.raises((InvalidToken, SessionEnded)):
            sessions.refresh(pair.refresh_token)


def test_reuse_is_told_once(first, caplog):
    rotated(first, 2)
    told = []
    receivers = {
        signals.session_ended: lambda reason, **kwargs: told.append(reason.value),
        signals.refresh_token_reused: lambda generation, **kwargs: told.append(generation),
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver)
    try:
        for _ in range(2):
            with pytest.raises(InvalidToken):
                sessions.refresh(first.refresh_token)
    finally:
        for signal, receiver in receivers.items():
            signal.disconnect(receiver)
    assert told == ["token_reuse", 0]
    assert [record.levelname for record in caplog.records if "reused" in record.getMessage()] == ["WARNING"]


def test_attack_signing_out_with_an_old_token_is_reuse_too(user, device):
    old = device.tokens["refresh_token"]
    device.refresh()
    Session.objects.update(first_used_at=START - GRACE)
    assert Device(user).post("logout", {"refresh_token": old}).status_code == 204
    assert Session.objects.get().end_reason == "token_reuse"


def test_reuse_is_recognised_after_the_row_was_purged(first):
    last = rotated(first, 3)[-1]
    call_command("purge_expired_tokens", verbosity=0)
    assert sorted(RefreshToken.objects.values_list("generation", flat=True)) == [2, 3]
    assert_reuse(first.refresh_token, last)


# Rule 5: strict single use


def test_with_both_settings_zero_a_token_is_good_once(first, jwt_settings):
    jwt_settings(REUSE_GRACE_PERIOD=timedelta(0), LOST_RESPONSE_WINDOW=timedelta(0))
    second = sessions.refresh(first.refresh_token)
    third = sessions.refresh(second.refresh_token)
    assert [pair.session.generation for pair in (second, third)] == [1, 2]
    assert_reuse(second.refresh_token, third)


# Rule 8: SESSION_CHECK "none"


@pytest.mark.parametrize("access_token_used", [True, False])
def test_without_session_check_the_window_shrinks_to_the_grace(first, clock, jwt_settings, access_token_used):
    jwt_settings(SESSION_CHECK="none")
    (second,) = rotated(first)
    if access_token_used:
        use_by_access_token(second)
    clock.shift(GRACE - TICK)
    assert sessions.refresh(first.refresh_token).refresh_token == second.refresh_token
    clock.shift(TICK)
    with pytest.raises(InvalidToken):
        sessions.refresh(first.refresh_token)
    assert stored(first).end_reason == "token_reuse"


# Rule 9: what was refused leaves the token unused


def deny(draft, **kwargs):
    raise IssueDenied("Not today.")


def break_down(draft, **kwargs):
    raise RuntimeError("a bug of the project")


def write_a_novel(draft, **kwargs):
    draft.claims["novel"] = "x" * 5000


def claim_to_be_somebody_else(draft, **kwargs):
    draft.claims["sub"] = "1"


@pytest.mark.parametrize(
    ("receiver", "error"),
    [
        (deny, IssueDenied),
        (break_down, IssueFailed),
        (write_a_novel, IssueFailed),
        (claim_to_be_somebody_else, IssueFailed),
    ],
)
@pytest.mark.parametrize("standing", ["current", "previous", "kept"])
def test_a_refused_issue_leaves_the_token_as_it_was(first, clock, receiver, error, standing):
    presented = first.refresh_token
    if standing != "current":
        (second,) = rotated(first)
        presented = first.refresh_token if standing == "previous" else second.refresh_token
    clock.shift(120)
    before = everything(first)
    signals.pre_issue.connect(receiver)
    try:
        with pytest.raises(error):
            sessions.refresh(presented)
    finally:
        signals.pre_issue.disconnect(receiver)
    assert everything(first) == before
    assert sessions.refresh(presented).rotated == (standing == "current")


@pytest.mark.parametrize("method", ["supersede", "store"])
def test_a_database_error_on_the_way_leaves_the_token_as_it_was(first, clock, monkeypatch, method):
    def fail(*args, **kwargs):
        raise DatabaseError("the server went away")

    clock.shift(120)
    before = everything(first)
    with monkeypatch.context() as broken:
        broken.setattr(type(RefreshToken.objects.all()), method, fail)
        with pytest.raises(DatabaseError):
            sessions.refresh(first.refresh_token)
    assert everything(first) == before
    assert sessions.refresh(first.refresh_token).rotated


# Rotation off, background, lifetime


def test_without_rotation_the_same_token_serves_again_and_again(first, clock, jwt_settings):
    jwt_settings(ROTATE_REFRESH_TOKENS=False)
    for _ in range(3):
        clock.shift(3600)
        again = sessions.refresh(first.refresh_token)
        assert (again.refresh_token, again.rotated, again.session.generation) == (first.refresh_token, False, 0)
        use_by_access_token(again)
    row = RefreshToken.objects.get()
    assert (row.last_used_at, row.revoked_at) == (START + timedelta(hours=3), None)
    clock.move_to(START + LIFETIME - TICK)
    sessions.refresh(first.refresh_token)
    clock.shift(TICK)
    with pytest.raises(SessionEnded, match="expired"):
        sessions.refresh(first.refresh_token)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("rotates", [True, False])
def test_a_background_refresh_is_no_sign_of_the_user(first, clock, jwt_settings, background, rotates):
    jwt_settings(ROTATE_REFRESH_TOKENS=rotates)
    clock.shift(3600)
    assert sessions.refresh(first.refresh_token, background=background).rotated == rotates
    assert stored(first).last_active_at == (START if background else START + timedelta(hours=1))


def test_background_refreshes_do_not_keep_an_idle_session_alive(first, clock, jwt_settings):
    jwt_settings(IDLE_TIMEOUT=timedelta(minutes=30))
    clock.shift(timedelta(minutes=30) - TICK)
    second = sessions.refresh(first.refresh_token, background=True)
    clock.shift(TICK)
    with pytest.raises(SessionEnded, match="idle_timeout"):
        sessions.refresh(second.refresh_token)


def test_the_refresh_lifetime_runs_from_each_issue(first, clock):
    clock.shift(LIFETIME - TICK)
    second = sessions.refresh(first.refresh_token)
    assert second.session_expires_at == START + 2 * LIFETIME - TICK
    clock.shift(LIFETIME)
    with pytest.raises(SessionEnded, match="expired"):
        sessions.refresh(second.refresh_token)


def test_a_refresh_lifetime_of_none_never_ends(user, clock, jwt_settings):
    jwt_settings(REFRESH_TOKEN_LIFETIME=None, MAX_SESSION_LIFETIME=None)
    pair = sessions.start(user)
    clock.shift(timedelta(days=3650))
    pair = sessions.refresh(pair.refresh_token)
    assert (pair.rotated, pair.session_expires_at) == (True, None)


# A new SECRET_KEY


OLD_KEY, NEW_KEY = (
    "an old secret key of fifty characters or more, really",
    "a new secret key of fifty characters or more",
)


@pytest.fixture
def key_is_replaced(settings):
    """Three moments of a change of SECRET_KEY."""
    settings.SECRET_KEY = OLD_KEY

    def with_fallback():
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW_KEY, [OLD_KEY]

    def without_fallback():
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW_KEY, []

    return with_fallback, without_fallback


def test_a_session_that_was_refreshed_in_between_outlives_the_fallbacks(key_is_replaced, user):
    with_fallback, without_fallback = key_is_replaced
    first = sessions.start(user)
    with_fallback()
    use_by_access_token(first)
    second = sessions.refresh(first.refresh_token)
    without_fallback()
    use_by_access_token(second)
    assert sessions.refresh(second.refresh_token).refresh_token == second.refresh_token
    with pytest.raises(InvalidToken):
        sessions.refresh(first.refresh_token)
    assert stored(first).ended_at is None


def test_a_replay_across_the_change_is_answered_with_the_same_token(key_is_replaced, user):
    with_fallback, without_fallback = key_is_replaced
    first = sessions.start(user)
    (lost,) = rotated(first)
    with_fallback()
    replays = [sessions.refresh(first.refresh_token) for _ in range(2)]
    assert replays[0].refresh_token == replays[1].refresh_token
    assert opaque.parse(replays[0].refresh_token) == opaque.parse(lost.refresh_token)
    without_fallback()
    use_by_access_token(replays[1])
    assert sessions.refresh(replays[0].refresh_token).refresh_token == replays[0].refresh_token


@pytest.mark.parametrize("rotates", [True, False])
def test_a_token_that_is_not_rotated_is_carried_over_too(key_is_replaced, user, jwt_settings, rotates):
    with_fallback, without_fallback = key_is_replaced
    jwt_settings(ROTATE_REFRESH_TOKENS=rotates)
    pair = sessions.start(user)
    if rotates:
        (pair,) = rotated(pair)
    with_fallback()
    carried = sessions.refresh(pair.refresh_token)
    assert not carried.rotated
    without_fallback()
    use_by_access_token(carried)
    sessions.refresh(carried.refresh_token)
    with pytest.raises(InvalidToken):
        sessions.refresh(pair.refresh_token)
    assert stored(pair).ended_at is None


def test_a_session_that_slept_through_the_change_cannot_refresh(key_is_replaced, user):
    pair = sessions.start(user)
    key_is_replaced[1]()
    with pytest.raises(InvalidToken):
        sessions.refresh(pair.refresh_token)


def test_attack_reuse_is_caught_across_the_change(key_is_replaced, user):
    first = sessions.start(user)
    rotated(first, 2)
    key_is_replaced[0]()
    with pytest.raises(InvalidToken):
        sessions.refresh(first.refresh_token)
    assert stored(first).end_reason == "token_reuse"


# What never ends a session, and what nobody learns


def forged_with_another_key(pair, settings) -> str:
    token, key = opaque.parse(pair.refresh_token), settings.SECRET_KEY
    settings.SECRET_KEY = "the key of somebody else, of fifty characters or more"
    text = token.text
    settings.SECRET_KEY = key
    return text


def with_one_bit_flipped(pair, settings) -> str:
    raw = bytearray(base64.urlsafe_b64decode(pair.refresh_token[4:]))
    raw[-1] ^= 1
    return "jsr_" + base64.urlsafe_b64encode(raw).decode()


def of_an_earlier_generation_with_a_guessed_tag(pair, settings) -> str:
    token = opaque.parse(pair.refresh_token)
    public = token._public[:-4] + bytes(4)
    return "jsr_" + base64.urlsafe_b64encode(public + secrets.token_bytes(48)).decode()


def of_a_generation_to_come(pair, settings) -> str:
    return opaque.make(pair.session.pk, 99).text


def of_the_same_generation_but_another_secret(pair, settings) -> str:
    return opaque.make(pair.session.pk, pair.session.generation).text


@pytest.mark.parametrize(
    "make",
    [
        forged_with_another_key,
        with_one_bit_flipped,
        of_an_earlier_generation_with_a_guessed_tag,
        of_a_generation_to_come,
        of_the_same_generation_but_another_secret,
    ],
)
def test_attack_a_forged_token_never_ends_a_session(first, settings, make):
    (second,) = rotated(first)
    before = everything(first)
    with pytest.raises(InvalidToken):
        sessions.refresh(make(second, settings))
    assert everything(first) == before


def test_a_token_whose_row_was_deleted_is_unknown(first):
    RefreshToken.objects.all().delete()
    with pytest.raises(InvalidToken):
        sessions.refresh(first.refresh_token)
    assert stored(first).ended_at is None


def test_the_previous_token_cannot_be_answered_once_the_current_row_was_deleted(first):
    (second,) = rotated(first)
    RefreshToken.objects.filter(generation=1).delete()
    for pair in (second, first):
        with pytest.raises(InvalidToken):
            sessions.refresh(pair.refresh_token)


def test_a_token_of_a_deleted_user_is_unknown(first, user):
    user.delete()
    assert not Session.objects.exists()
    assert not RefreshToken.objects.exists()
    with pytest.raises(InvalidToken):
        sessions.refresh(first.refresh_token)


def test_unknown_forged_reused_and_orphaned_tokens_get_one_answer(user, settings):
    device, other = Device(user), UserFactory()
    orphaned = sessions.start(other).refresh_token
    other.delete()
    pair = sessions.start(user)
    rotated(pair, 2)
    unknown, forged = opaque.make(pair.session.pk, 99).text, forged_with_another_key(pair, settings)
    presented = [orphaned, unknown, forged, pair.refresh_token, pair.refresh_token, "jsr_", "garbage"]
    answers = [device.refresh(token) for token in presented]
    assert {answer.status_code for answer in answers} == {400}
    assert {answer.content for answer in answers} == {answers[0].content}
    assert {tuple(sorted(answer.headers.items())) for answer in answers} == {tuple(sorted(answers[0].headers.items()))}
    assert answers[0].json()["error"] == "invalid_grant"
    assert (answers[0].json()["code"], answers[0].json()["terminal"]) == ("INVALID_TOKEN", True)


def test_the_current_token_of_an_ended_session_is_told_the_reason(first):
    (second,) = rotated(first)
    sessions.end(first.session, reason="logout")
    with pytest.raises(SessionEnded, match="logout"):
        sessions.refresh(second.refresh_token)
    with pytest.raises(InvalidToken):
        sessions.refresh(first.refresh_token)


@pytest.mark.parametrize(
    ("reason", "die"),
    [
        ("expired", lambda user, clock: clock.shift(LIFETIME)),
        ("password_changed", lambda user, clock: user.set_password("another") or user.save()),
        ("user_inactive", lambda user, clock: User.objects.update(is_active=False)),
        ("version_raised", lambda user, clock: sessions.raise_version(user)),
        ("ended_by_admin", lambda user, clock: sessions.end_all(user, reason="ended_by_admin")),
    ],
)
def test_a_refresh_after_the_end_is_refused_and_the_end_is_stored(first, user, clock, reason, die):
    die(user, clock)
    for _ in range(2):
        with pytest.raises(JWTSessionsError) as refused:
            sessions.refresh(first.refresh_token)
        assert refused.value.reason == reason
    assert stored(first).end_reason == reason
    assert stored(first).generation == 0


def test_attack_a_predecessor_is_not_honoured_past_its_own_lifetime(clock, jwt_settings, user):
    jwt_settings(REFRESH_TOKEN_LIFETIME=timedelta(hours=2))
    first = sessions.start(user).refresh_token
    clock.shift(timedelta(hours=1, minutes=59))
    second = sessions.refresh(first)
    clock.shift(timedelta(seconds=59))
    assert sessions.refresh(first).refresh_token == second.refresh_token
    clock.shift(timedelta(seconds=1))
    with pytest.raises(InvalidToken):
        sessions.refresh(first)
