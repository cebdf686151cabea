"""What acts without a row in the user table: a client with a credential, or a user whom another service knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any


class Principal:
    """
    Who a verified token speaks for, made of its claims alone: ``request.user`` where there is no row.

    It answers what Django and Django REST framework ask of a user, as ``AnonymousUser`` does, but it is
    authenticated. It holds no permission of Django's: what it may do is for the project to read from ``claims``.
    Two principals are equal if issuer and subject are: only together are these unique (RFC 7519 §4.1.2).

    Args:
        claims: The claims of a verified token; ``iss`` and ``sub`` among them.
    """

    __slots__ = ("_claims",)

    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False

    def __init__(self, claims: Mapping[str, Any]) -> None:
        self._claims = dict(claims)

    @property
    def claims(self) -> Mapping[str, Any]:
        """The claims, read-only."""
        return MappingProxyType(self._claims)

    @property
    def pk(self) -> str:
        """The subject: the key that the issuer gave to the user, or the id of the client."""
        return str(self._claims["sub"])

    @property
    def id(self) -> str:
        """The same as :attr:`pk`."""
        return self.pk

    @property
    def username(self) -> str:
        """The same as :attr:`pk`: no other name is sure to be in a token."""
        return self.pk

    def get_username(self) -> str:
        """The same as :attr:`pk`."""
        return self.pk

    def get_user_permissions(self, obj: object = None) -> set[str]:
        """No permissions."""
        return set()

    def get_group_permissions(self, obj: object = None) -> set[str]:
        """No permissions."""
        return set()

    def get_all_permissions(self, obj: object = None) -> set[str]:
        """No permissions."""
        return set()

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """No."""
        return False

    def has_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:
        """Only if nothing is asked for, like a user of Django's."""
        return not list(perm_list)

    def has_module_perms(self, module: str) -> bool:
        """No."""
        return False

    async def ahas_perm(self, perm: str, obj: object = None) -> bool:
        """See :meth:`has_perm`."""
        return self.has_perm(perm, obj)

    async def ahas_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:
        """See :meth:`has_perms`."""
        return self.has_perms(perm_list, obj)

    async def ahas_module_perms(self, module: str) -> bool:
        """See :meth:`has_module_perms`."""
        return self.has_module_perms(module)

    async def aget_user_permissions(self, obj: object = None) -> set[str]:
        """See :meth:`get_user_permissions`."""
        return self.get_user_permissions(obj)

    async def aget_group_permissions(self, obj: object = None) -> set[str]:
        """See :meth:`get_group_permissions`."""
        return self.get_group_permissions(obj)

    async def aget_all_permissions(self, obj: object = None) -> set[str]:
        """See :meth:`get_all_permissions`."""
        return self.get_all_permissions(obj)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Principal) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __str__(self) -> str:
        return self.pk

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pk!r}>"

    @property
    def _identity(self) -> tuple[str, str]:
        return str(self._claims["iss"]), self.pk
