"""A few hostile inputs for every parser and endpoint, and that the watch over them sees what it is there for."""

from __future__ import annotations

import json
import logging
import random
import time

import pytest
from django.utils import timezone

from example_project.accounts.models import Tenant
from jwt_sessions.models import Credential
from jwt_sessions.tokens import access
from tests.effort import rounds
from tests.fuzz.engine import Session, blind, replay_text, replayed
from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.watch import Watch
from tests.fuzz.world import Answer, World

# Django's own, about a date without a time in a query of the admin.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.filterwarnings("ignore:DateTimeField")]
SEED = 9


@pytest.fixture
def watch(settings):
    with World().lived_in() as world, Watch(world).on() as watch:
        yield watch


def few(watch: Watch, target: Target) -> dict[str, str]:
    """What a few inputs of a target did, by what shows it again."""
    session = Session(watch, target, rounds(max(20, 20 * target.weight)), seconds=60)
    # Any one of the good ones, and changes of all of them.
    random.Random(SEED).shuffle(session.seeds)
    found = blind(session, random.Random(SEED)).found
    return {
        replay_text(target, data): f"{finding.kind}, {finding.place}\n{finding.detail}"
        for finding, data in found.items()
    }


@pytest.mark.parametrize("name", TARGETS)
def test_attack_with_hostile_inputs(watch, name):
    assert few(watch, TARGETS[name]) == {}
    assert watch.inputs > 0


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in ("path", "admin_form")])
def test_what_is_good_is_accepted(watch, name):
    """Otherwise all inputs would be refused at the first condition, and nothing behind it was tried."""
    seeds = TARGETS[name].seeds(watch.world)
    assert any(watch.run(TARGETS[name].run, seed) == [] and watch.accepted for seed in seeds)


def break_down(world, data):
    raise ZeroDivisionError


def write_a_row(world, data):
    Credential.objects.update(name="other")
    return Answer(refused=True)


def insert_a_row(world, data):
    Tenant.objects.create(id="other", name="Other")
    return Answer(refused=True)


def log_a_secret(world, data):
    logging.getLogger("anything").warning("refused %s", world.living.refresh)
    return Answer(refused=True)


def tell_a_secret(world, data):
    return Answer(refused=True, text=world.service.client_secret.encode())


def take_long(world, data):
    until = time.process_time() + 2.1
    while time.process_time() < until:
        pass
    return Answer(refused=False)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (break_down, "server error"),
        (write_a_row, "row written"),
        (insert_a_row, "row written"),
        (log_a_secret, "secret in a log"),
        (tell_a_secret, "secret in a refusal"),
        (take_long, "slow"),
    ],
)
def test_the_watch_sees_each_kind_of_fault(watch, fault, kind):
    [finding] = watch.run(fault, b"")
    assert finding.kind == kind


def test_what_was_written_is_undone(watch):
    names = set(Credential.objects.values_list("name", flat=True))
    watch.run(write_a_row, b"")
    assert set(Credential.objects.values_list("name", flat=True)) == names


def test_an_input_is_found_again_by_what_is_printed_of_it():
    target = TARGETS["jwks"]
    assert replayed(replay_text(target, b"\0\xff{}")) == (target, b"\0\xff{}")


def test_attack_with_an_audience_in_a_list_breaks_no_renewal(watch):
    """Found by an input: only whoever has the key can sign such a token, and RFC 7519 §4.1.3 allows it."""
    claims = access.decode(watch.world.living.access, timezone.now())
    token = access.encode({**claims, "aud": ["elsewhere", "api"]})
    answer = watch.world.send("POST", "/auth/renew/", b"{}", headers={"Authorization": f"Bearer {token}"})
    assert not answer.refused
    assert access.decode(json.loads(answer.text)["access_token"], timezone.now())["aud"] == "api"
