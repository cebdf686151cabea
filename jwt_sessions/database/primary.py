"""Reading from where is written."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import models, router

M = TypeVar("M", bound=models.Model)


class PrimaryQuerySet(models.QuerySet[M]):
    """
    A queryset over the database that its model is written to.

    In a project whose router sends reads to replicas, one that lags behind would show a session alive after its end.
    """

    def __init__(self, model: Any = None, query: Any = None, using: str | None = None, hints: Any = None) -> None:
        super().__init__(model, query, using or (router.db_for_write(model) if model else None), hints)
