"""purge_expired_tokens: what goes, what stays, and what happens when it is interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import islice
from pathlib import Path

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from example_project.accounts.models import User
from jwt_sessions import sessions
from jwt_sessions.database.uuid7 import uuid7
from jwt_sessions.exceptions import InvalidToken
from jwt_sessions.models import RefreshToken, Session, TenantActivity
from jwt_sessions.models.session_policy import current_book
from jwt_sessions.sessions import purge
from jwt_sessions.verdict.password import auth_hash
from jwt_sessions.verdict.session import SessionState
from tests.effort import rounds
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

START = datetime(2027, 1, 4, 9, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


def make_session(user: User, *, generations: int = 1, **fields: object) -> Session:
    """A session with so many stored generations, the older ones replaced at sign-in."""
    now = timezone.now()
    session = Session.objects.create(
        **{
            "user": user,
            "created_at": now,
            "last_active_at": now,
            "refresh_expires_at": now + 7 * DAY,
            "generation": generations - 1,
            "auth_hash": auth_hash(user),
            "audience": "api",
            **fields,
        }
    )
    TenantActivity.objects.create(session=session, tenant="acme", last_active_at=now)
    RefreshToken.objects.bulk_create(
        RefreshToken(
            session=session,
            generation=generation,
            created_at=now,
            token_hash=uuid7().bytes * 2,
            audience="api",
            revoked_at=now if generation < session.generation else None,
        )
        for generation in range(generations)
    )
    return session


@pytest.fixture
def mixture(user) -> None:
    """Seven sessions: three have ended or expired (6 tokens), four live (13 tokens, 6 of them out of play)."""
    now = timezone.now()
    make_session(user, generations=3, ended_at=now, end_reason="logout")
    make_session(user, generations=2, ended_at=now - DAY, end_reason="token_reuse")
    make_session(user, refresh_expires_at=now - 2 * DAY)
    make_session(user, refresh_expires_at=None)
    make_session(user, generations=2)
    make_session(user, generations=4)
    make_session(user, generations=6)


def run(**options: object) -> str:
    out = StringIO()
    call_command("purge_expired_tokens", stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 2000])
def test_the_counts_are_exact_and_a_dry_run_says_the_same(mixture, batch_size):
    assert run(dry_run=True, batch_size=batch_size) == "Would purge 3 sessions and 12 refresh tokens.\n"
    assert (Session.objects.count(), RefreshToken.objects.count()) == (7, 19)
    assert run(batch_size=batch_size) == "Purged 3 sessions and 12 refresh tokens.\n"
    assert (Session.objects.count(), RefreshToken.objects.count()) == (4, 7)
    assert TenantActivity.objects.count() == 4
    assert run(batch_size=batch_size) == "Purged 0 sessions and 0 refresh tokens.\n"


def test_an_empty_database_has_nothing_to_purge():
    assert run() == "Purged 0 sessions and 0 refresh tokens.\n"


@pytest.mark.parametrize(
    ("older_than", "sessions_gone", "tokens_gone"), [("0", 3, 12), ("1", 2, 3), ("1.5", 1, 1), ("2", 1, 1), ("3", 0, 0)]
)
def test_older_than_spares_what_died_since(mixture, older_than, sessions_gone, tokens_gone):
    expected = f"{sessions_gone} sessions and {tokens_gone} refresh tokens.\n"
    out = StringIO()
    for arguments in (["--dry-run"], []):
        call_command("purge_expired_tokens", "--older-than", older_than, *arguments, stdout=out, stderr=StringIO())
    assert out.getvalue() == f"Would purge {expected}Purged {expected}"


@pytest.mark.parametrize("older_than", [2, 2.0])
def test_python_may_pass_plain_numbers(mixture, older_than):
    assert run(older_than=older_than, batch_size=2) == "Purged 1 sessions and 1 refresh tokens.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--batch-size", wrong] for wrong in ("0", "-1", "10001", "many", "1.5", "")),
        *(["--older-than", wrong] for wrong in ("-1", "36501", "soon", "nan", "inf", "1e400", "")),
        ["--no-such-option"],
    ],
)
def test_arguments_that_make_no_sense_purge_nothing(mixture, arguments):
    with pytest.raises(CommandError):
        call_command("purge_expired_tokens", *arguments)
    assert Session.objects.count() == 7


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 10_001}, {"older_than": -1}])
def test_python_cannot_pass_what_makes_no_sense_either(mixture, options):
    with pytest.raises(CommandError, match=r"from \d to \d+"):
        run(**options)
    assert Session.objects.count() == 7


def test_progress_is_one_line_that_is_written_over(mixture):
    err = StringIO()
    call_command("purge_expired_tokens", batch_size=1000, stdout=StringIO(), stderr=err)
    assert err.getvalue() == (
        "\r7 rows seen, 3 sessions and 6 refresh tokens\r20 rows seen, 3 sessions and 12 refresh tokens\n"
    )


def test_progress_is_silent_when_asked_to_be(mixture):
    err = StringIO()
    call_command("purge_expired_tokens", verbosity=0, stdout=StringIO(), stderr=err)
    assert err.getvalue() == ""


@pytest.mark.parametrize("batch_size", [1, 3])
def test_it_may_be_interrupted_after_any_batch_and_run_again(user, batch_size):
    for batches in range(1, 20):
        for _ in range(3):
            make_session(user, generations=2, ended_at=timezone.now(), end_reason="logout")
            make_session(user, generations=3)
        interrupted = [(each.sessions, each.refresh_tokens) for each in islice(purge(batch_size=batch_size), batches)]
        rest = list(purge(batch_size=batch_size))[-1]
        assert (interrupted[-1][0] + rest.sessions, interrupted[-1][1] + rest.refresh_tokens) == (3, 9)
        assert (Session.objects.count(), RefreshToken.objects.count()) == (3, 6)
        Session.objects.all().delete()
    assert len(interrupted) < batches


@pytest.mark.parametrize("statement", range(1, 12))
def test_it_may_be_killed_before_any_statement_and_run_again(mixture, statement):
    left = iter(range(statement))

    def kill_in_time(execute, *arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return execute(*arguments)

    with connection.execute_wrapper(kill_in_time), pytest.raises(KeyboardInterrupt):
        list(purge(batch_size=3))
    list(purge(batch_size=3))
    assert (Session.objects.count(), RefreshToken.objects.count()) == (4, 7)
    for session in Session.objects.all():
        assert session.refresh_tokens.filter(generation=session.generation).exists()


@pytest.mark.django_db(transaction=True)
def test_two_at_once_share_the_work(clock):
    user = UserFactory()
    for _ in range(40):
        make_session(user, generations=2, ended_at=timezone.now(), end_reason="logout")
        make_session(user, generations=3)
    together, done = threading.Barrier(2), []

    def work() -> None:
        together.wait()
        done.append(list(purge(batch_size=7))[-1])
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(each.sessions for each in done), sum(each.refresh_tokens for each in done)) == (40, 120)
    assert (Session.objects.count(), RefreshToken.objects.count()) == (40, 80)


def test_a_session_refreshed_hundreds_of_times_keeps_a_handful_of_rows_and_catches_reuse(user, clock, jwt_settings):
    jwt_settings(REUSE_GRACE_PERIOD=timedelta(minutes=1), LOST_RESPONSE_WINDOW=timedelta(minutes=1))
    pairs = [sessions.start(user)]
    last = rounds(1000)
    for number in range(last):
        clock.shift(60)
        pairs.append(sessions.refresh(pairs[-1].refresh_token))
        if number % 100 == 0:
            list(purge())
    list(purge())
    assert sorted(RefreshToken.objects.values_list("generation", flat=True)) == [last - 1, last]
    assert sessions.refresh(pairs[-2].refresh_token).refresh_token == pairs[-1].refresh_token
    with pytest.raises(InvalidToken):
        sessions.refresh(pairs[3].refresh_token)
    assert Session.objects.get().end_reason == "token_reuse"


def test_the_statements_of_a_batch_do_not_grow_with_it(user):
    numbers = []
    for size in (2, 50):
        for _ in range(size):
            make_session(user, generations=3, ended_at=timezone.now(), end_reason="logout")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            list(purge())
        numbers.append(len(queries))
    # What the policies are; sessions: a window, three deletes, an empty window; tokens: an empty window; and a look for
    # ends that no service needs to be told any more, and for exchanged tokens.
    assert numbers == [9, 9]


MINUTES = st.integers(-90, 90).map(lambda number: timedelta(minutes=number))
LIMITS = st.none() | st.integers(1, 90).map(lambda number: timedelta(minutes=number))


@given(
    times=st.lists(st.tuples(MINUTES, MINUTES, st.none() | MINUTES, st.booleans()), min_size=1, max_size=8),
    idle_timeout=LIMITS,
    max_lifetime=LIMITS,
)
@settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_it_takes_exactly_what_the_verdict_calls_dead(user, jwt_settings, times, idle_timeout, max_lifetime):
    jwt_settings(IDLE_TIMEOUT=idle_timeout, MAX_SESSION_LIFETIME=max_lifetime, ACTIVITY_RESOLUTION=timedelta(0))
    Session.objects.all().delete()
    now = timezone.now()
    living = set()
    for created, active, expires, ended in times:
        session = make_session(
            user,
            created_at=now + created,
            last_active_at=now + active,
            refresh_expires_at=None if expires is None else now + expires,
            ended_at=now if ended else None,
            end_reason="logout" if ended else "",
        )
        if SessionState(session, 0, None, current_book()).verdict(now) is None:
            living.add(session.pk)
    dry, real = list(purge(dry_run=True))[-1], list(purge())[-1]
    assert set(Session.objects.values_list("pk", flat=True)) == living
    assert (dry.sessions, dry.refresh_tokens) == (real.sessions, real.refresh_tokens)
    assert real.sessions == real.refresh_tokens == len(times) - len(living)


def test_it_takes_at_a_deadline_and_not_a_moment_before(user, clock):
    session = make_session(user, refresh_expires_at=START + DAY)
    clock.move_to(START + DAY - timedelta(microseconds=1))
    list(purge())
    assert Session.objects.filter(pk=session.pk).exists()
    clock.shift(timedelta(microseconds=1))
    list(purge())
    assert not Session.objects.exists()


STRANGER = """
import json, sys
from datetime import timedelta
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a key of a stranger's project, long enough to be one",
    USE_TZ=True,
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "jwt_sessions", "strangers",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from jwt_sessions import sessions
from jwt_sessions.models import Session
from jwt_sessions.sessions import purge
from strangers.models import Kept, Owned, Tagged

call_command("migrate", run_syncdb=True, verbosity=0)
user = User.objects.create_user("stranger", password="x")
dead, alive = (sessions.start(user).session for _ in range(2))
for session in (dead, alive):
    Owned.objects.create(session=session)
    Kept.objects.create(session=session)
    Tagged.objects.create().sessions.add(session)
sessions.end(dead, reason="logout")
*_, purged = purge()
print(json.dumps({
    "purged": [purged.sessions, purged.refresh_tokens],
    "left": list(map(str, Session.objects.values_list("pk", flat=True))) == [str(alive.pk)],
    "owned": [str(row.session_id) == str(alive.pk) for row in Owned.objects.all()],
    "kept": sorted(row.session_id is None for row in Kept.objects.all()),
    "tagged": sorted(row.sessions.count() for row in Tagged.objects.all()),
}))
"""

MODELS = """
from django.db import models

class Owned(models.Model):
    session = models.ForeignKey("jwt_sessions.Session", models.CASCADE, related_name={reverse!r})

class Kept(models.Model):
    session = models.ForeignKey("jwt_sessions.Session", models.SET_NULL, null=True, related_name={other!r})

class Tagged(models.Model):
    sessions = models.ManyToManyField("jwt_sessions.Session", related_name={third!r})
"""


@pytest.mark.parametrize("reverse_names", [("owned", "kept", "tagged"), ("+", "+", "+")])
def test_models_of_the_project_that_point_at_sessions_are_honoured(tmp_path, reverse_names):
    names = dict(zip(("reverse", "other", "third"), reverse_names, strict=True))
    (tmp_path / "strangers").mkdir()
    (tmp_path / "strangers" / "__init__.py").touch()
    (tmp_path / "strangers" / "models.py").write_text(MODELS.format(**names))
    (tmp_path / "main.py").write_text(STRANGER)
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "main.py", "db.sqlite3"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{root}", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "purged": [1, 1],
        "left": True,
        "owned": [True],
        "kept": [False, True],
        "tagged": [0, 1],
    }
