"""Memberships: which tenants a user may act for. The project knows; it is asked whenever a token is minted."""

from __future__ import annotations

import logging

from django.contrib.auth.base_user import AbstractBaseUser

from jwt_sessions import conf
from jwt_sessions.exceptions import IssueFailed, TenantForbidden
from jwt_sessions.models import Session

logger = logging.getLogger("jwt_sessions")


def accepted_tenants(user: AbstractBaseUser) -> list[str] | None:
    """
    The ids of the tenants that accepted a user, as ``TENANTS`` answers them; ``None`` where it is not set.

    Raises:
        IssueFailed: The callable broke.
    """
    find = conf.current().TENANTS
    if find is None:
        return None
    try:
        return sorted({str(tenant) for tenant in find(user)})
    except Exception as error:
        logger.exception("TENANTS failed, so no token was issued")
        raise IssueFailed from error


def memberships(user: AbstractBaseUser, tenant: str | None) -> list[str] | None:
    """
    The same, of a user who wants to act for a tenant; ``None`` for none in particular.

    Raises:
        TenantForbidden: The tenant did not accept the user.
        IssueFailed: The callable broke.
    """
    tenants = accepted_tenants(user)
    if tenant is not None and tenant not in (tenants or ()):
        raise TenantForbidden
    return tenants


def remembered_members(tenant: str) -> list[AbstractBaseUser]:
    """
    The users of whom a session that has not ended remembers that a tenant accepted them.

    Looked for in Python: no condition on a list in a JSON column works on every database.
    """
    remembering = Session.objects.not_ended().filter(tenants__isnull=False).select_related("user")
    members = {
        session.user_id: session.user
        for session in remembering.iterator(chunk_size=2000)
        if tenant in (session.tenants or ())
    }
    return list(members.values())
