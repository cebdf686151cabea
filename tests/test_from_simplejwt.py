"""The path from djangorestframework-simplejwt that docs/from-simplejwt.md describes, walked by a stranger's project."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.settings import DEFAULTS
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from jwt_sessions import conf, sessions

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "from-simplejwt.md").read_text()

BEFORE = """
from datetime import timedelta

SECRET_KEY = "a stranger's own key, of fifty characters or more, 0123456789"
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "default.sqlite3"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"]}
SIMPLE_JWT = {"REFRESH_TOKEN_LIFETIME": timedelta(days=90)}
"""
AFTER = """
INSTALLED_APPS += ["jwt_sessions"]
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["jwt_sessions.authentication.JWTSessionAuthentication"]}
"""
BLACKLIST = """
INSTALLED_APPS += ["rest_framework_simplejwt.token_blacklist"]
SIMPLE_JWT |= {"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True}
"""

URLS = """
from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView


class WhoAmI(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"name": request.user.get_username()})


urlpatterns = [
    path("api/token/", TokenObtainPairView.as_view()),
    path("api/token/refresh/", TokenRefreshView.as_view()),
    path("who/", WhoAmI.as_view()),
]
"""

BEGIN = """
import io, json, os, sys, warnings
from pathlib import Path
warnings.simplefilter("error")
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
from datetime import UTC, datetime, timedelta
import time_machine
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.core.management import call_command
from django.test import Client

NAMES = ["ann", "bob", "eve"]
http = Client()


def post(path, data, status=200):
    response = http.post(path, data, content_type="application/json")
    assert response.status_code == status, (path, response.status_code, response.content)
    return response.json()


def who(access, status=200):
    response = http.get("/who/", headers={"Authorization": "Bearer " + access})
    assert response.status_code == status, response.content
    return response.json()


def exchange(token, status=200):
    return post("/auth/token/", {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token",
    }, status)


def refresh(token):
    return post("/auth/token/", {"grant_type": "refresh_token", "refresh_token": token})


call_command("check", "--fail-level", "WARNING", stdout=io.StringIO())
call_command("migrate", verbosity=0)
user_logged_in.connect(lambda **kwargs: sys.exit("somebody signed in"))
"""

# Years of simplejwt, and the switch has not come yet.
OLD_DAYS = """
old = {}
for name in NAMES:
    User.objects.create_user(name, password="a stranger's password")
    old[name] = post("/api/token/", {"username": name, "password": "a stranger's password"})
    assert who(old[name]["access"]) == {"name": name}
User.objects.create_user("dan", password="a stranger's password")
with time_machine.travel(datetime.now(UTC) - timedelta(days=89)):
    old["dan"] = post("/api/token/", {"username": "dan", "password": "a stranger's password"})
Path("old.json").write_text(json.dumps(old))
"""

# Both are installed. Nobody gives a password from here on.
MOVE = """
blacklists = json.loads(sys.argv[1])
old, new = json.loads(Path("old.json").read_text()), {}
for name in NAMES:
    assert who(old[name]["access"]) == {"name": name}
    new[name] = exchange(old[name]["refresh"])
    assert who(new[name]["access_token"]) == who(old[name]["access"]) == {"name": name}
    new[name] = refresh(new[name]["refresh_token"])
    assert who(new[name]["access_token"]) == {"name": name}
    assert exchange(old[name]["refresh"], 400)["code"] == "INVALID_TOKEN"
    post("/api/token/refresh/", {"refresh": old[name]["refresh"]}, 401 if blacklists else 200)
assert len({each["session_id"] for each in new.values()}) == len(NAMES)
# Nobody is logged out, whoever signed in long ago.
assert who(exchange(old["dan"]["refresh"])["access_token"]) == {"name": "dan"}
# Each refuses the other's in its own words, and what is nobody's.
assert who(old["ann"]["access"][:-3] + "AAA", 401)["code"] == "token_not_valid"
assert who(new["ann"]["access_token"][:-3] + "AAA", 401)["code"] == "INVALID_TOKEN"
assert who("garbage", 401)["code"] == "INVALID_TOKEN"
Path("new.json").write_text(json.dumps(new))
"""

# The last old token has expired, and the commands of the page remove what simplejwt has kept.
LAST_DAY = """
from django.db import connection

tables = lambda: [name for name in connection.introspection.table_names() if name.startswith("token_blacklist")]
assert len(tables()) == 2
with time_machine.travel(datetime.now(UTC) + timedelta(days=91)):
    for command in json.loads(sys.argv[1]):
        call_command(*command, verbosity=0)
assert tables() == []
"""

NEW_DAYS = """
assert not any(name.startswith("rest_framework_simplejwt") for name in sys.modules)
new = json.loads(Path("new.json").read_text())
for name in NAMES:
    assert who(new[name]["access_token"]) == {"name": name}
    assert who(refresh(new[name]["refresh_token"])["access_token"]) == {"name": name}
assert exchange("garbage", 400)["error"] == "unsupported_grant_type"
call_command("purge_expired_tokens", stdout=io.StringIO(), stderr=io.StringIO())
"""


def section(number: str) -> str:
    """A section of the page, by the number of its heading."""
    return str(re.search(rf"^## {number}\. .*?(?=^## )", PAGE, re.MULTILINE | re.DOTALL)[0])


def blocks(number: str) -> list[str]:
    """The Python of a section."""
    return re.findall(r"^```python\n(.*?)^```", section(number), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("blacklist", [False, True])
def test_each_user_moves_without_a_login(tmp_path, blacklist):
    settings, urls = tmp_path / "settings.py", tmp_path / "urls.py"
    settings.write_text(BEFORE + BLACKLIST * blacklist)
    urls.write_text(URLS)
    run(tmp_path, OLD_DAYS)

    install, installed_urls = blocks("1")
    own_class, use_it = blocks("2")
    package = tmp_path / "project"
    package.mkdir()
    (package / "authentication.py").write_text(own_class)
    settings.write_text(settings.read_text() + install + use_it)
    urls.write_text(URLS + installed_urls)
    run(tmp_path, MOVE, json.dumps(blacklist))
    if blacklist:
        commands = [line.split()[2:] for line in re.findall(r"python manage\.py .*", section("4"))]
        assert ["migrate", "token_blacklist", "zero"] in commands
        run(tmp_path, LAST_DAY, json.dumps(commands))

    settings.write_text(BEFORE.partition("REST_FRAMEWORK")[0] + AFTER)
    old_lines = [line for line in URLS.splitlines() if "Token" in line]
    assert len(old_lines) == 3
    urls.write_text("\n".join(line for line in (URLS + installed_urls).splitlines() if line not in old_lines))
    run(tmp_path, NEW_DAYS)


def run(project: Path, script: str, *arguments: str) -> None:
    """Run a script in the project, in a process of its own."""
    (project / "day.py").write_text(BEGIN + script)
    command = [sys.executable, "day.py", *arguments]
    finished = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, env={})
    assert finished.returncode == 0, finished.stdout + finished.stderr


# The class for both kinds of tokens


@pytest.fixture
def either() -> Any:
    """The page's class, and what it answers to an Authorization header."""
    namespace: dict[str, Any] = {"__name__": "project.authentication"}
    exec(blocks("2")[0], namespace)

    def authenticate(header: str) -> Any:
        request = Request(RequestFactory().get("/", headers={"Authorization": header} if header else {}))
        return namespace["OldAndNewAuthentication"]().authenticate(request)

    return authenticate


def test_old_and_new_access_tokens_authenticate(user, either):
    assert either(f"Bearer {AccessToken.for_user(user)}")[0] == user
    assert either(f"Bearer {sessions.start(user).access_token}")[0] == user
    assert either("") is None
    assert either("Basic YW5uOmFubg==") is None


@pytest.mark.parametrize("token", ["", "garbage", "a.b.c", "a refresh token of simplejwt"])
def test_attack_what_is_neither(user, either, token):
    if token.startswith("a refresh token"):
        token = RefreshToken.for_user(user)
    with pytest.raises(AuthenticationFailed):
        either(f"Bearer {token}")


# The table


def rows() -> Iterator[tuple[str, str]]:
    """The settings of simplejwt in the table, each with what it is here."""
    yield from re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", PAGE.partition("\n| --- | --- |\n")[2], re.MULTILINE)


def test_every_setting_of_simplejwt_is_in_the_table_once():
    assert sorted(name for name, _here in rows()) == sorted(DEFAULTS)


def test_every_row_names_a_setting_of_this_package_or_says_why_none_is_needed():
    settings = set(vars(conf.current().__class__)) | {"pre_issue"}
    for name, here in rows():
        named = set(re.findall(r"`([A-Za-z_]+)`", here)) & settings
        assert here.startswith("not needed") or named, name
