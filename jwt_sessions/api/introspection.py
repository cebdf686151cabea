"""What other services ask: whether a token is good (RFC 7662), and which sessions have ended."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response

from jwt_sessions import conf, credentials
from jwt_sessions.api.clients import required_client_secret
from jwt_sessions.api.metadata import conditional, conditional_json
from jwt_sessions.api.serializers import TokenSerializer
from jwt_sessions.api.views import OAuthEndpoint, validated
from jwt_sessions.conf import PACKED_IDS


@method_decorator(sensitive_variables(), name="post")
class IntrospectView(OAuthEndpoint):
    """Token introspection (RFC 7662), for credentials that may introspect. Whatever is not good is just inactive."""

    def post(self, request: Request) -> Response:
        presented = required_client_secret(request)
        answer = credentials.introspect(
            validated(TokenSerializer, request)["token"], presented, request=request._request
        )
        return Response(dict(answer))


@method_decorator(sensitive_variables(), name="get")
class RevokedView(OAuthEndpoint):
    """
    The sessions that ended within ``max_age`` seconds, the longest that an access token lives, for credentials that may
    introspect. To be asked again and again with ``If-None-Match``.

    Who asks for ``application/octet-stream`` by name gets the 16 bytes of each id, less than half of what JSON takes.
    """

    cache_control = "private, no-cache"

    def get(self, request: Request) -> HttpResponseBase:
        ended = credentials.revoked_sessions(required_client_secret(request), request=request._request)
        if PACKED_IDS in request.headers.get("Accept", "").lower():
            body = b"".join(session_id.bytes for session_id in ended)
            answer = conditional(request, HttpResponse(body, content_type=PACKED_IDS), body)
        else:
            max_age = int(conf.current().longest_access_token_lifetime.total_seconds())
            answer = conditional_json(request, {"revoked": list(map(str, ended)), "max_age": max_age})
        patch_vary_headers(answer, ["Accept"])
        return answer
