"""
Which users there are: those whom the default manager of the user model shows.

Django's own backend asks that manager. Whom it filters out, as one deleted softly, is nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import Manager, QuerySet


@dataclass(frozen=True, slots=True)
class VisibleUsers:
    """
    Those whom a filtering manager shows at this moment. Equal to others of the same condition, so that what is
    compiled for it can be kept.

    Attributes:
        condition: The condition, in SQL with its parameters.
        keys: The keys of these users.
    """

    condition: str
    keys: QuerySet[Any, Any] = field(compare=False)


def visible_users(alias: str) -> VisibleUsers | None:
    """
    The users there are in a database; ``None`` where the manager filters nothing.

    A manager that filters is asked each time: what it shows may depend on the time or on the request.
    """
    manager: Manager[Any] = get_user_model()._default_manager
    if type(manager).get_queryset is Manager.get_queryset:
        return None
    keys = manager.using(alias)
    if not keys.query.where:
        return None
    keys = keys.values("pk")
    try:
        condition = repr(keys.query.get_compiler(connection=connections[alias]).as_sql())
    except EmptyResultSet:
        return VisibleUsers("nobody", keys)
    return VisibleUsers(condition, keys)
