"""``manage.py end_sessions``"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jwt_sessions import sessions
from jwt_sessions.exceptions import EndReason


class Command(BaseCommand):
    help = "Ends the sessions of a user, of the members of a tenant, or of everybody."

    def add_arguments(self, parser: CommandParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--user", help="the user name")
        whose.add_argument("--tenant", help="the id of a tenant: of its members, as far as their sessions remember")
        whose.add_argument("--all", action="store_true", help="everybody's sessions")
        parser.add_argument(
            "--reason",
            choices=EndReason.values,
            default=EndReason.ENDED_BY_ADMIN.value,
            help="what the clients are told (default ended_by_admin)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model()._default_manager
        if options["user"] is not None:
            whose: Iterable[AbstractBaseUser]
            try:
                whose = [users.get_by_natural_key(options["user"])]
            except get_user_model().DoesNotExist:
                raise CommandError(f"There is no user {options['user']!r}.") from None
        elif options["tenant"] is not None:
            whose = sessions.remembered_members(options["tenant"])
        else:
            whose = users.filter(jwt_sessions__ended_at__isnull=True, jwt_sessions__isnull=False).distinct().iterator()
        ended = sum(sessions.end_all(user, reason=options["reason"]) for user in whose)
        self.stdout.write(f"Ended {ended} sessions.")
