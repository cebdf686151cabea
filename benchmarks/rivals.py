"""What a client has to know of either library: how to sign in, where to call, what to send to refresh."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.test import RequestFactory
from rest_framework_simplejwt.tokens import RefreshToken

from jwt_sessions import sessions

USER_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
    " Edg/141.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0"
    " Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0"
    " Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
)


@dataclass(frozen=True, slots=True)
class Tokens:
    access: str
    refresh: str


@dataclass(frozen=True, slots=True)
class Rival:
    """One of the two libraries, as a client meets it."""

    sign_in: Callable[[User], Tokens]
    whoami_path: str
    stateless_path: str
    refresh_path: str
    refresh_field: str
    refresh_extra: dict[str, str]

    def refresh_body(self, token: str) -> bytes:
        return json.dumps({self.refresh_field: token, **self.refresh_extra}).encode()

    def refreshed(self, answer: bytes) -> str:
        token: str = json.loads(answer)[self.refresh_field]
        return token


def _sign_in_ours(user: User) -> Tokens:
    pair = sessions.start(user, request=RequestFactory().post("/", headers={"User-Agent": USER_AGENTS[0]}))
    return Tokens(pair.access_token, pair.refresh_token)


def _sign_in_simplejwt(user: User) -> Tokens:
    refresh = RefreshToken.for_user(user)
    return Tokens(str(refresh.access_token), str(refresh))


OURS = Rival(
    _sign_in_ours,
    "/ours/whoami/",
    "/ours/stateless/",
    "/ours/auth/token/",
    "refresh_token",
    {"grant_type": "refresh_token"},
)
SIMPLEJWT = Rival(
    _sign_in_simplejwt, "/simplejwt/whoami/", "/simplejwt/stateless/", "/simplejwt/refresh/", "refresh", {}
)


def make_users(count: int) -> list[User]:
    """Store more users that have a usable password; it is hashed only once, as hashing is slow on purpose."""
    password = make_password("correct horse battery staple")
    first = User.objects.count()
    names = (f"user{number}" for number in range(first, first + count))
    return User.objects.bulk_create(User(username=name, password=password) for name in names)
