"""The preview of a policy: what a change would end, asked before it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from jwt_sessions.models import Session, SessionPolicy
from jwt_sessions.models.session_policy import current_book
from jwt_sessions.policies import Policy, PolicyBook, deadlines


def sessions_ended_by(draft: SessionPolicy, now: datetime) -> int:
    """
    How many living sessions would be past a deadline at ``now`` if a policy were saved as it is drafted.

    Idle timeouts of a tenant are not counted: they close the tenant and end no session.
    """
    book = current_book()
    changed = _with(book, draft)
    candidates = Session.objects.not_ended()
    if draft.audience:
        candidates = candidates.filter(audience=draft.audience)
    ended = 0
    for session in candidates.iterator(chunk_size=2000):
        tenants = session.tenants or ()
        if draft.tenant and draft.tenant not in tenants:
            continue
        if deadlines(session, book.applying(session.audience, tenants)).passed(now) is None:
            ended += deadlines(session, changed.applying(session.audience, tenants)).passed(now) is not None
    return ended


def _with(book: PolicyBook, draft: SessionPolicy) -> PolicyBook:
    def changed(policies: Mapping[str, Policy], name: str) -> Mapping[str, Policy]:
        return {**policies, name: draft.policy} if name else policies

    return replace(book, audiences=changed(book.audiences, draft.audience), tenants=changed(book.tenants, draft.tenant))
