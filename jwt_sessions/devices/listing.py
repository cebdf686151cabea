"""The devices of a user as the page shows them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from django.utils.functional import Promise
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jwt_sessions import conf, sessions
from jwt_sessions.devices.visitor import Visitor
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import Session
from jwt_sessions.policies import Deadline
from jwt_sessions.types import DeviceFamilies
from jwt_sessions.verdict.session import SessionState

logger = logging.getLogger("jwt_sessions")

IF_NOT_USED = gettext_lazy("longer if it is used")
PASSWORD_AGAIN = gettext_lazy("then the password is needed again")


@dataclass(frozen=True, slots=True)
class Device:
    """
    A device on which a user is signed in.

    Attributes:
        state: The session, and what decides about it.
        label: The name, numbered where several devices have the same: no two devices of a page share it.
        place: Where its address is, as ``DEVICE_PLACE`` says; empty where unknown.
        is_current: Whether it is the browser that asks.
        now: When it was looked at.
    """

    state: SessionState
    label: str
    place: str
    is_current: bool
    now: datetime

    @property
    def session(self) -> Session:
        """The session."""
        return self.state.session

    @property
    def name(self) -> str:
        """What the user calls it, or else what it is."""
        return self.session.device_name or self.families

    @property
    def families(self) -> str:
        """What it is, for instance "Chrome on Windows"."""
        return families(self.session.device)

    @property
    def active_now(self) -> bool:
        """Whether it was active lately. Activity is written once per ``ACTIVITY_RESOLUTION``, and read in between."""
        return self.now - self.session.last_active_at <= 2 * conf.current().ACTIVITY_RESOLUTION

    @property
    def inactive_for(self) -> str:
        """How long ago it was active, in the reader's language."""
        return timesince(self.session.last_active_at, self.now, depth=1)

    @property
    def ends(self) -> Deadline | None:
        """What ends its session next, unless somebody does before."""
        return self.state.deadlines().next

    @property
    def ends_why(self) -> str | Promise:
        """Why its session ends then, or how that can be put off."""
        ends = self.ends
        if ends is None:
            return ""
        extended_by_use = ends.reason is EndReason.IDLE_TIMEOUT or (
            ends.reason is EndReason.EXPIRED and self.state.policy().rotates
        )
        return IF_NOT_USED if extended_by_use else PASSWORD_AGAIN


def devices_of(visitor: Visitor, now: datetime) -> list[Device]:
    """The devices on which a visitor is signed in: this one first, then the last active. One query."""
    held_id = None if visitor.held is None else visitor.held.session.pk
    living = sessions.live_sessions(visitor.user, now)
    living.sort(key=lambda found: found.session.pk != held_id)
    places = cache(_place)
    labels = dict(_labels([found.session for found in living]))
    return [
        Device(
            found,
            label=labels[found.session.pk],
            place=places(found.session.ip_address),
            is_current=found.session.pk == held_id,
            now=now,
        )
        for found in living
    ]


def families(device: DeviceFamilies) -> str:
    """A browser and its system in the reader's language."""
    if device.browser and device.system:
        return _("%(browser)s on %(system)s") % device._asdict()
    return device.browser or device.system or _("Unknown device")


def _labels(found: list[Session]) -> Iterator[tuple[object, str]]:
    """A label for each session, in the order of the sign-ins, so that a label stays while the device does."""
    taken: set[str] = set()
    for session in sorted(found, key=lambda each: (each.created_at, each.pk)):
        name = label = session.device_name or families(session.device)
        number = 1
        while label in taken:
            number += 1
            label = f"{name} ({number})"
        taken.add(label)
        yield session.pk, label


def _place(address: str | None) -> str:
    find = conf.current().DEVICE_PLACE
    if find is None or address is None:
        return ""
    try:
        return str(find(address) or "")
    except Exception:
        # Which place an address is in is a detail; that the page can be seen and a device be ended is not.
        logger.exception("DEVICE_PLACE failed")
        return ""
