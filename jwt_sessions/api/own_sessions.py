"""A user's own sessions: ``sessions/…``."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_logged_out
from django.http import Http404
from django.utils import timezone
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from jwt_sessions import sessions
from jwt_sessions.api import cookies
from jwt_sessions.api.serializers import DeviceNameSerializer, session_answer
from jwt_sessions.api.views import Endpoint, validated
from jwt_sessions.authentication.session import CheckedSessionAuthentication
from jwt_sessions.exceptions import EndReason, InvalidToken
from jwt_sessions.models import Session


def current_session(request: Request) -> Session:
    """The session that a request was authenticated by."""
    session = cast(sessions.VerifiedToken, request.auth).session
    if session is None:
        raise InvalidToken
    return session


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

    def living(self, request: Request) -> list[Session]:
        return sessions.live_sessions(cast(AbstractBaseUser, request.user), timezone.now())

    def find(self, request: Request, session_id: str) -> Session:
        """The own living session of an id; ``current`` is an id too."""
        wanted = str(current_session(request).pk) if session_id == "current" else session_id
        for session in self.living(request):
            if str(session.pk) == wanted:
                return session
        raise Http404


class SessionListView(OwnSessionsEndpoint):
    """The own living sessions, the last active first."""

    def get(self, request: Request) -> Response:
        current = current_session(request)
        return Response([session_answer(session, current) for session in self.living(request)])


class SessionDetailView(OwnSessionsEndpoint):
    """One own session: look at it, name its device, end it."""

    def get(self, request: Request, session_id: str) -> Response:
        return Response(session_answer(self.find(request, session_id), current_session(request)))

    def patch(self, request: Request, session_id: str) -> Response:
        session = self.find(request, session_id)
        session.device_name = validated(DeviceNameSerializer, request)["device_name"]
        session.save(update_fields=["device_name"])
        return Response(session_answer(session, current_session(request)))

    def delete(self, request: Request, session_id: str) -> Response:
        session = self.find(request, session_id)
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
    cookies.clear_refresh_cookie(response)
    return response
