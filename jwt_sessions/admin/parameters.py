"""What stands in the address of a page of the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.http import HttpRequest


class CheckedParameters(admin.ModelAdmin):  # type: ignore[type-arg]
    """A change list that answers a parameter with a NUL character as any that makes no sense: PostgreSQL takes none."""

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        for name, values in request.GET.lists():
            if any("\0" in text for text in (name, *values)):
                raise IncorrectLookupParameters
        return super().get_changelist_instance(request)
