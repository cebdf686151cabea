"""Frozen facts that cross floors: what a client is, what a token claims, what is handed back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

    from jwt_sessions.models import Credential, Session

FAMILY_LENGTH = 50
DEVICE_JOINT = " on "


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """
    What a request tells about the device that sent it.

    Attributes:
        ip_address: The client's address, or ``None`` where it is unknown.
        browser: Family of the browser or client library, for instance "Chrome"; empty where unknown.
        system: Family of the operating system, for instance "Windows"; empty where unknown.
        user_agent: The User-Agent header as sent, at most 512 characters. Never stored.
    """

    ip_address: str | None = None
    browser: str = ""
    system: str = ""
    user_agent: str = ""

    @property
    def device(self) -> str:
        """The device in one line, for instance "Chrome on Windows"; :func:`device_families` reads it back."""
        return f"{self.browser}{DEVICE_JOINT}{self.system}" if self.system else self.browser


class DeviceFamilies(NamedTuple):
    """Families of a browser and of an operating system; empty where unknown."""

    browser: str
    system: str


def device_families(device: str) -> DeviceFamilies:
    """The browser and the system in what :attr:`ClientInfo.device` made."""
    browser, _, system = device.partition(DEVICE_JOINT)
    return DeviceFamilies(browser, system)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """
    What somebody who holds a session asks of it.

    Attributes:
        client: The facts of the request.
        audience: One of ``AUDIENCES``; ``None`` for the session's own.
        tenant: A tenant to act for, or ``None``.
        background: The client asks by itself: no sign of the user.
    """

    client: ClientInfo
    audience: str | None = None
    tenant: str | None = None
    background: bool = False


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A client id and secret as presented (RFC 6749 §2.3.1). The secret stays out of the ``repr``."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(slots=True)
class Draft:
    """
    A token about to be issued, as ``pre_issue`` receivers see it. All but ``claims`` and ``expires_in`` is read-only.

    Attributes:
        token_type: "user", "personal" or "api".
        user: The user that the token speaks for; ``None`` for an API credential.
        credential: The credential that is exchanged, or ``None`` for a session's token.
        session: A copy of the session, not yet stored at sign-in; ``None`` for a credential's token.
        audience: The audience the token is for.
        tenant: The tenant the token is for, or ``None``.
        client: What the request tells about the device.
        expires_in: How long the token shall live, by default as the settings say for its type. It may be shortened
            for "user", and set for the others; what lies past a deadline of the session or credential is cut.
        claims: Claims to add. Names that this package or RFC 7519 and 9068 define are reserved.
    """

    token_type: str
    user: AbstractBaseUser | None
    credential: Credential | None
    session: Session | None
    audience: str
    tenant: str | None
    client: ClientInfo
    expires_in: timedelta
    claims: dict[str, Any] = field(default_factory=dict)

    def __setattr__(self, name: str, value: Any) -> None:
        # The generated __init__ sets each once. What a token is for was checked before receivers are asked.
        if name not in ("claims", "expires_in") and hasattr(self, name):
            raise AttributeError(f"{name} of a draft is read-only")
        object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class TokenPair:
    """
    What a sign-in or a refresh hands back. The secrets stay out of its ``repr``.

    Attributes:
        access_token: The signed JWT.
        refresh_token: The opaque refresh token; empty where only an access token was asked for.
        expires_in: Lifetime of the access token, whole seconds.
        session: The session that both belong to.
        session_expires_at: When the session ends even if it is used (maximum lifetime or refresh expiry), or ``None``.
        idle_expires_at: When it ends unless it is used, or ``None``.
        rotated: Whether ``refresh_token`` is new with this answer.
        tenant: The tenant that the access token is for, or ``None``.
        omitted: Optional claims that were left out because the token was too large.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    session: Session
    session_expires_at: datetime | None
    idle_expires_at: datetime | None
    rotated: bool
    tenant: str | None = None
    omitted: tuple[str, ...] = ()

    token_type: ClassVar[str] = "Bearer"  # noqa: S105

    @property
    def refresh_in(self) -> int:
        """When a keep-alive timer should refresh: 80 % of ``expires_in``, whole seconds, at least one."""
        return max(1, self.expires_in * 4 // 5)


@dataclass(frozen=True, slots=True)
class CredentialToken:
    """
    What the exchange of a credential hands back. The token stays out of its ``repr``.

    Attributes:
        access_token: The signed JWT.
        expires_in: Its lifetime, whole seconds.
        credential: The credential.
        tenant: The tenant that the token is for, or ``None``.
        omitted: Optional claims that were left out because the token was too large.
    """

    access_token: str = field(repr=False)
    expires_in: int
    credential: Credential
    tenant: str | None = None
    omitted: tuple[str, ...] = ()

    token_type: ClassVar[str] = "Bearer"  # noqa: S105
