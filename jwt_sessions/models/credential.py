"""Credentials: a client id and a secret that are exchanged for access tokens without a session."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from jwt_sessions import cache_tags
from jwt_sessions.database.exact_text import ExactCharField
from jwt_sessions.database.primary import PrimaryQuerySet
from jwt_sessions.database.uuid7 import uuid7
from jwt_sessions.tokens.claims import RESERVED_CLAIMS

CREDENTIAL_NAME_LENGTH = 100


class CredentialKind(models.TextChoices):
    """Whom a credential acts for; the ``type`` of its access tokens."""

    PERSONAL = "personal", _("personal")
    API = "api", _("API")


class CredentialQuerySet(PrimaryQuerySet["Credential"]):
    """Statements over credentials."""

    def owned_by(self, user: Any) -> CredentialQuerySet:
        """The personal credentials of a user that were not revoked."""
        return self.filter(user_id=user.pk, kind=CredentialKind.PERSONAL, revoked_at__isnull=True)

    def mark_used(self, credential: Credential, seen_before: datetime, now: datetime) -> int:
        """Write when it was last used, unless somebody has done so since ``seen_before``."""
        unnoticed = Q(last_used_at__isnull=True) | Q(last_used_at__lte=seen_before)
        return self.filter(unnoticed, pk=credential.pk).update(last_used_at=now)

    def mark_revoked(self, credential: Credential, now: datetime) -> bool:
        """Revoke it. Of several that do so at once one is told ``True``."""
        revoked = self.filter(pk=credential.pk, revoked_at__isnull=True).update(revoked_at=now) == 1
        cache_tags.invalidate([cache_tags.credential_tag(credential.pk)], self.db)
        return revoked


class Credential(models.Model):
    """
    A client id and a secret (RFC 6749 §2.3.1). Personal ones act for their owner, API ones for a tenant or for nobody.

    The secret is 256 random bits, shown once; stored is its SHA-256.
    """

    client_id = models.UUIDField(_("client id"), primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(_("kind"), max_length=8, choices=CredentialKind.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="jwt_credentials",
        verbose_name=_("user"),
        help_text=_("The owner of a personal credential."),
    )
    created_at = models.DateTimeField(_("created"))
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True, help_text=_("Empty: never."))
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)
    may_introspect = models.BooleanField(
        _("may introspect"),
        default=False,
        help_text=_("May ask about tokens at introspect/ and read the list of ended sessions at revoked.json."),
    )
    secret_hash = models.BinaryField(_("secret hash"), max_length=32, help_text=_("SHA-256 of the secret."))
    name = models.CharField(_("name"), max_length=CREDENTIAL_NAME_LENGTH, help_text=_("What it is for."))
    audience = ExactCharField(_("audience"), max_length=255)
    tenant = ExactCharField(
        _("tenant"), max_length=255, blank=True, help_text=_("The tenant that its tokens are for, if any.")
    )
    claims = models.JSONField(
        _("claims"), default=dict, blank=True, help_text=_("Claims of its access tokens, as a JSON object.")
    )

    objects = CredentialQuerySet.as_manager()

    class Meta:
        verbose_name = _("credential")
        verbose_name_plural = _("credentials")
        constraints = [
            models.CheckConstraint(
                # A personal one has a user, but MySQL cannot be told: there Django empties the key of each row that
                # goes with a user before it deletes it.
                condition=Q(kind=CredentialKind.PERSONAL) | Q(kind=CredentialKind.API, user__isnull=True),
                name="jwt_sessions_credential_owner",
                violation_error_message=_("An API credential has no user."),
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.client_id})"

    def clean(self) -> None:
        """Claims have to be such as can be stored and issued. The audience is judged at each exchange."""
        if self._state.adding and self.expires_at is not None and self.expires_at <= timezone.now():
            raise ValidationError({"expires_at": _("This moment has passed.")})
        if self.claims is None:
            # An empty field of a form.
            self.claims = {}
        if not isinstance(self.claims, dict):
            raise ValidationError({"claims": _("A JSON object.")})
        if not _is_plain_json(self.claims):
            raise ValidationError({"claims": _("JSON without NaN, infinities, NUL or lone surrogates.")})
        if reserved := RESERVED_CLAIMS.intersection(self.claims):
            raise ValidationError({"claims": _("Reserved names: %s.") % ", ".join(sorted(reserved))})


def secret_digest(secret: str) -> bytes:
    """What is stored of a secret. A slow hash has nothing to add to 256 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def _is_plain_json(value: object) -> bool:
    """Whether a value is JSON that every database can store: Python also takes what RFC 8259 has no word for."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return "\\u0000" not in text
