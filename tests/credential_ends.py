"""The ways in which a credential, and with it each of its access tokens, dies."""

from __future__ import annotations

from django.utils import timezone

from jwt_sessions import credentials, sessions
from jwt_sessions.models import Credential
from tests.factories import UserFactory


def revoke(service):
    assert credentials.revoke_credential(service.credential)


def delete(service):
    service.credential.delete()


def expire(service):
    Credential.objects.update(expires_at=timezone.now())


def deactivate(service):
    owner = service.credential.user
    owner.is_active = False
    owner.save()


def deactivate_in_bulk(service):
    type(service.credential.user).objects.update(is_active=False)


def delete_owner(service):
    service.credential.user.delete()


def raise_version(service):
    sessions.raise_version(service.credential.user)


def give_away(service):
    Credential.objects.update(user=UserFactory())


def make_an_api_credential(service):
    Credential.objects.update(user=None, kind="api")


OF_ALL = [revoke, delete, expire]
OF_OWNERS = [deactivate, deactivate_in_bulk, delete_owner, raise_version, give_away, make_an_api_credential]
