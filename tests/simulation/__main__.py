"""
Live through thousands of sessions with a moved clock: ``python -m tests.simulation``.

Every presented token is judged by the package and by the rules in plain words (tests/rotation_rules.py). A thief is
caught where the session ends with token_reuse after the thief presented a token, by the thief's next use or the
owner's. It ends with 1 where an honest session was ended by the rules, or where package and rules differ: otherwise
each thief whom the rules tell apart was caught, by the use that told.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from datetime import timedelta
from time import monotonic

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
os.environ.setdefault("DATABASE_URL", "sqlite://:memory:")


def say(text: str = "") -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--lock-step", type=int, default=10, help="how many on the database too (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument(
        "--window", type=float, default=24, help="LOST_RESPONSE_WINDOW, in hours (default: %(default)s)"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="(default: %(default)s)")
    options = parser.parse_args()

    import django

    django.setup()
    logging.disable()
    from tests.simulation.figures import Figures
    from tests.simulation.run import in_lock_step, in_processes
    from tests.standalone import database

    window = timedelta(hours=options.window)
    began = monotonic()
    with database():
        compared = in_lock_step(options.seed, range(options.lock_step), window)
    say(f"{options.lock_step} sessions in lock step with the database: {compared} answers compared, all alike")
    figures = Figures()
    for number, life in in_processes(options.seed, options.sessions, window, options.processes):
        figures.add(number, life)
        if figures.lives % 1000 == 0:
            say(f"  {figures.lives} sessions, {monotonic() - began:.0f} s")
    say(f"\nSeed {options.seed}, LOST_RESPONSE_WINDOW {options.window:g} h, {monotonic() - began:.0f} s:")
    for line in figures.lines():
        say(f"  {line}")
    if figures.wrongly_ended:
        say(f"  wrongly ended: {figures.wrongly_ended}")
    return 1 if figures.wrongly_ended or figures.differences else 0


if __name__ == "__main__":
    sys.exit(main())
