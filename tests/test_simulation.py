"""A few of the months that ``make simulation`` lives through, and that its figures show what goes wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jwt_sessions.verdict import rotation
from tests.effort import rounds
from tests.simulation.figures import OWN, Figures
from tests.simulation.run import in_lock_step, in_memory

SEED = 1


def figures(numbers: range, **options: object) -> Figures:
    found = Figures()
    for number, life in in_memory(SEED, numbers, **options):
        found.add(number, life)
    return found


def test_honest_clients_are_left_alone_and_thieves_are_caught():
    found = figures(range(rounds(200)))
    assert found.wrongly_ended == []
    assert found.differences == 0
    assert found.caught.total() > found.used.total() / 2
    assert found.caught["one step behind"] == found.used["one step behind"] > 0
    assert set(found.reasons) <= {*OWN, "token_reuse"}
    assert found.lines()


@pytest.mark.django_db
def test_the_store_in_memory_does_what_the_package_does():
    assert in_lock_step(SEED, range(rounds(20)), share_of_thieves=0.5, days=8) > 100


def test_who_asks_for_a_lost_answer_too_late_is_signed_out():
    """What LOST_RESPONSE_WINDOW is for; those are counted apart."""
    short = figures(range(40), window=timedelta(minutes=1), share_of_thieves=0)
    assert len(short.away) > 0
    assert short.wrongly_ended == []


def test_a_client_that_stores_again_what_it_sent_is_signed_out_in_the_end():
    """A slow answer replaces a newer token that overtook it. For the cookie, ``token/`` sees to it."""
    assert figures(range(60), stores_all=True, share_of_thieves=0).wrongly_ended != []


def test_a_thief_whom_the_package_does_not_see_shows_in_the_figures(monkeypatch):
    monkeypatch.setattr(rotation, "_previous_is_honoured", lambda *given: True)
    found = figures(range(20), share_of_thieves=1)
    assert found.differences > 0
