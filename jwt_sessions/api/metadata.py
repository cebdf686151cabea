"""What verifiers and clients read to find their way: the JWK set and the server's metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django.http import Http404, HttpResponseBase
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from rest_framework.request import Request
from rest_framework.response import Response

from jwt_sessions import conf
from jwt_sessions.api.views import Endpoint
from jwt_sessions.tokens.keys import ring

MAX_AGE = 300  # seconds


class MetadataEndpoint(Endpoint):
    """A public document that may be cached, with an ETag (RFC 9110 §8.8.3)."""

    cache_control = f"public, max-age={MAX_AGE}"

    document: Callable[..., dict[str, Any]]

    def get(self, request: Request, **kwargs: str) -> HttpResponseBase:
        document = self.document(**kwargs)
        etag = quote_etag(hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32])
        response = Response(document, headers={"ETag": etag})
        # None of the two answers None: there is a response to fall back on.
        return get_conditional_response(request._request, etag, response=response) or response


class JWKSView(MetadataEndpoint):
    """The public keys of signer and verifiers (RFC 7517 §5). A symmetric key is never among them."""

    def document(self) -> dict[str, Any]:
        return dict(ring().jwks)


class AuthorizationServerView(MetadataEndpoint):
    """
    Authorization server metadata (RFC 8414), where ``ISSUER`` is a URL.

    For an issuer with a path, that path stands behind the well-known one (RFC 8414 §3.1).
    """

    def document(self, issuer_path: str = "") -> dict[str, Any]:
        settings = conf.current()
        issuer = urlsplit(settings.ISSUER)
        if not settings.issuer_is_url or issuer_path.rstrip("/") != issuer.path.rstrip("/"):
            raise Http404
        origin = f"{issuer.scheme}://{issuer.netloc}"
        return {
            "issuer": settings.ISSUER,
            "token_endpoint": origin + reverse("jwt_sessions:token"),
            "revocation_endpoint": origin + reverse("jwt_sessions:revoke"),
            "jwks_uri": origin + reverse("jwt_sessions:jwks"),
            "grant_types_supported": ["password", "refresh_token"],
            # Required by RFC 8414 §2; there is no authorization endpoint that would answer.
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
        }
