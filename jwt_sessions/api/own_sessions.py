"""A user's own sessions: ``sessions/…``."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_logged_out
from django.http import Http404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from jwt_sessions import sessions
from jwt_sessions.api.serializers import DeviceNameSerializer
from jwt_sessions.api.views import Endpoint, validated
from jwt_sessions.authentication.session import CheckedSessionAuthentication
from jwt_sessions.exceptions import EndReason, InvalidToken
from jwt_sessions.http import cookies
from jwt_sessions.http.serializers import Answer, Moment
from jwt_sessions.models import Session
from jwt_sessions.verdict.session import SessionState


def current_session(request: Request) -> Session:
    """The session that a request was authenticated by."""
    session: Session | None = getattr(request.auth, "session", None)
    if session is None:
        # The token of a credential, or a test that forces a user without a token.
        raise InvalidToken("The access token of a session is required.")
    return session


class DeviceAnswer(Answer):
    """What the User-Agent told at the last refresh; empty where unknown."""

    browser = serializers.CharField()
    system = serializers.CharField()


class IsCurrent(serializers.BooleanField):
    """Whether a session is the one in the context."""

    def to_representation(self, value: Any) -> bool:
        return bool(value.session.pk == self.context["current"].pk)


class SessionAnswer(Answer):
    """A session as its owner sees it, of a :class:`jwt_sessions.verdict.session.SessionState`."""

    id = serializers.UUIDField(source="session.pk")
    device_name = serializers.CharField(source="session.device_name")
    device = DeviceAnswer(source="session.device")
    ip_address = serializers.IPAddressField(source="session.ip_address", allow_null=True)
    audience = serializers.CharField(source="session.audience")
    created_at = Moment(source="session.created_at")
    authenticated_at = Moment(source="session.authenticated_at")
    last_active_at = Moment(source="session.last_active_at")
    session_expires_at = Moment(source="deadlines.session_expires_at", allow_null=True)
    idle_expires_at = Moment(source="deadlines.idle_expires_at", allow_null=True)
    current = IsCurrent(source="*", help_text="Whether it is the session that asks.")


class OwnEndpoint(Endpoint):
    """
    Base of the views in which users manage what lets them in.

    They take the token of a session alone: a credential that leaks must not make others or end sessions.
    """

    authentication_classes = (CheckedSessionAuthentication,)
    permission_classes = (IsAuthenticated,)

    def check_permissions(self, request: Request) -> None:
        super().check_permissions(request)
        current_session(request)


class OwnSessionsEndpoint(OwnEndpoint):
    """Base of the views that show a user's own sessions or act on them."""

    def living(self, request: Request) -> list[SessionState]:
        return sessions.live_sessions(cast(AbstractBaseUser, request.user), timezone.now())

    def shown(self, request: Request, found: Any, **options: Any) -> Response:
        return Response(SessionAnswer(found, context={"current": current_session(request)}, **options).data)

    def find(self, request: Request, session_id: str) -> SessionState:
        """The own living session of an id; ``current`` is an id too."""
        wanted = str(current_session(request).pk) if session_id == "current" else session_id
        for found in self.living(request):
            if str(found.session.pk) == wanted:
                return found
        raise Http404


class SessionListView(OwnSessionsEndpoint):
    """The own living sessions, the last active first."""

    def get(self, request: Request) -> Response:
        return self.shown(request, self.living(request), many=True)


class SessionDetailView(OwnSessionsEndpoint):
    """One own session: look at it, name its device, end it."""

    def get(self, request: Request, session_id: str) -> Response:
        return self.shown(request, self.find(request, session_id))

    def patch(self, request: Request, session_id: str) -> Response:
        found = self.find(request, session_id)
        found.session.device_name = validated(DeviceNameSerializer, request)["device_name"]
        found.session.save(update_fields=["device_name"])
        return self.shown(request, found)

    def delete(self, request: Request, session_id: str) -> Response:
        session = self.find(request, session_id).session
        if session.pk == current_session(request).pk:
            sessions.end(session, reason=EndReason.LOGOUT)
            return signed_out(request, Response(status=204))
        sessions.end(session, reason=EndReason.ENDED_BY_USER)
        return Response(status=204)


class EndOthersView(OwnSessionsEndpoint):
    """End all own sessions but the one that asks."""

    def post(self, request: Request) -> Response:
        keep = current_session(request)
        ended = sessions.end_all(cast(AbstractBaseUser, request.user), reason=EndReason.ENDED_BY_USER, keep=keep)
        return Response({"ended": ended})


class EndAllView(OwnSessionsEndpoint):
    """End all own sessions, the one that asks among them."""

    def post(self, request: Request) -> Response:
        ended = sessions.end_all(cast(AbstractBaseUser, request.user), reason=EndReason.ENDED_BY_USER)
        return signed_out(request, Response({"ended": ended}))


def signed_out(request: Request, response: Response) -> Response:
    """What follows when the session that asks has ended: Django's signal, and no cookie."""
    user_logged_out.send(sender=request.user.__class__, request=request._request, user=request.user)
    cookies.clear_refresh_cookie(request._request, response)
    return response
