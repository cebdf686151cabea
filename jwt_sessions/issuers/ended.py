"""The list of ended sessions of another issuer, as it reads and as it is kept."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Container
from uuid import UUID

from jwt_sessions.conf import PACKED_IDS

ACCEPT = f"{PACKED_IDS}, application/json;q=0.5"
ID_BYTES = 16


class PackedIds:
    """
    Ids of sessions, one after the other in one text of bytes: a set of a million would take ten times the memory.

    Args:
        ids: 16 bytes for each id, in any order.
    """

    def __init__(self, ids: bytes) -> None:
        if len(ids) % ID_BYTES:
            raise ValueError("it is not a list of ids of 16 bytes each")
        self._ids = b"".join(sorted(ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)))

    def __len__(self) -> int:
        return len(self._ids) // ID_BYTES

    def __getitem__(self, place: int) -> bytes:
        return self._ids[place * ID_BYTES : (place + 1) * ID_BYTES]

    def __contains__(self, session_id: object) -> bool:
        try:
            wanted = UUID(str(session_id)).bytes
        except ValueError:
            return False
        return self[bisect_left(self, wanted)] == wanted


def read(body: bytes, media_type: str) -> Container[str]:
    """
    The ids in a list of ended sessions.

    Args:
        body: The list.
        media_type: ``application/octet-stream`` for one of 16 bytes an id; anything else is read as JSON.

    Raises:
        ValueError, RecursionError: It is no such list.
    """
    if media_type == PACKED_IDS:
        return PackedIds(body)
    document = json.loads(body)
    listed = document.get("revoked") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is not a list of ended sessions")
    return frozenset(each for each in listed if isinstance(each, str))
