"""
The example project's users and the tenants they act for.

Users have a UUID for a key, an e-mail address to sign in with, and no user name.
"""

import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.utils import timezone


class UserManager(BaseUserManager["User"]):
    """Creates users and superusers by e-mail address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a user; without a password it cannot sign in by one."""
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a user with access to the admin and every permission."""
        return self.create_user(email, password, **{"is_staff": True, "is_superuser": True} | fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in with an e-mail address."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField("e-mail address", unique=True)
    name = models.CharField(max_length=150, blank=True)
    is_active = models.BooleanField("active", default=True)
    is_staff = models.BooleanField("may use the admin", default=False)
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    def __str__(self) -> str:
        return self.email


class Tenant(models.Model):
    """A customer account. Its key is what access tokens name as ``tenantId``."""

    id = models.SlugField(primary_key=True)
    name = models.CharField(max_length=150)
    members = models.ManyToManyField(User, through="Membership", related_name="tenants")

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's place in a tenant: an invitation until it is accepted."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    invited_at = models.DateTimeField(default=timezone.now, editable=False)
    accepted_at = models.DateTimeField(null=True, blank=True, help_text="Empty while the user is merely invited.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=["user", "tenant"], name="accounts_one_membership_each"),)

    def __str__(self) -> str:
        return f"{self.user_id} in {self.tenant_id}"


def accepted_tenants(user: User) -> Iterable[str]:
    """The ids of the tenants that a user may act for; invitations do not count. ``TENANTS`` names this function."""
    return user.memberships.filter(accepted_at__isnull=False).values_list("tenant_id", flat=True)
