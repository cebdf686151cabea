"""
What the inputs meet: users, sessions and credentials, the same ones each time.

Ids and secrets come from a seeded generator while the world is made, so that an input that was found in one process
holds a genuine token in the next one too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, NamedTuple
from unittest import mock
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.core.cache import cache
from django.db import connection, models, transaction
from django.http import HttpRequest
from django.test import Client, override_settings
from django.utils import timezone

from example_project.accounts.models import Membership, Tenant, User
from jwt_sessions import credentials, sessions
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import Credential, TenantActivity
from tests.elsewhere import ISSUER, Signer
from tests.fuzz.seeds import PASSWORD

CLOCK = 1_790_000_000_000_000_000  # nanoseconds; only ids are made of it
LONG = timedelta(days=365)
APPS = ("jwt_sessions", "accounts", "sessions", "admin")


def forwarded_for(request: HttpRequest) -> str | None:
    """``CLIENT_IP`` as a project behind one proxy writes it: what the client sent is whatever it liked."""
    header = request.META.get("HTTP_X_FORWARDED_FOR")
    return header.rpartition(",")[2].strip() if header else request.META.get("REMOTE_ADDR")


class Answer(NamedTuple):
    """
    What became of an input.

    Attributes:
        refused: Whether it was refused; nothing may be written then, and no secret may stand in ``text``.
        may_write: Whether rows may be written: only by what was accepted and is genuine.
        text: The body of the answer.
    """

    refused: bool
    may_write: bool = False
    text: bytes = b""


class Tokens(NamedTuple):
    """The tokens of one session."""

    access: str
    refresh: str


class World:
    """Users, sessions and credentials; :meth:`restore` makes them as they were."""

    def __init__(self) -> None:
        self.issuer = Signer("ES256", "one")
        self.http = Client()

    @contextmanager
    def lived_in(self) -> Iterator[World]:
        """The settings and the rows, on an empty database."""
        # Nothing that a good request writes as a matter of course may hide what a bad one writes: no use is noted.
        own = {
            "ISSUER": "https://id.example",
            "AUDIENCES": ["api", "reports"],
            "ACCESS_TOKEN_LIFETIME": LONG,
            "REFRESH_TOKEN_LIFETIME": None,
            "MAX_SESSION_LIFETIME": None,
            "ACTIVITY_RESOLUTION": LONG,
            "ALLOW_RENEWAL": True,
            "EXCHANGE_SIMPLEJWT_TOKENS": True,
            "LOGIN_THROTTLE": None,
            "TENANTS": "example_project.accounts.models.accepted_tenants",
            "TRUSTED_ISSUERS": {ISSUER: {"jwks": self.issuer.jwks}},
            "CLIENT_IP": "tests.fuzz.world.forwarded_for",
        }
        hashers = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        with override_settings(JWT_SESSIONS=own, PASSWORD_HASHERS=hashers, ALLOWED_HOSTS=["*"]):
            self._make()
            self._rows = [(model, list(model._base_manager.all())) for model in _models()]
            yield self

    def _make(self) -> None:
        source = random.Random(2026)
        with ExitStack() as stack:
            stack.enter_context(mock.patch("secrets.token_bytes", source.randbytes))
            stack.enter_context(mock.patch("secrets.randbits", source.getrandbits))
            stack.enter_context(mock.patch("time.time_ns", return_value=CLOCK))
            self.user = User.objects.create_user("ann@example.com", PASSWORD, id=UUID(int=1))
            self.staff = User.objects.create_superuser("root@example.com", PASSWORD, id=UUID(int=2))
            Tenant.objects.create(id="acme", name="Acme")
            Membership.objects.create(user=self.user, tenant_id="acme", accepted_at=self.user.date_joined)
            self.living = self._session(self.user)
            self.ended = self._session(self.user, end=True)
            self.administrator = self._session(self.staff)
            self.service = credentials.create_credential(name="A service", may_introspect=True)
            self.personal = credentials.create_credential(name="A script", user=self.user)
        Credential.objects.update(last_used_at=timezone.now())
        self.staff_http = Client()
        self.staff_http.force_login(self.staff)
        self._staff_session = self.staff_http.cookies["sessionid"].value

    def _session(self, user: User, *, end: bool = False) -> Tokens:
        pair = sessions.start(user)
        # Its clock for the tenant goes already: the first use of a good token would set it.
        TenantActivity.objects.note(pair.session.pk, "acme", timezone.now(), seen=False)
        if end:
            sessions.end(pair.session, reason=EndReason.LOGOUT)
        return Tokens(pair.access_token, pair.refresh_token)

    @property
    def genuine(self) -> tuple[str, ...]:
        """The tokens with which sessions may be ended or refreshed."""
        return (*self.living, *self.administrator)

    @property
    def secrets(self) -> list[bytes]:
        """What must stand in no log and in no refusal."""
        tokens = (self.living, self.ended, self.administrator)
        return [
            each.encode()
            for each in (
                *(PASSWORD, str(settings.SECRET_KEY), self.service.client_secret, self.personal.client_secret),
                # Without the first and last characters: a change there must not hide the rest.
                *(text[8:-8] for pair in tokens for text in pair),
                *(pair.access.rpartition(".")[2] for pair in tokens),
            )
        ]

    def restore(self) -> None:
        """Make the rows as they were, and forget what was cached."""
        cache.clear()
        with transaction.atomic():
            for model, _rows in reversed(self._rows):
                model._base_manager.all()._raw_delete(connection.alias)
            for model, rows in self._rows:
                model._base_manager.bulk_create(rows)

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        kind: str = "application/json",
        query: bytes = b"",
        path_info: bytes | None = None,
        headers: dict[str, str] | None = None,
        as_staff: bool = False,
        may_write: bool | None = None,
    ) -> Answer:
        """
        A request of this world's own client, and what the server said.

        Args:
            path_info: The path as a server hands it on, where it is part of the input.
            may_write: Whether rows may be written; where the answer is good, unless told.

        Raises:
            Exception: Whatever would have been answered with 500.
        """
        client = self.staff_http if as_staff else self.http
        client.cookies.clear()
        if as_staff:
            client.cookies["sessionid"] = self._staff_session
        # A WSGI server decodes both as Latin-1 (PEP 3333).
        extra = {} if path_info is None else {"PATH_INFO": path_info.decode("latin-1")}
        response = client.generic(
            method, path, body, kind, headers=headers, QUERY_STRING=query.decode("latin-1"), **extra
        )
        if response.status_code >= 500:
            raise ServerError(response.status_code)
        text = b"" if response.streaming else response.content
        good = response.status_code < 400
        return Answer(not good, good if may_write is None else may_write, text)


class ServerError(Exception):
    """An answer of 500 or more that no exception announced."""


def header_text(data: bytes) -> str:
    """The bytes as the value of a header reaches an application; servers refuse these three themselves."""
    return data.translate(None, b"\r\n\0").decode("latin-1")


def _models() -> list[type[models.Model]]:
    """Those with rows of this world, referred ones first."""
    found = [model for name in APPS for model in apps.get_app_config(name).get_models()]
    return sorted(found, key=lambda model: (model._meta.app_label != "accounts", _depth(model)))


def _depth(model: type[models.Model]) -> int:
    """How far from a model without foreign keys."""
    related: Any = (field.related_model for field in model._meta.concrete_fields if field.is_relation)
    return max((1 + _depth(each) for each in related if each is not model), default=0)
