"""Races: what happens in between, and real threads on the real database."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.signals import user_login_failed
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from example_project.accounts.models import User
from jwt_sessions import credentials, sessions, signals
from jwt_sessions.exceptions import InvalidToken
from jwt_sessions.models import RefreshToken, RevokedSession, Session, TokenVersion
from jwt_sessions.models.session import SessionQuerySet
from jwt_sessions.sessions import purge
from jwt_sessions.types import TokenPair
from tests.clients import Device
from tests.crowd import Crowd, refused
from tests.effort import rounds
from tests.factories import PASSWORD, UserFactory
from tests.services import Service

NOTHING = timedelta(0)


class StrongerHasher(MD5PasswordHasher):
    """Another algorithm, so that Django hashes anew at login."""

    algorithm = "stronger"


def assert_dead(*pairs: TokenPair) -> None:
    """No token of these works, neither as access nor as refresh token."""
    for pair in pairs:
        assert refused(lambda pair=pair: sessions.authorize(pair.access_token))
        assert refused(lambda pair=pair: sessions.refresh(pair.refresh_token))


# In between: pre_issue is asked after the session was read and before it is written


@contextmanager
def meanwhile(act: Callable[[], Any]) -> Iterator[None]:
    """Let something happen, once, in the middle of the next refresh."""

    def receiver(draft, **kwargs):
        signals.pre_issue.disconnect(receiver)
        act()

    signals.pre_issue.connect(receiver)
    try:
        yield
    finally:
        assert not signals.pre_issue.disconnect(receiver), "nothing happened meanwhile"


def change_password(user: User) -> None:
    user.set_password("another " + PASSWORD)
    user.save()


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


def deactivate_in_bulk(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


ENDS = {
    "logout": lambda user: sessions.end(Session.objects.get(user=user), reason="logout"),
    "ended_by_admin": lambda user: sessions.end_all(user, reason="ended_by_admin"),
    "version_raised": sessions.raise_version,
    "password_changed": change_password,
    "user_inactive": deactivate,
    "user_inactive in bulk": deactivate_in_bulk,
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("standing", ["current", "previous", "kept"])
def test_a_refresh_that_loses_to_an_end_yields_nothing_that_works(user, end, standing):
    first = second = sessions.start(user)
    presented = first.refresh_token
    if standing != "current":
        second = sessions.refresh(first.refresh_token)
        presented = first.refresh_token if standing == "previous" else second.refresh_token
    pairs = [first, second]
    with meanwhile(lambda: ENDS[end](user)):
        refused(lambda: pairs.append(sessions.refresh(presented)))
    assert_dead(*pairs)
    assert Session.objects.get().end_reason == end.split()[0]


@pytest.mark.parametrize("owner_too", [True, False])
def test_a_refresh_that_loses_to_a_deletion_finds_nothing(user, owner_too):
    pair = sessions.start(user)
    with meanwhile(user.delete if owner_too else Session.objects.all().delete), pytest.raises(InvalidToken):
        sessions.refresh(pair.refresh_token)
    assert not RefreshToken.objects.exists()


def test_a_refresh_that_loses_to_another_answers_with_its_token(user):
    pair, answers = sessions.start(user), []
    with meanwhile(lambda: answers.append(sessions.refresh(pair.refresh_token))):
        answers.append(sessions.refresh(pair.refresh_token))
    assert [answer.rotated for answer in answers] == [True, False]
    assert answers[0].refresh_token == answers[1].refresh_token
    assert RefreshToken.objects.count() == 2


def test_a_refresh_does_not_undo_a_silent_rehash(user, settings):
    pair = sessions.start(user)

    def rehash():
        settings.PASSWORD_HASHERS = ["tests.test_races.StrongerHasher", *settings.PASSWORD_HASHERS]
        assert User.objects.get().check_password(PASSWORD)
        assert User.objects.get().password.startswith("stronger")

    with meanwhile(rehash):
        second = sessions.refresh(pair.refresh_token)
    sessions.authorize(second.access_token)


def test_a_background_refresh_does_not_undo_activity(user):
    pair = sessions.start(user)
    before = timezone.now() - timedelta(hours=1)
    Session.objects.update(last_active_at=before)
    with meanwhile(lambda: sessions.authorize(pair.access_token)):
        assert sessions.refresh(pair.refresh_token, background=True).rotated
    assert Session.objects.get().last_active_at > before


def test_a_first_use_is_of_the_generation_it_was_seen_in(user):
    first = sessions.start(user)
    second = sessions.refresh(first.refresh_token)
    Session.objects.update(first_used_at=timezone.now() - timedelta(hours=1))
    sessions.refresh(second.refresh_token)
    assert Session.objects.mark_used(second.session.pk, 1, timezone.now()) == 0
    assert Session.objects.get().first_used_at is None


@pytest.mark.django_db(transaction=True)
def test_a_sign_in_whose_commit_is_done_and_not_answered_stores_one_session(monkeypatch):
    user, commit = UserFactory(), connection._commit

    def lost():
        monkeypatch.undo()
        commit()
        raise OperationalError("server closed the connection unexpectedly")

    other = sessions.start(user)
    monkeypatch.setattr(connection, "_commit", lost)
    pair = sessions.start(user, replace_others=True)
    assert connection._commit == commit, "nothing was lost"
    assert Session.objects.count() == 2
    assert Session.objects.get(pk=other.session.pk).end_reason == "replaced"
    assert sessions.refresh(pair.refresh_token).session.pk == pair.session.pk


# Threads


def post(path: str, **data: str) -> Any:
    return Client(raise_request_exception=False).post(f"/auth/{path}/", data, content_type="application/json")


def refresh_over_http(token: str) -> Any:
    return post("token", grant_type="refresh_token", refresh_token=token)


def _isolation_levels() -> dict[str, dict[str, Any]]:
    if connection.vendor == "postgresql":
        from psycopg import IsolationLevel

        levels = {"repeatable read": IsolationLevel.REPEATABLE_READ, "serializable": IsolationLevel.SERIALIZABLE}
        return {name: {"isolation_level": level} for name, level in levels.items()}
    return {name: {"isolation_level": name} for name in ("repeatable read", "serializable")}


# What people set in OPTIONS. The plainest SQLite has neither write-ahead logging nor IMMEDIATE transactions.
CONFIGURATIONS: dict[str, dict[str, Any] | None] = {
    "as configured": None,
    **({"plain": {}} if connection.vendor == "sqlite" else _isolation_levels()),
}


@pytest.fixture(params=CONFIGURATIONS)
def configured(request, transactional_db):
    """The database, configured in each way that people do."""
    options, before = CONFIGURATIONS[request.param], connection.settings_dict["OPTIONS"]
    if options is not None:
        connection.close()
        connection.settings_dict["OPTIONS"] = options
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA journal_mode = DELETE")
    yield
    connection.close()
    connection.settings_dict["OPTIONS"] = before


def test_fifty_threads_that_refresh_one_token_converge(configured):
    token = sessions.start(UserFactory()).refresh_token
    generations = rounds(5 if "isolation_level" in connection.settings_dict["OPTIONS"] else 20)
    with Crowd(50) as crowd:
        for generation in range(1, generations + 1):
            answers = crowd(lambda token=token: refresh_over_http(token))
            assert Counter(answer.status_code for answer in answers) == {200: 50}
            (token,) = {answer.json()["refresh_token"] for answer in answers}
            assert Session.objects.get().generation == generation
            assert RefreshToken.objects.count() == generation + 1
            Session.objects.update(first_used_at=timezone.now() - timedelta(minutes=1))


def test_attack_fifty_threads_on_a_token_for_single_use(configured, jwt_settings):
    jwt_settings(REUSE_GRACE_PERIOD=NOTHING, LOST_RESPONSE_WINDOW=NOTHING)
    with Crowd(50) as crowd, heard(signals.session_ended) as ended, heard(signals.refresh_token_reused) as reused:
        for number in range(1, rounds(3) + 1):
            pair = sessions.start(UserFactory())
            answers = crowd(lambda pair=pair: refresh_over_http(pair.refresh_token))
            winners = [answer.json() for answer in answers if answer.status_code == 200]
            assert len(winners) == 1
            losers = [answer.json()["code"] for answer in answers if answer.status_code == 400]
            assert losers == ["INVALID_TOKEN"] * 49
            session = Session.objects.get(pk=pair.session.pk)
            assert (session.end_reason, session.generation) == ("token_reuse", 1)
            assert refresh_over_http(winners[0]["refresh_token"]).json()["code"] == "SESSION_ENDED"
            assert refused(lambda token=winners[0]["access_token"]: sessions.authorize(token))
            assert (len(ended), len(reused)) == (number, number)


@contextmanager
def heard(signal: Any) -> Iterator[list[Any]]:
    """Which sessions a signal has told about."""
    told: list[Any] = []

    def receiver(session, **kwargs):
        told.append(session.pk)

    signal.connect(receiver)
    try:
        yield told
    finally:
        signal.disconnect(receiver)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("with_token", ["access_token", "refresh_token"])
def test_after_a_refresh_that_races_a_logout_no_token_works(with_token):
    user = UserFactory()
    with Crowd(2) as crowd:
        for _ in range(rounds(100)):
            pair = sessions.start(user)

            def sign_out(pair=pair):
                if with_token == "refresh_token":
                    return post("logout", refresh_token=pair.refresh_token)
                bearer = {"Authorization": f"Bearer {pair.access_token}"}
                return Client(raise_request_exception=False).post("/auth/logout/", headers=bearer)

            answer, goodbye = crowd(lambda pair=pair: refresh_over_http(pair.refresh_token), sign_out)
            assert goodbye.status_code == 204
            assert answer.status_code in (200, 400)
            assert Session.objects.get(pk=pair.session.pk).end_reason == "logout"
            assert_dead(pair)
            if answer.status_code == 200:
                tokens = answer.json()
                assert refused(lambda tokens=tokens: sessions.authorize(tokens["access_token"]))
                assert refused(lambda tokens=tokens: sessions.refresh(tokens["refresh_token"]))


@pytest.mark.parametrize("end", ["ended_by_admin", "version_raised", "password_changed", "user_inactive"])
def test_after_a_refresh_that_races_an_end_no_token_works(configured, end):
    with Crowd(2) as crowd:
        for _ in range(rounds(10)):
            user = UserFactory()
            pair = sessions.start(user)
            pairs = [pair]
            crowd(
                lambda pair=pair, pairs=pairs: refused(lambda: pairs.append(sessions.refresh(pair.refresh_token))),
                lambda user=user: ENDS[end](user),
            )
            assert_dead(*pairs)
            assert Session.objects.get(user=user).end_reason == end


def test_of_racing_ends_one_counts_and_one_signal_is_sent(configured):
    user = UserFactory()
    with Crowd(8) as crowd, heard(signals.session_ended) as told:
        for number in range(1, 11):
            pair = sessions.start(user)
            assert sum(crowd(lambda pair=pair: sessions.end(pair.session, reason="logout"))) == 1
            assert len(told) == number
        pairs = [sessions.start(user) for _ in range(5)]
        assert sum(crowd(lambda: sessions.end_all(user, reason="ended_by_user"))) == 5
        assert sorted(told[-5:]) == sorted(pair.session.pk for pair in pairs)
        assert len(told) == 15


def test_of_racing_raises_of_the_version_each_counts(configured):
    user = UserFactory()
    with Crowd(8) as crowd:
        for number in range(1, 6):
            crowd(lambda: sessions.raise_version(user))
            assert TokenVersion.objects.get().jwt_version == 8 * number


def test_requests_and_refreshes_of_one_session_do_not_disturb_each_other(configured, jwt_settings):
    jwt_settings(ACTIVITY_RESOLUTION=NOTHING)
    pair = sessions.start(UserFactory())
    with Crowd(8) as crowd:
        for generation in range(1, rounds(10) + 1):
            call, refresh = (
                lambda pair=pair: (
                    Client(raise_request_exception=False)
                    .get("/api/me/", headers={"Authorization": f"Bearer {pair.access_token}"})
                    .status_code
                ),
                lambda pair=pair: sessions.refresh(pair.refresh_token),
            )
            *answers, pair = crowd(*[call] * 4, *[refresh] * 4)
            assert answers[:4] == [200] * 4
            assert Session.objects.get().generation == generation
            Session.objects.update(first_used_at=timezone.now() - timedelta(minutes=1))


@pytest.mark.parametrize("number_of_purges", [1, 3])
def test_purges_beside_living_traffic_disturb_nobody(configured, number_of_purges):
    user = UserFactory()
    tokens = [sessions.start(user).refresh_token for _ in range(4)]
    calls = 5

    def live(token):
        for _ in range(calls):
            pair = sessions.refresh(token)
            Session.objects.filter(pk=pair.session.pk).update(first_used_at=timezone.now() - timedelta(minutes=1))
            sessions.end(sessions.start(user).session, reason="logout")
            token = pair.refresh_token
        return token

    def clean():
        return sum([list(purge(batch_size=3))[-1].sessions for _ in range(calls)])

    with Crowd(4 + number_of_purges) as crowd:
        *tokens, last = crowd(*(lambda token=token: live(token) for token in tokens), *[clean] * number_of_purges)[
            : 4 + 1
        ]
        assert last >= 0
    list(purge())
    assert Session.objects.count() == 4
    assert Counter(RefreshToken.objects.values_list("generation", flat=True)) == {calls - 1: 4, calls: 4}
    for token in tokens:
        assert sessions.refresh(token).session.generation == calls + 1


@pytest.mark.django_db(transaction=True)
def test_attack_parallel_guesses_meet_the_same_limit(monkeypatch, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="5/min")
    user, looked_at = UserFactory(), []
    verify = MD5PasswordHasher.verify

    def counted(self, password, encoded):
        looked_at.append(password)
        return verify(self, password, encoded)

    monkeypatch.setattr(MD5PasswordHasher, "verify", counted)
    with Crowd(20) as crowd:
        for _ in range(3):
            answers = crowd(lambda: post("login", email=user.email, password="a guess"))
            assert {answer.status_code for answer in answers} <= {401, 429}
    assert len(looked_at) == 5
    assert 1 <= int(answers[0]["Retry-After"]) <= 60


@pytest.fixture
def slow_hasher(monkeypatch):
    """As slow as a password hash of production, so that sign-ins are under way at the same time."""
    verify = MD5PasswordHasher.verify

    def slowly(self, password, encoded):
        time.sleep(0.1)
        return verify(self, password, encoded)

    monkeypatch.setattr(MD5PasswordHasher, "verify", slowly)


@pytest.mark.django_db(transaction=True)
def test_right_passwords_sent_at_once_are_never_throttled(slow_hasher, jwt_settings):
    jwt_settings(LOGIN_THROTTLE="4/min")
    users = [UserFactory() for _ in range(12)]
    same = [users[0]] * 12
    with Crowd(24) as crowd:
        answers = crowd(
            *(lambda user=user: post("login", email=user.email, password=PASSWORD) for user in users + same)
        )
    assert Counter(answer.status_code for answer in answers) == {200: 24}


@pytest.mark.django_db(transaction=True)
def test_attack_guesses_that_fail_slowly_meet_the_same_limit(slow_hasher, jwt_settings):
    """The right one of many guesses at once must not win because it is answered before the others have failed."""
    jwt_settings(LOGIN_THROTTLE="3/min")
    user = UserFactory()

    def dawdle(sender, **kwargs):
        time.sleep(0.2)

    user_login_failed.connect(dawdle)
    try:
        with Crowd(12) as crowd:
            guesses = [f"guess {number}" for number in range(12)]
            answers = crowd(*(lambda guess=guess: post("login", email=user.email, password=guess) for guess in guesses))
    finally:
        user_login_failed.disconnect(dawdle)
    assert Counter(answer.status_code for answer in answers) == {401: 3, 429: 9}
    assert post("login", email=user.email, password=PASSWORD).status_code == 429


def test_racing_sign_ins_of_one_user_within_a_limit_all_succeed_and_leave_no_orphan(configured, jwt_settings):
    jwt_settings(MAX_CONCURRENT_SESSIONS=3)
    with Crowd(20) as crowd:
        for _ in range(rounds(10)):
            user = UserFactory()
            answers = crowd(lambda user=user: post("login", email=user.email, password=PASSWORD))
            assert Counter(answer.status_code for answer in answers) == {200: 20}
            told = {answer.json()["session_id"] for answer in answers}
            assert told == {str(pk) for pk in Session.objects.filter(user=user).values_list("pk", flat=True)}
            assert Session.objects.filter(user=user, ended_at=None).count() == 3


# Credentials


def test_exchanges_of_one_credential_at_once_all_succeed(configured, jwt_settings):
    jwt_settings(ACTIVITY_RESOLUTION=NOTHING)
    service = Service(user=UserFactory())
    with Crowd(8) as crowd:
        for _ in range(5):
            answers = crowd(lambda: post("token", grant_type="client_credentials", **service.body))
            assert [answer.status_code for answer in answers] == [200] * 8
            tokens = {answer.json()["access_token"] for answer in answers}
            assert len(tokens) == 8
            for token in tokens:
                assert str(sessions.authorize(token)[0].pk) == str(service.credential.user_id)
    assert service.credential.last_used_at is not None


def test_after_an_exchange_that_races_a_revocation_no_token_works(configured, jwt_settings):
    jwt_settings(LOGIN_THROTTLE=None)
    with Crowd(4) as crowd:
        for _ in range(rounds(10)):
            service = Service()
            tokens = [service.exchanged().access_token]
            credential = service.credential

            def exchange(service=service, tokens=tokens):
                answer = post("token", grant_type="client_credentials", **service.body)
                tokens.extend([answer.json()["access_token"]] if answer.status_code == 200 else [])
                return answer.status_code

            *statuses, revoked = crowd(*[exchange] * 3, lambda row=credential: credentials.revoke_credential(row))
            assert revoked is True
            assert set(statuses) <= {200, 401}
            for token in tokens:
                assert refused(lambda token=token: sessions.authorize(token))


def test_of_racing_revocations_one_is_told(configured):
    with Crowd(8) as crowd:
        for _ in range(5):
            credential = Service().credential
            assert sum(crowd(lambda row=credential: credentials.revoke_credential(row))) == 1


def test_racing_ends_note_a_session_once(configured):
    user = UserFactory()
    with Crowd(8) as crowd:
        for _ in range(3):
            started = [sessions.start(user).session.pk for _ in range(3)]
            crowd(lambda: sessions.end_all(user, reason="logout"))
            noted = RevokedSession.objects.since(timezone.now() - timedelta(minutes=1))
            assert set(started) <= set(noted)
            assert len(noted) == len(set(noted))


# ATOMIC_REQUESTS


@pytest.fixture
def atomic_requests(transactional_db):
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    yield
    connection.settings_dict["ATOMIC_REQUESTS"] = False


@pytest.mark.parametrize("door", ["token", "logout", "revoke"])
def test_the_end_by_reuse_is_stored_also_under_atomic_requests(atomic_requests, door):
    user = UserFactory()
    device = Device(user).sign_in()
    old = device.tokens["refresh_token"]
    device.refresh()
    Session.objects.update(first_used_at=timezone.now() - timedelta(minutes=1))
    parameters = {"token": {"grant_type": "refresh_token", "refresh_token": old}, "revoke": {"token": old}}
    answer = Device(user).post(door, parameters.get(door, {"refresh_token": old}))
    assert answer.status_code == {"token": 400, "logout": 204, "revoke": 200}[door]
    assert Session.objects.get().end_reason == "token_reuse"
    assert device.call().json()["reason"] == "token_reuse"


def test_a_verdict_that_a_request_of_this_package_finds_is_stored_also_under_atomic_requests(atomic_requests):
    device = Device(UserFactory()).sign_in()
    Session.objects.update(refresh_expires_at=timezone.now())
    assert device.get("session-list").json()["reason"] == "expired"
    assert Session.objects.get().end_reason == "expired"


def test_a_refused_sign_in_leaves_the_other_sessions_alone_under_atomic_requests(atomic_requests):
    user = UserFactory()
    device = Device(user).sign_in()
    answer = device.post("login", {"email": user.email, "password": "wrong", "replace_others": True})
    assert answer.status_code == 401
    assert device.call().status_code == 200


def test_a_dead_session_is_refused_also_where_its_end_cannot_be_written(atomic_requests, monkeypatch):
    def locked(*args):
        raise OperationalError("database is locked")

    device = Device(UserFactory()).sign_in()
    Session.objects.update(refresh_expires_at=timezone.now())
    monkeypatch.setattr(SessionQuerySet, "mark_ended", locked)
    answers = [device.call(), device.get("session-list"), device.refresh()]
    assert [answer.json()["reason"] for answer in answers] == ["expired"] * 3
