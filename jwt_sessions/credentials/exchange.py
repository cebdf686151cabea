"""Exchanging a credential for access tokens."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from jwt_sessions import sessions
from jwt_sessions.client_info import client_info
from jwt_sessions.credentials.clients import authenticated_client, note_credential_use
from jwt_sessions.exceptions import InvalidTarget, TenantForbidden
from jwt_sessions.types import ClientSecret, CredentialToken, TokenRequest
from jwt_sessions.verdict.credential import CredentialState


class _Exchange(sessions.Step[CredentialState, CredentialToken]):
    """An access token for a credential: nothing but its use is stored."""

    def join(self) -> None:
        own, asked = self.state.credential.tenant, self.asked.tenant
        if asked is not None and asked != own and (own or self.state.user is None):
            raise TenantForbidden
        super().join()

    def store(self) -> bool:
        note_credential_use(self.state.credential, self.now)
        return True

    def answer(self, token: sessions.AccessToken) -> CredentialToken:
        return CredentialToken(token.text, token.expires_in, self.state.credential, self.asked.tenant, token.omitted)


@sensitive_variables()
def exchange_credential(
    presented: ClientSecret, *, request: HttpRequest, audience: str | None = None, tenant: str | None = None
) -> CredentialToken:
    """
    Exchange a credential for an access token (``client_credentials``, RFC 6749 §4.4). At most two statements.

    Args:
        presented: The client id and secret as sent.
        request: The request that presents them.
        audience: If told, the audience of the credential.
        tenant: If told, the tenant of the credential; or, for a personal one without, any that accepted its owner.

    Raises:
        InvalidClient, Throttled: See :func:`authenticate_client`.
        InvalidTarget: The credential is for another audience, or for one that is no longer issued.
        TenantForbidden: It is for another tenant, or its owner is no accepted member.
        IssueDenied, IssueFailed: No token was issued.
    """
    found = authenticated_client(presented, request)
    credential = found.credential
    if audience not in (None, credential.audience):
        raise InvalidTarget("The credential is for another audience.", field="audience")
    asked = TokenRequest(client_info(request), credential.audience, tenant or credential.tenant or None)
    return sessions.until_stored(lambda: sessions.issue(_Exchange(found, asked, timezone.now())))
