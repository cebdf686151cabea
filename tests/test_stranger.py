"""The wheel in strangers' projects: each is written from nothing and lives through its first day, in a process."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from tests.effort import some

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "https://github.com/django-jwt-sessions/django-jwt-sessions/blob/main/"

SETTINGS = """
SECRET_KEY = "a stranger's own key, of fifty characters or more, 0123456789"
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "default.sqlite3"}}
"""

# What the documentation asks for, and nothing else.
INSTALL = """
INSTALLED_APPS += ["rest_framework", "jwt_sessions"]
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["jwt_sessions.authentication.JWTSessionAuthentication"]}
"""

URLS = """
from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView


class WhoAmI(APIView):
    permission_classes = [IsAuthenticated]
    throttle_classes = []

    def get(self, request):
        return Response({"name": request.user.get_username(), "sid": request.auth.claims["sid"]})


urlpatterns = [path("auth/", include("jwt_sessions.urls")), path("", include("jwt_sessions.well_known"))]
urlpatterns += [path("who/", WhoAmI.as_view())]
"""

# Runs inside the project. Prints one JSON object; a failed assertion ends it.
FIRST_DAY = """
import io, json, os, sys
from datetime import timedelta

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.management import call_command
from django.test import Client
import jwt_sessions

FACTS = json.loads(sys.argv[1])


def deployment_warnings():
    found = checks.run_checks(include_deployment_checks=True)
    return sorted(message.id for message in found if message.id.startswith("jwt_sessions"))


call_command("check", "--fail-level", "WARNING", stdout=io.StringIO())
call_command("check", "--deploy", stdout=io.StringIO(), stderr=io.StringIO())
if FACTS.get("own_apps"):
    call_command("makemigrations", *FACTS["own_apps"], verbosity=0)
call_command("makemigrations", "--check", "--dry-run", stdout=io.StringIO())
for alias in settings.DATABASES:
    call_command("migrate", database=alias, verbosity=0)

User = get_user_model()
name_field, password = User.USERNAME_FIELD, "a stranger's password"
name = "stranger@example.com"
user = User(**{name_field: name, **FACTS.get("user", {})})
user.set_password(password)
user.save()

http = Client(headers={"accept": FACTS.get("accept", "application/json")})


def post(path, data, status=200, **headers):
    response = http.post(f"/auth/{path}", data, content_type="application/json", headers=headers)
    assert response.status_code == status, (path, response.status_code, response.content)
    assert response["Cache-Control"] == "no-store", path
    return response.json() if response.content else None


def refresh(token, status=200):
    return post("token/", {"grant_type": "refresh_token", "refresh_token": token}, status)


def who(tokens):
    return http.get("/who/", headers={"Authorization": "Bearer " + tokens["access_token"]})


wrong = post("login/", {name_field: name, "password": "wrong"}, 401)
assert set(wrong) == {"detail", "code", "terminal"} and wrong["code"] == "INVALID_CREDENTIALS", wrong
first = post("login/", {name_field: name, "password": password})
assert set(first) == {
    "access_token", "token_type", "expires_in", "refresh_token", "refresh_in",
    "session_id", "session_expires_at", "idle_expires_at",
}, first
me = who(first).json()
assert list(me.values()) == [name, first["session_id"]], me
second = refresh(first["refresh_token"])
assert second["refresh_token"] != first["refresh_token"] and second["session_id"] == first["session_id"]
assert refresh(first["refresh_token"])["refresh_token"] == second["refresh_token"]
assert who(second).status_code == 200
listed = http.get("/auth/sessions/", headers={"Authorization": "Bearer " + second["access_token"]})
assert [each["id"] for each in listed.json()] == [first["session_id"]], listed.content

unknown = http.get("/auth/sessions/nothing/", headers={"Authorization": "Bearer " + second["access_token"]})
assert unknown.status_code == 404
bare = http.get("/auth/sessions/")
assert bare.status_code == 401 and bare["WWW-Authenticate"] == "Bearer", bare.content
refused = http.get("/auth/sessions/", headers={"Authorization": "Bearer nonsense"})
assert refused.status_code == 401
assert refused.json() == {"detail": "The token is invalid.", "code": "INVALID_TOKEN", "terminal": True}, refused.content

settings.JWT_SESSIONS = {"REUSE_GRACE_PERIOD": timedelta(0), "LOST_RESPONSE_WINDOW": timedelta(0)}
reused = refresh(first["refresh_token"], 400)
assert reused["code"] == "INVALID_TOKEN" and reused["error"] == "invalid_grant", reused
assert who(second).status_code == 401
assert refresh(second["refresh_token"], 400)["reason"] == "token_reuse"
del settings.JWT_SESSIONS

third = post("token/", {"grant_type": "password", "username": name, "password": password})
fourth = post("login/", {name_field: name, "password": password})
bearer = {"Authorization": "Bearer " + third["access_token"]}
assert post("sessions/end-others/", {}, **bearer) == {"ended": 1}
assert who(fourth).status_code == 401
post("logout/", {}, 204, **bearer)
assert who(third).status_code == 401
assert refresh(third["refresh_token"], 400)["reason"] == "logout"
keys = http.get("/auth/jwks.json").json()["keys"]
assert [key["alg"] for key in keys] == ["ES256"] and set(keys[0]) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
call_command("purge_expired_tokens", verbosity=0, stdout=io.StringIO())
from jwt_sessions.models import RefreshToken, Session
assert not Session.objects.exists() and not RefreshToken.objects.exists()
post("login/", {name_field: name, "password": password})
user.delete()
assert not Session.objects.exists()
if "django.contrib.admin" in settings.INSTALLED_APPS:
    from django.contrib.admin import site
    assert Session in site._registry
print(json.dumps({
    "package": jwt_sessions.__file__,
    "warnings": deployment_warnings(),
}))
"""

QUICK = """
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""

PEOPLE = """
INSTALLED_APPS += ["people"]
AUTH_USER_MODEL = "people.Person"
"""

UUID_PERSON = """
import uuid
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    mail = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    objects = BaseUserManager()
    USERNAME_FIELD = "mail"
    EMAIL_FIELD = "mail"
"""

# A key that is a relation to the parent's row, with the password in the parent's table.
INHERITING_PERSON = """
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models


class Account(AbstractBaseUser, PermissionsMixin):
    id = models.BigAutoField(primary_key=True)
    login = models.CharField(max_length=80, unique=True)
    is_active = models.BooleanField(default=True)
    objects = BaseUserManager()
    USERNAME_FIELD = "login"


class Person(Account):
    nick = models.CharField(max_length=20, blank=True)
    objects = BaseUserManager()
"""

TEXT_PERSON = """
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    mail = models.CharField(max_length=120, primary_key=True)
    objects = BaseUserManager()
    USERNAME_FIELD = "mail"
"""

HOSTILE = """
REST_FRAMEWORK |= {
    "DEFAULT_RENDERER_CLASSES": ["habits.ShoutingRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.MultiPartParser"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"anon": "1/day"},
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
    "DEFAULT_VERSION": "7.0",
    "ALLOWED_VERSIONS": ["7.0"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "habits.NothingFits",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 1,
    "EXCEPTION_HANDLER": "habits.swallow",
    "UNAUTHENTICATED_USER": None,
    "NON_FIELD_ERRORS_KEY": "oops",
    "COERCE_DECIMAL_TO_STRING": False,
}
"""

HABITS = """
import json
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response


class ShoutingRenderer(JSONRenderer):
    def render(self, data, *args, **kwargs):
        return json.dumps({key.upper(): value for key, value in data.items()}).encode()


class NothingFits(DefaultContentNegotiation):
    def select_renderer(self, request, renderers, format_suffix=None):
        if request.path.startswith("/auth/"):
            raise RuntimeError("negotiated")
        return super().select_renderer(request, renderers, format_suffix)


def swallow(error, context):
    return Response({"all": "is well"}, status=getattr(error, "status_code", 500))
"""

# Sessions and users live in a database of their own, and reads go to a replica that has seen nothing yet.
ROUTED = """
DATABASES["accounts"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": "accounts.sqlite3"}
DATABASES["replica"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": "replica.sqlite3"}
DATABASE_ROUTERS = ["router.Router"]
"""

ROUTER = """
HERE = {"jwt_sessions", "auth", "contenttypes", "admin"}


class Router:
    def db_for_read(self, model, **hints):
        if model._meta.app_label == "jwt_sessions":
            return "replica"
        return "accounts" if model._meta.app_label in HERE else None

    def db_for_write(self, model, **hints):
        return "accounts" if model._meta.app_label in HERE else None

    def allow_relation(self, one, other, **hints):
        return True

    def allow_migrate(self, db, app_label, **hints):
        return (db in ("accounts", "replica")) == (app_label in HERE)
"""

PROJECTS = {
    "exactly as the documentation says": {},
    "a UUID for a key and a mail address for a name": {"settings": PEOPLE + QUICK, "people": UUID_PERSON},
    "a text for a key and no is_active column": {"settings": PEOPLE + QUICK, "people": TEXT_PERSON},
    "a user model that inherits its table": {"settings": PEOPLE + QUICK, "people": INHERITING_PERSON},
    "small automatic keys": {"settings": QUICK + 'DEFAULT_AUTO_FIELD = "django.db.models.SmallAutoField"\n'},
    "big automatic keys": {"settings": QUICK + 'DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"\n'},
    "no admin": {
        "settings": QUICK
        + 'UNWANTED = ("django.contrib.admin", "django.contrib.messages", "django.contrib.sessions")\n'
        + "INSTALLED_APPS = [app for app in INSTALLED_APPS if app not in UNWANTED]\n"
        + "MIDDLEWARE = []\nTEMPLATES = []\n",
    },
    "other habits with REST framework": {
        "settings": QUICK + HOSTILE,
        "files": {"habits.py": HABITS},
        "accept": "application/json; version=7.0",
    },
    "no time zones": {"settings": QUICK + 'USE_TZ = False\nTIME_ZONE = "Pacific/Auckland"\n'},
    "users whose app comes last": {
        "settings": PEOPLE.replace("people", "zz_people") + QUICK,
        "people": UUID_PERSON,
        "app": "zz_people",
    },
    "users and sessions in a database of their own": {"settings": QUICK + ROUTED, "files": {"router.py": ROUTER}},
    "one transaction a request": {"settings": QUICK + 'DATABASES["default"]["ATOMIC_REQUESTS"] = True\n'},
}


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    subprocess.run(command, check=True, cwd=ROOT)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory, worker_id) -> Path:
    """The wheel of this checkout, built once also where several processes run the tests."""
    shared = tmp_path_factory.getbasetemp()
    directory = (shared if worker_id == "master" else shared.parent) / "wheel"
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(directory.glob("*.whl")):
            pip("wheel", "--no-deps", "--wheel-dir", str(directory), str(ROOT))
            pip("install", "--no-deps", "--target", str(directory / "site"), str(next(directory.glob("*.whl"))))
    return next(directory.glob("*.whl"))


def metadata(wheel: Path) -> Message:
    """What a package index reads of a wheel; the payload is the README."""
    archive = zipfile.ZipFile(wheel)
    return message_from_bytes(archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))))


@pytest.fixture
def project(tmp_path, wheel):
    """Write a project and run its first day."""

    def run(settings="", people="", app="people", files=None, **facts):
        written = {"settings.py": SETTINGS + INSTALL + settings, "urls.py": URLS, "first_day.py": FIRST_DAY}
        if people:
            written |= {f"{app}/__init__.py": "", f"{app}/models.py": people}
            facts["own_apps"] = [app]
        for name, text in (written | (files or {})).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        environment |= {
            "PYTHONPATH": str(wheel.parent / "site"),
            "PYTHONWARNINGS": "error",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "first_day.py", json.dumps(facts)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.mark.parametrize("name", some(PROJECTS))
def test_a_strangers_project_lives_through_its_first_day(project, wheel, name):
    told = project(**PROJECTS[name])
    assert Path(told["package"]).is_relative_to(wheel.parent / "site")
    # A cache of each process alone, and an issuer that everybody has.
    warnings = ["jwt_sessions.W005", "jwt_sessions.W009"]
    if name == "no time zones":
        warnings.append("jwt_sessions.W020")
    assert told["warnings"] == warnings


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "jwt_sessions"
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix in (".py", ".html", ".typed")
    }
    assert {
        "jwt_sessions/py.typed",
        "jwt_sessions/migrations/0001_initial.py",
        "jwt_sessions/templates/admin/jwt_sessions/issued.html",
    } <= wanted
    assert wanted <= names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"jwt_sessions", "django_jwt_sessions"}
    assert not [name for name in names if name.endswith(".pyc")]
    assert metadata(wheel)["Name"] == "django-jwt-sessions"


def test_the_readme_on_a_package_index_leads_to_files_of_the_repository(wheel):
    """An index shows the README without the files around it: a relative link would lead nowhere."""
    targets = re.findall(r"\]\(([^)]+)\)", metadata(wheel).get_payload())
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    files = [target.removeprefix(REPOSITORY) for target in targets if target.startswith(REPOSITORY)]
    assert len(files) > 10
    assert [name for name in files if not (ROOT / name.partition("#")[0]).is_file()] == []
