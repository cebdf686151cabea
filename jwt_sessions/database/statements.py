"""
Statements that are written as querysets, compiled once for each database, and then only executed.

Compiling costs Django several times what a database needs for a row by its key, and the SQL of these never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Field, QuerySet, sql


class Slot(Expression):
    """A parameter whose value is given when the statement is executed, in the type of a field."""

    conditional = False

    def __init__(self, name: str, field: Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.name = name

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Slot:
        """Itself: it names no column."""
        return self

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> Any:
        """A placeholder, with itself as the parameter."""
        return "%s", [self]

    def value(self, values: Mapping[str, Any], connection: BaseDatabaseWrapper) -> Any:
        """What the database is given for it."""
        return self.output_field.get_db_prep_save(values[self.name], connection)


class Statement:
    """SQL and its parameters, some of which are slots."""

    def __init__(self, compiled: tuple[str, Any]) -> None:
        self.sql, self.parameters = compiled

    def bind(self, values: Mapping[str, Any], connection: BaseDatabaseWrapper) -> list[Any]:
        """The parameters, with the slots filled in."""
        return [each.value(values, connection) if isinstance(each, Slot) else each for each in self.parameters]

    def execute(self, values: Mapping[str, Any], connection: BaseDatabaseWrapper) -> int:
        """Execute it; answers how many rows it touched."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql, self.bind(values, connection))
            return int(cursor.rowcount)


class Select(Statement):
    """A SELECT of one row."""

    def __init__(self, queryset: QuerySet[Any, Any], connection: BaseDatabaseWrapper) -> None:
        compiler = queryset.query.get_compiler(connection=connection)
        super().__init__(compiler.as_sql())
        self.expressions = [expression for expression, _sql, _alias in compiler.select]

    def fetch_one(self, connection: BaseDatabaseWrapper, **values: Any) -> list[Any] | None:
        """The row as Python values, or ``None`` if there is none."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql, self.bind(values, connection))
            fetched = cursor.fetchone()
        if fetched is None:
            return None
        row = list(fetched)
        for position, expression, converters in self._converters(connection):
            for convert in converters:
                row[position] = convert(row[position], expression, connection)
        return row

    def _converters(self, connection: BaseDatabaseWrapper) -> Iterable[tuple[int, Any, list[Any]]]:
        """What turns columns into Python values; bound to a connection and its time zone, so it is kept there."""
        kept: dict[tuple[Select, bool], list[tuple[int, Any, list[Any]]]]
        kept = connection.__dict__.setdefault("_jwt_sessions_converters", {})
        key = (self, settings.USE_TZ)
        if key not in kept:
            found = (
                (
                    position,
                    expression,
                    connection.ops.get_db_converters(expression) + expression.get_db_converters(connection),
                )
                for position, expression in enumerate(self.expressions)
            )
            kept[key] = [entry for entry in found if entry[2]]
        return kept[key]


def slot(model: type[models.Model], name: str) -> Slot:
    """The slot of a field, under its name."""
    return Slot(name, cast("Field[Any, Any]", model._meta.get_field(name)))


def update(rows: QuerySet[Any, Any], connection: BaseDatabaseWrapper, **changes: Any) -> Statement:
    """An UPDATE of the rows of a queryset."""
    query = cast(sql.UpdateQuery, rows.query.chain(sql.UpdateQuery))
    query.add_update_values(changes)
    return Statement(query.get_compiler(connection=connection).as_sql())


def insert(model: type[models.Model], connection: BaseDatabaseWrapper) -> Statement:
    """An INSERT of one row, with a slot for each column under the name of its attribute."""
    fields = model._meta.concrete_fields
    query = sql.InsertQuery(model)
    query.insert_values(fields, [model(**{field.attname: Slot(field.attname, field) for field in fields})], raw=True)
    [(text, parameters)] = query.get_compiler(connection=connection).as_sql()
    return Statement((text, parameters))


def column_names(model: type[models.Model]) -> list[str]:
    """The attributes that hold the columns of a model, in order."""
    return [field.attname for field in model._meta.concrete_fields]
