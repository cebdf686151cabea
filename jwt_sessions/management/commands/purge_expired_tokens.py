"""``manage.py purge_expired_tokens``"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jwt_sessions.sessions import BATCH_SIZE, MAX_BATCH_SIZE, Purged, purge

MAX_DAYS = 36_500


class Command(BaseCommand):
    help = (
        "Deletes sessions that have ended or are past a deadline, their refresh tokens, and the old generations of "
        "living sessions. Runs in short batches: safe to interrupt and to run twice at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
        parser.add_argument(
            "--batch-size",
            type=int,
            default=BATCH_SIZE,
            help=f"rows looked at in one go (default {BATCH_SIZE}, at most {MAX_BATCH_SIZE})",
        )
        parser.add_argument(
            "--older-than",
            type=float,
            default=0,
            metavar="DAYS",
            help="only what has been dead for so many days (default 0: all that is dead)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # Not by argparse, which call_command goes around.
        days, batch_size = options["older_than"], options["batch_size"]
        if not 0 <= days <= MAX_DAYS:
            raise CommandError(f"argument --older-than: from 0 to {MAX_DAYS}")
        if not 1 <= batch_size <= MAX_BATCH_SIZE:
            raise CommandError(f"argument --batch-size: from 1 to {MAX_BATCH_SIZE}")
        purged = Purged()
        for purged in purge(older_than=timedelta(days=days), batch_size=batch_size, dry_run=options["dry_run"]):
            if options["verbosity"] > 0:
                self.stderr.write(f"\r{purged.seen} rows seen, {_counts(purged)}", ending="")
        if options["verbosity"] > 0:
            self.stderr.write("")
        verb = "Would purge" if options["dry_run"] else "Purged"
        self.stdout.write(f"{verb} {_counts(purged)}.")


def _counts(purged: Purged) -> str:
    return f"{purged.sessions} sessions and {purged.refresh_tokens} refresh tokens"
