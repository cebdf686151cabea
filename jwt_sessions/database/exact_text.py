"""Text that is the same only if it is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    CharField = models.CharField[str, str]
else:
    CharField = models.CharField


class ExactCharField(CharField):
    """
    A ``CharField`` whose values are compared character by character, trailing spaces too, on every database.

    That is what PostgreSQL and SQLite do. MariaDB and MySQL go by a collation, usually one to which "Acme", "acme" and
    "acmé" are one tenant: here it is that of the code points without padding, which each of the two names differently.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        """What the column is made of, and on MariaDB and MySQL its collation."""
        parameters = super().db_parameters(connection)
        if connection.vendor != "mysql":
            return parameters
        is_mariadb = connection.mysql_is_mariadb  # type: ignore[attr-defined]
        return {**parameters, "collation": "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"}
