"""What serializers of parameters and of answers are made of."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers


def utc(moment: datetime | None) -> str | None:
    """A moment as ISO 8601 in UTC; ``None`` stays ``None``."""
    if moment is None:
        return None
    aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")


class NamedChoice(serializers.CharField):
    """One of a few words, which the OpenAPI description lists once, under a name of their own."""

    def __init__(self, name: str, words: Iterable[str], **options: Any) -> None:
        super().__init__(**options)
        self.name = name
        self.words = list(words)


class Constant(NamedChoice):
    """A word that is always the same."""

    def __init__(self, name: str, word: str, **options: Any) -> None:
        super().__init__(name, [word], source="*", **options)

    def to_representation(self, value: Any) -> str:
        return self.words[0]


class Moment(serializers.DateTimeField):
    """A date and time, answered in UTC; none is taken that a time zone carries out of Python's range."""

    def to_internal_value(self, value: Any) -> Any:
        try:
            return super().to_internal_value(value)
        except OverflowError:
            self.fail("overflow")

    def to_representation(self, value: Any) -> Any:
        return utc(value)


class TextOrNull(serializers.CharField):
    """A text; ``null`` for an empty one."""

    def to_representation(self, value: str) -> Any:
        return value or None


class Answer(serializers.Serializer[Any]):
    """Base of what is answered. A field that is not required is left out where it has nothing to say."""

    def to_representation(self, instance: Any) -> dict[str, Any]:
        said = super().to_representation(instance)
        optional = (name for name, field in self.fields.items() if not field.required)
        for name in optional:
            if name in said and said[name] in (None, "", []):
                del said[name]
        return said
