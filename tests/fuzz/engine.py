"""Two ways to make inputs: atheris, which is guided by coverage, and changes at random, which need no library."""

from __future__ import annotations

import base64
import json
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.fuzz.mutation import LONGEST, mutated
from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.watch import Finding, Watch

HANG = 60  # seconds that one input may take


@dataclass
class Report:
    """What came of the inputs of one target. ``found`` holds each finding once, with the input that showed it."""

    inputs: int = 0
    accepted: int = 0
    coverage: int = 0
    found: dict[Finding, bytes] = field(default_factory=dict)


def replay_text(target: Target, data: bytes) -> str:
    """An input as one word: ``--replay`` takes it."""
    return f"{target.name}:{base64.urlsafe_b64encode(data).decode()}"


def replayed(text: str) -> tuple[Target, bytes]:
    """The target and the input of :func:`replay_text`."""
    name, _, encoded = text.partition(":")
    return TARGETS[name], base64.urlsafe_b64decode(encoded)


class Session:
    """Inputs for one target, counted and bounded."""

    def __init__(self, watch: Watch, target: Target, runs: int, seconds: float) -> None:
        self.watch, self.target, self.runs = watch, target, runs
        self.until = time.monotonic() + seconds
        self.seeds = list(target.seeds(watch.world))
        self.report = Report()

    @property
    def is_over(self) -> bool:
        return self.report.inputs >= self.runs or time.monotonic() > self.until

    def give(self, data: bytes) -> None:
        """Give one input to the target, and note what it did."""
        before = self.watch.accepted
        for finding in self.watch.run(self.target.run, data):
            known = self.report.found.get(finding)
            if known is None or len(data) < len(known):
                self.report.found[finding] = data
        self.report.inputs += 1
        self.report.accepted += self.watch.accepted - before


def blind(session: Session, source: random.Random) -> Report:
    """The seeds, then changes of them at random."""
    for data in session.seeds:
        if not session.is_over:
            session.give(data)
    while not session.is_over:
        session.give(mutated(source.choice(session.seeds), session.seeds, source))
    return session.report


def guided(atheris: ModuleType, session: Session, seed: int) -> Report:
    """
    Inputs that atheris (libFuzzer) makes, in a process of their own: libFuzzer never returns.

    A process that ends without a report was ended by libFuzzer: its input hung, or exhausted the memory.
    """
    with tempfile.TemporaryDirectory(prefix="jwt-sessions-fuzz-") as directory:
        place = Path(directory)
        child = os.fork()
        if child == 0:
            _run_child(atheris, session, seed, place)
        os.waitpid(child, 0)
        log = (place / "log").read_text(errors="replace")
        if not (place / "report").exists():
            crash = next((path.read_bytes() for path in place.glob("found-*")), b"")
            finding = Finding("server error", "the process ended", log[-3000:])
            return Report(inputs=1, found={finding: crash})
        told = json.loads((place / "report").read_text())
    found = {Finding(*parts): base64.b64decode(data) for *parts, data in told.pop("found")}
    marks = [word for line in log.splitlines() for name, word in _pairs(line.split()) if name == "cov:"]
    return Report(**told, coverage=int(marks[-1]) if marks else 0, found=found)


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    return list(zip(words, words[1:], strict=False))


def _run_child(atheris: ModuleType, session: Session, seed: int, place: Path) -> None:
    corpus = place / "corpus"
    corpus.mkdir()
    for number, data in enumerate(session.seeds):
        (corpus / str(number)).write_bytes(data)
    log = os.open(place / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def give(data: bytes) -> None:
        session.give(data)
        if session.is_over:
            _leave(session.report, place)

    def change(data: bytes, longest: int, number: int) -> bytes:
        source = random.Random(number)
        if source.random() < 0.5:
            return bytes(atheris.Mutate(data, longest))
        return mutated(data, session.seeds, source)[:longest]

    options = [f"-seed={seed}", f"-max_len={LONGEST}", f"-timeout={HANG}", f"-artifact_prefix={place}/found-"]
    # More memory than one input could take in any way that is not a fault; the corpus is in it too.
    options += ["-rss_limit_mb=3000", "-print_final_stats=0", "-reload=0"]
    try:
        atheris.Setup([sys.argv[0], *options, str(corpus)], give, custom_mutator=change)
        atheris.Fuzz()
    finally:
        os._exit(1)


def _leave(report: Report, place: Path) -> None:
    found: list[Any] = [
        [each.kind, each.place, each.detail, base64.b64encode(data).decode()] for each, data in report.found.items()
    ]
    told = {"inputs": report.inputs, "accepted": report.accepted, "found": found}
    (place / "report").write_text(json.dumps(told))
    os._exit(0)
