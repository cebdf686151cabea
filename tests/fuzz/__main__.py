"""
Give hostile inputs to every parser and endpoint: ``python -m tests.fuzz``.

It ends with 1 where an input broke the server, wrote a row though it was refused, put a secret into a log or a refusal,
or took long; each is printed with what ``--replay`` takes. It also ends with 1 where time ran out before all inputs.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
from contextlib import nullcontext
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.engine import Report

try:
    import atheris
except ImportError:
    # There is none for every platform and Python.
    atheris = None
KINDS = ("server error", "row written", "secret in a log", "secret in a refusal", "slow")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
os.environ.setdefault("DATABASE_URL", "sqlite://:memory:")


def say(text: str = "") -> None:
    print(text, flush=True)


def load(engine: ModuleType | None) -> None:
    """Import what is tested, so that atheris sees which lines run."""
    with nullcontext() if engine is None else engine.instrument_imports(include=["jwt_sessions", "jwt"]):
        import django

        django.setup()
        from django.urls import get_resolver

        import tests.fuzz.targets  # noqa: F401

        assert get_resolver().url_patterns
    # What is logged is looked at, and not shown.
    for name in ("jwt_sessions", "django", "django.request", "django.server"):
        logging.getLogger(name).handlers.clear()


def summary(report: Report) -> str:
    """What came of one target, in a few words."""
    coverage = f", {report.coverage} places of the code" if report.coverage else ""
    return f"{report.inputs} inputs, {report.accepted} accepted{coverage}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=120_000, help="how many inputs in all (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2400, help="the longest time for all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random changes (default: %(default)s)")
    parser.add_argument("--target", action="append", metavar="NAME", help="only this one; may be given several times")
    parser.add_argument("--blind", action="store_true", help="change inputs at random, not guided by coverage")
    parser.add_argument("--replay", metavar="TARGET:INPUT", help="give one input once, and show what it does")
    options = parser.parse_args()

    engine = None if options.blind or options.replay else atheris
    load(engine)
    from tests.fuzz.engine import Session, blind, guided, replay_text, replayed
    from tests.fuzz.targets import TARGETS
    from tests.fuzz.watch import Watch
    from tests.fuzz.world import World
    from tests.standalone import database

    if unknown := set(options.target or ()) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    targets = [TARGETS[name] for name in options.target or TARGETS]
    with database(), World().lived_in() as world, Watch(world).on() as watch:
        if options.replay:
            target, data = replayed(options.replay)
            found = watch.run(target.run, data)
            for finding in found:
                say(f"{finding.kind}, {finding.place}\n{finding.detail}")
            say(f"{target.name}: {len(found)} findings for {data!r}")
            return 1 if found else 0

        say("Guided by coverage (atheris)." if engine else "Changed at random, not guided by coverage.")
        began = monotonic()
        weights = sum(target.weight for target in targets)
        reports: dict[str, Report] = {}
        for target in targets:
            session = Session(
                watch, target, -(-options.runs * target.weight // weights), began + options.seconds - monotonic()
            )
            started = monotonic()
            if engine:
                report = guided(engine, session, options.seed)
            else:
                report = blind(session, random.Random(f"{options.seed} {target.name}"))
            reports[target.name] = report
            say(f"  {target.name}: {summary(report)}, {monotonic() - started:.0f} s")
            for finding, data in report.found.items():
                say(f"\n{finding.kind}, {finding.place}\n{finding.detail}")
                say(f'  make fuzz FUZZ_ARGS="--replay {replay_text(target, data)}"\n')

    inputs = sum(report.inputs for report in reports.values())
    say(f"\nIn {monotonic() - began:.0f} s, seed {options.seed}:")
    say(f"  inputs: {inputs}")
    found = [finding for report in reports.values() for finding in report.found]
    for kind in KINDS:
        say(f"  {kind}: {sum(finding.kind == kind for finding in found)}")
    if inputs < options.runs:
        say(f"Time ran out before {options.runs} inputs.")
    return 1 if found or inputs < options.runs else 0


if __name__ == "__main__":
    sys.exit(main())
