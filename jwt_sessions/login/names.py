"""By what spelling a user name is counted, where several spellings reach one user."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import BaseUserManager
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import connections, router


def counted_name(username: str) -> str:
    """
    The spelling that is stored, where it takes a look to know it; else the one given.

    MariaDB and MySQL take letters for equal that differ by more than case and accents, each collation others, and each
    spelling would have failures of its own to spend on one user. So the database is asked whom the name finds: one
    read. Plain ASCII costs none, as case is all by which such spellings of one name can differ.
    """
    manager = get_user_model()._default_manager
    if not isinstance(manager, BaseUserManager) or not _may_be_spelled_otherwise(username, manager):
        return username
    try:
        return str(manager.get_by_natural_key(username).get_username())
    except (ObjectDoesNotExist, ValidationError, ValueError):
        # Nobody's name, or a text that none can be: where names are numbers.
        return username


def _may_be_spelled_otherwise(username: str, manager: BaseUserManager[Any]) -> bool:
    """Whether a name may find a user who is stored under another, by more than its case."""
    if type(manager).get_by_natural_key is not BaseUserManager.get_by_natural_key:
        return True
    if username.isascii() and username.isprintable() and " " not in username:
        return False
    connection = connections[router.db_for_read(manager.model)]
    field = manager.model._meta.get_field(manager.model.USERNAME_FIELD)
    collation = getattr(field, "db_collation", None)
    return connection.vendor == "mysql" or bool(collation) or field.db_type(connection) == "citext"
