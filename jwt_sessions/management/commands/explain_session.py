"""``manage.py explain_session``"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from jwt_sessions.verdict.session import SessionState, find


class Command(BaseCommand):
    help = "Says whether a session lives, which deadlines it has, which policy set each, and which comes first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sid", help="the id of the session")

    def handle(self, *args: Any, **options: Any) -> None:
        found = _find(options["sid"])
        session, now = found.session, timezone.now()
        reason = found.verdict(now)
        self.stdout.write(f"session {session.pk} of user {session.user_id}, audience {session.audience}")
        self.stdout.write("It lives." if reason is None else f"It has ended: {reason.value}.")
        limits = found.deadlines()
        for each in limits:
            first = " (first)" if each is limits.next else ""
            self.stdout.write(f"  {each.reason.value}: {each.at.isoformat()}, set by {each.source}{first}")
        if limits.next is None:
            self.stdout.write("  Nothing limits it.")
        for clock in session.tenant_activity.order_by("tenant"):
            idle = replace(found, tenant_active_at=clock.last_active_at).deadlines(clock.tenant).idle
            until = f"open until {idle.at.isoformat()}, set by {idle.source}" if idle else "never idle"
            closed = " (closed now)" if idle and idle.at <= now else ""
            self.stdout.write(f"  tenant {clock.tenant}: {until}{closed}")


def _find(sid: str) -> SessionState:
    try:
        found = find(UUID(sid))
    except ValueError:
        found = None
    if found is None:
        raise CommandError(f"There is no session {sid!r}.")
    return found
