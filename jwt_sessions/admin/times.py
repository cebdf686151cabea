"""Times as the admin shows them."""

from __future__ import annotations

from datetime import datetime

from django.forms.utils import to_current_timezone
from django.utils.formats import localize


def localized(moment: datetime) -> str:
    """A moment in the language and the time zone of who looks at it."""
    return str(localize(to_current_timezone(moment)))
