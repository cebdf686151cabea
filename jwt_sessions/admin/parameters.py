"""What stands in the address of a page of the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, ValidationError
from django.http import HttpRequest


class CheckedParameters(admin.ModelAdmin):  # type: ignore[type-arg]
    """
    A change list that answers malformed parameters as any that make no sense: a NUL character, which PostgreSQL does
    not take, and a key of a selected row that is none.
    """

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        for name, values in request.GET.lists():
            if any("\0" in text for text in (name, *values)):
                raise IncorrectLookupParameters
        return super().get_changelist_instance(request)

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().response_action(request, *args, **kwargs)
        except ValidationError:
            raise BadRequest("A selected row has a malformed key.") from None
