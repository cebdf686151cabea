"""Memberships: which tenants a user may act for. The project knows; it is asked whenever a token is minted."""

from __future__ import annotations

import logging

from django.contrib.auth.base_user import AbstractBaseUser

from jwt_sessions import conf
from jwt_sessions.exceptions import IssueFailed, TenantForbidden
from jwt_sessions.models import Session

logger = logging.getLogger("jwt_sessions")


def accepted_tenants(user: AbstractBaseUser, wanted: str | None = None) -> list[str] | None:
    """
    The ids of the tenants that accepted a user, as ``TENANTS`` answers them; ``None`` where it is not set.

    Args:
        user: The user.
        wanted: A tenant that the user wants to act for, which has to be among them.

    Raises:
        TenantForbidden: The tenant did not accept the user.
        IssueFailed: The callable broke.
    """
    find, tenants = conf.current().TENANTS, None
    if find is not None:
        try:
            tenants = sorted({str(tenant) for tenant in find(user)})
        except Exception as error:
            logger.exception("TENANTS failed, so no token was issued")
            raise IssueFailed from error
    if wanted is not None and wanted not in (tenants or ()):
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
