"""What this package notices when a user is saved or logs in, or a session is deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import get_hasher, identify_hasher
from django.contrib.auth.signals import user_logged_in
from django.db import models
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from jwt_sessions import cache_tags, conf
from jwt_sessions.devices.recent_login import note_login
from jwt_sessions.exceptions import EndReason
from jwt_sessions.models import Credential, RevokedSession, Session, SessionPolicy, TenantActivity, TokenVersion
from jwt_sessions.sessions import end_all
from jwt_sessions.verdict.password import auth_hash, fallback_auth_hashes

# The senders are not named: a user may be saved through a proxy model.


@receiver(pre_save, dispatch_uid="jwt_sessions.notice_rehash")
def notice_rehash(instance: models.Model, using: str, **kwargs: Any) -> None:
    """
    Tell a silent re-hash from a change of the password.

    Django hashes a password anew when it sees it at login and its hasher has grown stronger: the same password, so
    sessions go on. It shows in three ways at once: the user has just been given the password in clear and forgotten it
    again (``_password`` is set, to ``None``), the stored hash was out of date, and the new one differs. Taking the
    password away with ``set_password(None)`` looks alike, but leaves nothing to sign in with.
    """
    if not isinstance(instance, get_user_model()) or vars(instance).get("_password", "") is not None:
        return
    if not instance.has_usable_password():
        return
    before = get_user_model()._base_manager.using(using).filter(pk=instance.pk).first()
    if before is not None and before.password != instance.password and _is_outdated(before.password):
        vars(instance)["_rehashed_from"] = [auth_hash(before), *fallback_auth_hashes(before)]


# Deletions are heard of these models alone: what nobody listens to Django deletes without loading it, in all of the
# project. With a user go the sessions and the personal credentials.
@receiver(post_save, dispatch_uid="jwt_sessions.invalidate_verdicts")
@receiver(post_delete, sender=Session, dispatch_uid="jwt_sessions.invalidate_verdicts")
@receiver(post_delete, sender=TokenVersion, dispatch_uid="jwt_sessions.invalidate_verdicts")
@receiver(post_delete, sender=Credential, dispatch_uid="jwt_sessions.invalidate_verdicts")
@receiver(post_delete, sender=SessionPolicy, dispatch_uid="jwt_sessions.invalidate_verdicts")
def invalidate_verdicts(instance: models.Model, using: str, **kwargs: Any) -> None:
    """
    Invalidate cached verdicts when what they depend on is saved or deleted (``SESSION_CHECK="cache"``).

    First of those that hear of a saved user, as it is stored whatever the others raise.
    """
    parents = get_user_model()._meta.all_parents
    if parents and isinstance(instance, parents) and not isinstance(instance, get_user_model()):
        cache_tags.invalidate(_tags_of_heirs(instance, using), using)
    if not isinstance(instance, (get_user_model(), TokenVersion, Session, TenantActivity, Credential, SessionPolicy)):
        return
    # As the database has it: a key may have been given as text.
    key = instance._meta.pk.to_python(instance.pk)
    if isinstance(instance, (get_user_model(), TokenVersion)):
        cache_tags.invalidate([cache_tags.user_tag(key)], using)
    elif isinstance(instance, Session):
        cache_tags.invalidate([cache_tags.session_tag(key)], using)
    elif isinstance(instance, TenantActivity):
        cache_tags.invalidate([cache_tags.session_tag(instance.session_id)], using)
    elif isinstance(instance, Credential):
        cache_tags.invalidate([cache_tags.credential_tag(key)], using)
    else:
        cache_tags.invalidate([cache_tags.POLICIES], using)


def _tags_of_heirs(instance: models.Model, using: str) -> Iterator[str]:
    """The tags of the users to whom a row belongs that was saved as one of a parent (multi-table inheritance)."""
    user_model = get_user_model()
    for parent in user_model._meta.all_parents:
        link = user_model._meta.get_ancestor_link(parent)
        if isinstance(instance, parent):
            row = {"pk" if link is None else link.name: getattr(instance, parent._meta.pk.attname)}
            keys = user_model._base_manager.using(using).filter(**row).values_list("pk", flat=True)
            yield from map(cache_tags.user_tag, keys)


@receiver(post_save, dispatch_uid="jwt_sessions.follow_rehash")
def follow_rehash(instance: models.Model, **kwargs: Any) -> None:
    """Carry the sessions of a user over a silent re-hash."""
    before = vars(instance).pop("_rehashed_from", None)
    if before is not None and isinstance(instance, get_user_model()):
        sessions = Session.objects.owned_by(instance).filter(auth_hash__in=before)
        sessions.update(auth_hash=auth_hash(instance))


@receiver(post_save, dispatch_uid="jwt_sessions.end_sessions_of_inactive")
def end_sessions_of_inactive(
    instance: models.Model, created: bool, update_fields: frozenset[str] | None, **kwargs: Any
) -> None:
    """End the sessions of a user who is deactivated, so that they do not come back when the user does."""
    if not isinstance(instance, get_user_model()) or instance.is_active or created or kwargs.get("raw"):
        return
    if update_fields is None or "is_active" in update_fields:
        end_all(instance, reason=EndReason.USER_INACTIVE)


@receiver(post_save, dispatch_uid="jwt_sessions.end_sessions_of_changed_password")
def end_sessions_of_changed_password(
    instance: models.Model, created: bool, update_fields: frozenset[str] | None, **kwargs: Any
) -> None:
    """
    End the sessions of a user who is saved with a new password.

    Each would be found dead at its next request. Services that ask no database have to be told, by ``revoked.json``.
    """
    # The raw password stands here from set_password() to the end of save(); a silent re-hash leaves None.
    if not isinstance(instance, get_user_model()) or created or vars(instance).get("_password") is None:
        return
    stored = update_fields is None or "password" in update_fields
    if stored and conf.current().PASSWORD_CHANGE_ENDS_SESSIONS:
        end_all(instance, reason=EndReason.PASSWORD_CHANGED)


@receiver(pre_delete, sender=Session, dispatch_uid="jwt_sessions.note_deleted_session")
def note_deleted_session(instance: Session, using: str, **kwargs: Any) -> None:
    """Keep the id of a session that is deleted, by itself or with its user, while it has valid access tokens."""
    if instance.ended_at is None:
        RevokedSession.objects.using(using).note([instance.pk], timezone.now())


@receiver(user_logged_in, dispatch_uid="jwt_sessions.note_login")
def note_login_of_django(request: HttpRequest | None, user: AbstractBaseUser, **kwargs: Any) -> None:
    """Remember when Django logged a user in, for ``DEVICES_RECENT_LOGIN``."""
    note_login(request, user)


def _is_outdated(encoded: str) -> bool:
    """Whether Django would hash this password anew at login."""
    preferred = get_hasher("default")
    try:
        return identify_hasher(encoded).algorithm != preferred.algorithm or preferred.must_update(encoded)
    except ValueError:
        return False
