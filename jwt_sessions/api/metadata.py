"""What verifiers and clients read to find their way: the JWK set and the server's metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from django.http import Http404, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from rest_framework.request import Request
from rest_framework.response import Response

from jwt_sessions import conf
from jwt_sessions.api.grants import grants
from jwt_sessions.api.views import Endpoint
from jwt_sessions.tokens.keys import ring

MAX_AGE = 300  # seconds


def conditional_json(request: Request, document: dict[str, Any]) -> HttpResponseBase:
    """A JSON document with an ETag, or 304 for who has it already."""
    return conditional(request, Response(document), json.dumps(document, sort_keys=True).encode())


def conditional(request: Request, response: HttpResponse, content: bytes) -> HttpResponseBase:
    """An answer with an ETag (RFC 9110 §8.8.3) that follows from its content, or 304 for who has it already."""
    etag = quote_etag(hashlib.sha256(content).hexdigest()[:32])
    response.headers["ETag"] = etag
    # None of the two answers None: there is a response to fall back on.
    return get_conditional_response(request._request, etag, response=response) or response


class MetadataEndpoint(Endpoint):
    """A public document that may be cached."""

    cache_control = f"public, max-age={MAX_AGE}"

    document: Callable[..., dict[str, Any]]

    def get(self, request: Request, **kwargs: str) -> HttpResponseBase:
        return conditional_json(request, self.document(**kwargs))


class JWKSView(MetadataEndpoint):
    """The public keys of signer and verifiers (RFC 7517 §5). A symmetric key is never among them."""

    def document(self) -> dict[str, Any]:
        return dict(ring().jwks)


class AuthorizationServerView(MetadataEndpoint):
    """
    Authorization server metadata (RFC 8414), where ``ISSUER`` is a URL.

    For an issuer with a path, that path stands behind the well-known one, without a slash at its end (RFC 8414 §3.1).
    With the slash it is found too: some clients leave it there. Nothing here follows the request's ``Host`` or what a
    proxy says: a cache must not be made to hand out the endpoints of somebody else.
    """

    def document(self, issuer_path: str | None = None) -> dict[str, Any]:
        settings = conf.current()
        issuer = urlsplit(settings.ISSUER)
        # Django has decoded the path of the request.
        path, asked = unquote(issuer.path), "" if issuer_path is None else f"/{issuer_path}"
        if not settings.issuer_is_url or asked not in (path, path.removesuffix("/")):
            raise Http404
        origin = f"{issuer.scheme}://{issuer.netloc}"
        return {
            "issuer": settings.ISSUER,
            "token_endpoint": origin + reverse("jwt_sessions:token"),
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "grant_types_supported": list(grants()),
            # Required (RFC 8414 §2) and not to be empty (§3.2), though there is no authorization endpoint that would
            # answer: "none" is the registered type of an answer without code and token.
            "response_types_supported": ["none"],
            "jwks_uri": origin + reverse("jwt_sessions:jwks"),
            "revocation_endpoint": origin + reverse("jwt_sessions:revoke"),
            "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "introspection_endpoint": origin + reverse("jwt_sessions:introspect"),
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }
