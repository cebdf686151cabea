"""A client as users have it: a device that signs in, calls, refreshes and remembers its tokens."""

from __future__ import annotations

from typing import Any, Self

from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from example_project.accounts.models import User
from tests.factories import PASSWORD

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)


class Device:
    """One signed-in device. ``tokens`` is the last token answer."""

    def __init__(self, user: User, user_agent: str = CHROME) -> None:
        self.user = user
        self.http = Client(headers={"user-agent": user_agent})
        self.tokens: dict[str, Any] = {}

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    def sign_in(self, **parameters: Any) -> Self:
        response = self.post("login", {"email": self.user.email, "password": PASSWORD, **parameters})
        assert response.status_code == 200, response.content
        self.tokens = response.json()
        return self

    def post(self, name: str, data: dict[str, Any] | None = None, **headers: str) -> HttpResponse:
        """POST JSON to an endpoint of this package by its URL name."""
        url = reverse(f"jwt_sessions:{name}")
        return self.http.post(url, data or {}, content_type="application/json", headers=headers)

    def get(self, name: str, *args: str, **headers: str) -> HttpResponse:
        url = reverse(f"jwt_sessions:{name}", args=args)
        return self.http.get(url, headers={**self.bearer, **headers})

    def call(self, **headers: str) -> HttpResponse:
        """Call the example project's protected API."""
        return self.http.get("/api/me/", headers={**self.bearer, **headers})

    def refresh(self, refresh_token: str | None = None, **parameters: Any) -> HttpResponse:
        """Refresh with a token (by default the last received), and remember the answer if it is good."""
        token = refresh_token or self.tokens["refresh_token"]
        response = self.post("token", {"grant_type": "refresh_token", "refresh_token": token, **parameters})
        if response.status_code == 200:
            self.tokens = response.json()
        return response
