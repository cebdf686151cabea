"""``manage.py purge_expired_tokens``"""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from jwt_sessions.sessions.purge import BATCH_SIZE, MAX_BATCH_SIZE, Purged, purge


def _batch_size(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_BATCH_SIZE:
        raise argparse.ArgumentTypeError(f"from 1 to {MAX_BATCH_SIZE}")
    return number


def _days(text: str) -> timedelta:
    days = timedelta(days=float(text))
    if not timedelta(0) <= days <= timedelta(days=36500):
        raise argparse.ArgumentTypeError("from 0 to 36500")
    return days


class Command(BaseCommand):
    help = (
        "Deletes sessions that have ended or are past a deadline, their refresh tokens, and the old generations of "
        "living sessions. Runs in short batches: safe to interrupt and to run twice at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
        parser.add_argument(
            "--batch-size",
            type=_batch_size,
            default=BATCH_SIZE,
            help=f"rows looked at in one go (default {BATCH_SIZE}, at most {MAX_BATCH_SIZE})",
        )
        parser.add_argument(
            "--older-than",
            type=_days,
            default=timedelta(0),
            metavar="DAYS",
            help="only what has been dead for so many days (default 0: all that is dead)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        purged = Purged()
        for purged in purge(
            older_than=options["older_than"], batch_size=options["batch_size"], dry_run=options["dry_run"]
        ):
            if options["verbosity"] > 0:
                self.stderr.write(f"\r{purged.seen} rows seen, {_counts(purged)}", ending="")
        if options["verbosity"] > 0:
            self.stderr.write("")
        verb = "Would purge" if options["dry_run"] else "Purged"
        self.stdout.write(f"{verb} {_counts(purged)}.")


def _counts(purged: Purged) -> str:
    return f"{purged.sessions} sessions and {purged.refresh_tokens} refresh tokens"
