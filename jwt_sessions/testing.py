"""
For the tests of projects that use this package: a signed-in client, a clock that stands, assertions on sessions.

Usable with unittest and pytest. Nothing here is for production.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock
from uuid import UUID

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.test import APIClient

from jwt_sessions import login, sessions
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import Session
from jwt_sessions.types import TokenPair
from jwt_sessions.verdict.session import SessionState, find

if TYPE_CHECKING:
    from unittest.mock import _patch


class SessionClient(APIClient):
    """
    A test client that signs in without HTTP and sends its access token with each request.

    It takes what REST framework's ``APIClient`` takes. Views of REST framework know the user by
    ``JWTSessionAuthentication``, plain views by ``JWTSessionMiddleware``. A request that brings an ``Authorization``
    header of its own keeps it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pair: TokenPair | None = None

    @property
    def pair(self) -> TokenPair:
        """The tokens of the last sign-in or refresh. Raises RuntimeError if nobody is signed in."""
        if self._pair is None:
            raise RuntimeError("Nobody is signed in on this client: call sign_in(user) first.")
        return self._pair

    @property
    def bearer(self) -> dict[str, str]:
        """The header that authenticates, for another client: ``await async_client.get(url, headers=client.bearer)``."""
        return {"Authorization": f"Bearer {self.pair.access_token}"}

    @property
    def jwt_session(self) -> Session:
        """
        The session, fresh from the database.

        ``client.session`` is Django's own, of its session cookie. Raises Session.DoesNotExist if it was deleted.
        """
        return Session.objects.get(pk=self.pair.session.pk)

    def sign_in(
        self,
        user: AbstractBaseUser,
        *,
        audience: str | None = None,
        tenant: str | None = None,
        device_name: str = "",
        replace_others: bool = False,
    ) -> TokenPair:
        """
        Start a session for a user, with :func:`jwt_sessions.sessions.start`, which takes and raises the same.

        The device is that of the client: ``SessionClient(headers={"user-agent": …}, REMOTE_ADDR=…)``.
        """
        self._pair = sessions.start(
            user,
            request=self._request_of_device(),
            audience=audience,
            tenant=tenant,
            device_name=device_name,
            replace_others=replace_others,
        )
        return self._pair

    def refresh(self, *, tenant: str | None = None, audience: str | None = None, background: bool = False) -> TokenPair:
        """Exchange the refresh token, with :func:`jwt_sessions.sessions.refresh`, which takes and raises the same."""
        self._pair = sessions.refresh(
            self.pair.refresh_token,
            request=self._request_of_device(),
            tenant=tenant,
            audience=audience,
            background=background,
        )
        return self._pair

    def sign_out(self) -> bool:
        """
        End the session as ``logout/`` does, and send its tokens no more. Answers whether it was living.

        To see what the tokens of an ended session get, end it with :func:`jwt_sessions.sessions.end` instead.
        """
        pair, self._pair = self.pair, None
        return login.sign_out(pair.access_token, request=self._request_of_device())

    def logout(self) -> None:
        """Forget all credentials, as REST framework's client does. The session lives on."""
        self._pair = None
        super().logout()

    def request(self, **kwargs: Any) -> Any:
        """Send a request, with the access token if somebody is signed in."""
        if self._pair is not None:
            kwargs.setdefault("HTTP_AUTHORIZATION", self.bearer["Authorization"])
        return super().request(**kwargs)

    def _request_of_device(self) -> HttpRequest:
        """A request of this client as receivers and CLIENT_IP expect one."""
        defaults: dict[str, Any] = self.defaults
        return RequestFactory(**defaults).post("/")


class FrozenClock:
    """The time that :func:`frozen_time` tells: it stands until it is moved."""

    def __init__(self, moment: datetime) -> None:
        self._moment = _checked(moment)

    def __call__(self) -> datetime:
        """The time, as ``django.utils.timezone.now()`` answers it."""
        return self._moment

    def shift(self, by: timedelta) -> None:
        """Move the time, back with a negative ``timedelta``."""
        self._moment += by

    def move_to(self, moment: datetime) -> None:
        """Set the time. Raises ValueError as :func:`frozen_time`."""
        self._moment = _checked(moment)


def frozen_time(moment: datetime) -> _patch[FrozenClock]:
    """
    Let ``django.utils.timezone.now()`` tell one time, in all threads of this process.

    A context manager that answers the :class:`FrozenClock`, or a decorator for functions, coroutine functions and test
    classes. Sessions, deadlines and tokens obey; ``time.time()``, ``datetime.now()``, caches and throttles go on.

    Args:
        moment: The time, aware if ``USE_TZ`` is on and naive if not.

    Raises:
        ValueError: The moment is naive where it must be aware, or the other way round.
    """
    return mock.patch.object(timezone, "now", FrozenClock(moment))


def assert_session_live(session: Session | UUID) -> None:
    """
    Fail unless a session lives by the verdict that every request asks: not ended, and not past a deadline.

    Args:
        session: The session or its id; what counts is what the database says now. Nothing is written.
    """
    found, name = _found(session)
    if found is None:
        raise AssertionError(f"Session {name} does not exist.")
    reason = _reason(found)
    if reason is not None:
        raise AssertionError(f"Session {name} does not live: {_ended(found, reason)}.")


def assert_session_ended(session: Session | UUID, reason: EndReason | str | None = None) -> None:
    """
    Fail unless a session is over by the verdict that every request asks, also if its end is not yet written.

    Args:
        session: The session or its id; what counts is what the database says now. Nothing is written.
        reason: The :class:`jwt_sessions.exceptions.EndReason` it must have; any by default. A deleted session is over
            without a reason.

    Raises:
        ValueError: There is no such reason.
    """
    expected = None if reason is None else EndReason(reason)
    found, name = _found(session)
    if found is None:
        if expected is not None:
            raise AssertionError(f"Session {name} does not exist, so it has no reason {expected.value!r}.")
        return
    actual = _reason(found)
    if actual is None:
        raise AssertionError(f"Session {name} lives{_until(found)}.")
    if expected not in (None, actual):
        raise AssertionError(f"Session {name} was to end by {expected.value!r}, but {_ended(found, actual)}.")


def assert_live_sessions(user: AbstractBaseUser, count: int) -> None:
    """
    Fail unless a user has so many living sessions, by the verdict that every request asks.

    Args:
        user: Whose sessions.
        count: How many are to live.
    """
    shown = [found.session for found in sessions.live_sessions(user, timezone.now())]
    if len(shown) != count:
        lines = "".join(f"\n  {each.pk} {each.device_name or each.device_info}".rstrip() for each in shown)
        raise AssertionError(f"{user} has {len(shown)} living sessions, not {count}.{lines}")


def _checked(moment: datetime) -> datetime:
    if timezone.is_aware(moment) != settings.USE_TZ:
        kind = "aware" if settings.USE_TZ else "naive"
        raise ValueError(f"The moment must be {kind}, as USE_TZ is {settings.USE_TZ}: {moment!r}")
    return moment


def _found(session: Session | UUID) -> tuple[SessionState | None, UUID]:
    session_id = session.pk if isinstance(session, Session) else session
    return find(session_id), session_id


def _reason(found: SessionState) -> EndReason | None:
    return found.verdict(timezone.now())


def _ended(found: SessionState, reason: EndReason) -> str:
    at = found.session.ended_at
    written = f"at {at.isoformat()}" if at is not None else "which the next request will write"
    return f"it ended by {reason.value!r}, {written}"


def _until(found: SessionState) -> str:
    coming = found.deadlines().next
    if coming is None:
        return " and has no deadline"
    now = timezone.now().isoformat()
    return f" until {coming.at.isoformat()} ({coming.reason.value!r}, set by {coming.source}); it is {now}"
