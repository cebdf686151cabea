"""The claims of the setting ``CLAIMS``."""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import reduce
from typing import Any

from jwt_sessions import conf
from jwt_sessions.exceptions import IssueDenied, IssueFailed
from jwt_sessions.types import Draft

logger = logging.getLogger("jwt_sessions")


def configured_claims(draft: Draft, excluded: Collection[str]) -> dict[str, Any]:
    """
    What ``CLAIMS`` says about a token, but for the names that a policy excludes; those are not even asked for.

    Raises:
        IssueDenied: A callable refused.
        IssueFailed: A callable broke, or the user has no such attribute.
    """
    claims = {}
    for name, source in conf.current().CLAIMS.items():
        if name in excluded:
            continue
        try:
            claims[name] = source(draft.user, draft) if callable(source) else _attribute(draft.user, source)
        except IssueDenied:
            raise
        except Exception as error:
            logger.exception("the claim %r of CLAIMS failed, so no token was issued", name)
            raise IssueFailed from error
    return claims


def _attribute(user: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), user)
