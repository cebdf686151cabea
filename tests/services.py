"""A service as it uses this package: it holds a credential, exchanges it, calls, asks about tokens."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote_plus

from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from jwt_sessions import credentials
from jwt_sessions.models import Credential


def basic(client_id: str, secret: str) -> dict[str, str]:
    """The header of HTTP Basic (RFC 6749 §2.3.1: both are form-encoded first)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


class Service:
    """The holder of one credential. ``access_token`` is the last that it got."""

    def __init__(self, **parameters: Any) -> None:
        new = credentials.create_credential(**{"name": "A service", **parameters})
        self.client_id, self.secret = str(new.credential.pk), new.client_secret
        self.http = Client()
        self.access_token = ""

    @property
    def credential(self) -> Credential:
        return Credential.objects.get(pk=self.client_id)

    @property
    def basic(self) -> dict[str, str]:
        return basic(self.client_id, self.secret)

    @property
    def body(self) -> dict[str, str]:
        return {"client_id": self.client_id, "client_secret": self.secret}

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}

    def post(self, name: str, data: dict[str, Any], headers: dict[str, str] | None = None) -> HttpResponse:
        """POST a form, authenticated by HTTP Basic unless told otherwise."""
        chosen = self.basic if headers is None else headers
        return self.http.post(reverse(f"jwt_sessions:{name}"), data, headers=chosen)

    def exchange(self, **parameters: str) -> HttpResponse:
        """Exchange the credential, and remember the answer if it is good."""
        response = self.post("token", {"grant_type": "client_credentials", **parameters})
        if response.status_code == 200:
            self.access_token = response.json()["access_token"]
        return response

    def exchanged(self, **parameters: str) -> Service:
        """Itself, with an access token."""
        response = self.exchange(**parameters)
        assert response.status_code == 200, response.content
        return self

    def call(self, path: str = "/api/caller/") -> HttpResponse:
        """Call the example project's protected API."""
        return self.http.get(path, headers=self.bearer)

    def introspect(self, token: str) -> HttpResponse:
        return self.post("introspect", {"token": token})

    def revoked(self, **headers: str) -> HttpResponse:
        return self.http.get(reverse("jwt_sessions:revoked"), headers={**self.basic, **headers})
