"""The recipes of docs/signing-in.md, run in a stranger's project against the real packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation import ROOT, python_blocks

SETTINGS = """
SECRET_KEY = "a stranger's own key, of fifty characters or more, 0123456789"
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "urls"
USE_TZ = True
INSTALLED_APPS = [
    *("django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages"),
    *("django.contrib.sites", "rest_framework", "jwt_sessions"),
    *("django_otp", "django_otp.plugins.otp_static", "allauth", "allauth.account", "dj_rest_auth"),
]
SITE_ID = 1
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
}]
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
    "sesame.backends.ModelBackend",
]
SESAME_ONE_TIME = True
OTP_STATIC_THROTTLE_FACTOR = 0
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
ACCOUNT_EMAIL_VERIFICATION = "none"
REST_AUTH = {"TOKEN_MODEL": None}
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["jwt_sessions.authentication.JWTSessionAuthentication"]}
"""

URLS = """
from django.urls import include, path
import views

urlpatterns = [
    path("auth/", include("jwt_sessions.urls")),
    path("accounts/", include("allauth.account.urls")),
    path("code/", views.LoginWithCode.as_view()),
    path("give-code/", views.GiveCode.as_view()),
    path("payout/", views.Payout.as_view()),
    path("link/", views.LoginByLink.as_view()),
    path("exchange/", views.TokensForDjangoSession.as_view()),
    path("rest-auth/", views.RestAuthLogin.as_view()),
    path("passkey/options/", views.PasskeyOptions.as_view()),
    path("passkey/", views.LoginByPasskey.as_view()),
]
"""

BEGIN = """
import base64, json, os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
from django.core.management import call_command
from django.test.utils import setup_test_environment
setup_test_environment()
call_command("migrate", verbosity=0)
import jwt
from django.contrib.auth.models import User
from django.test import Client
from django_otp.plugins.otp_static.models import StaticDevice

ann = User.objects.create_user("ann", "ann@example.com", "a long password")
device = StaticDevice.objects.create(user=ann, confirmed=True)
for code in ("111111", "222222"):
    device.token_set.create(token=code)


def post(client, path, data, status=200, **headers):
    response = client.post(path, data, content_type="application/json", headers=headers)
    assert response.status_code == status, (path, response.status_code, response.content)
    return response


def claims(answer):
    return jwt.decode(answer["access_token"], options={"verify_signature": False})


def bearer(answer):
    return {"Authorization": "Bearer " + answer["access_token"]}
"""

RECIPES = {
    "a second factor": """
login = {"username": "ann", "password": "a long password"}
assert post(Client(), "/code/", login, 403).json()
answer = post(Client(), "/code/", {**login, "code": "111111"}).json()
assert claims(answer)["amr"] == ["pwd", "otp"]
assert answer["refresh_token"].startswith("jsr_")
""",
    "a code where it is needed": """
client = Client()
answer = post(client, "/auth/login/", {"username": "ann", "password": "a long password"}).json()
refused = post(client, "/payout/", {}, 401, **bearer(answer))
assert refused.json()["amr"] == ["otp"] and refused.json()["max_age"] == 300
assert 'acr_values="otp"' in refused.headers["WWW-Authenticate"]
post(client, "/give-code/", {"code": "000000"}, 401, **bearer(answer))
answer = post(client, "/give-code/", {"code": "222222"}, **bearer(answer)).json()
assert claims(answer)["amr"] == ["otp", "pwd"]
assert post(client, "/payout/", {}, **bearer(answer)).json() == {"paid": True}
""",
    "a magic link": """
from sesame.utils import get_token
token = get_token(ann)
answer = post(Client(), "/link/", {"token": token}).json()
assert claims(answer)["sub"] == str(ann.pk)
assert claims(answer)["amr"] == ["otp"]
post(Client(), "/link/", {"token": token}, 403)
post(Client(), "/link/", {}, 403)
""",
    "allauth": """
client = Client(enforce_csrf_checks=True)
client.get("/accounts/login/")
form = {"login": "ann", "password": "a long password", "csrfmiddlewaretoken": client.cookies["csrftoken"].value}
assert client.post("/accounts/login/", form).status_code == 302
post(client, "/exchange/", {}, 403)
csrf = {"X-CSRFToken": client.cookies["csrftoken"].value}
response = post(client, "/exchange/", {}, **csrf)
assert claims(response.json())["amr"] == ["pwd"]
assert "refresh_token" not in response.json()
assert client.cookies["__Host-Http-jwt_sessions_refresh"]["httponly"]
assert post(client, "/auth/token/", {"grant_type": "refresh_token"}).json()["access_token"]
post(client, "/exchange/", {}, 403, **csrf)
""",
    "dj-rest-auth": """
answer = post(Client(), "/rest-auth/", {"username": "ann", "password": "a long password"}).json()
assert claims(answer)["amr"] == ["pwd"] and answer["refresh_token"]
post(Client(), "/rest-auth/", {"username": "ann", "password": "wrong"}, 400)
""",
    "passkeys": """
import types, views
from soft_webauthn import SoftWebauthnDevice
from webauthn import generate_registration_options, verify_registration_response
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url


def jsonable(credential):
    body = {name: bytes_to_base64url(value) for name, value in credential["response"].items() if value is not None}
    key = bytes_to_base64url(credential["rawId"])
    return {"id": key, "rawId": key, "type": "public-key", "response": body}


key = SoftWebauthnDevice()
wanted = generate_registration_options(rp_id="testserver", rp_name="x", user_name="ann", user_id=b"1")
created = key.create({"publicKey": {
    "pubKeyCredParams": [{"alg": -7, "type": "public-key"}], "attestation": "none",
    "rp": {"id": "testserver"}, "user": {"id": b"1"}, "challenge": wanted.challenge,
}}, "https://testserver")
registered = verify_registration_response(
    credential=jsonable(created), expected_challenge=wanted.challenge,
    expected_rp_id="testserver", expected_origin="https://testserver",
)
passkey = types.SimpleNamespace(
    user=ann, public_key=registered.credential_public_key, sign_count=registered.sign_count, save=lambda: None
)
known = {bytes_to_base64url(registered.credential_id): passkey}
views.passkey_of = known.get
client = Client()
options = json.loads(post(client, "/passkey/options/", {}).json())
challenge = base64url_to_bytes(options["challenge"])
proof = jsonable(key.get({"publicKey": {"rpId": "testserver", "challenge": challenge}}, "https://testserver"))
body = {"challenge": options["challenge"], "credential": proof}
answer = post(client, "/passkey/", body).json()
assert claims(answer)["amr"] == ["hwk"] and claims(answer)["sub"] == str(ann.pk)
post(client, "/passkey/", body, 403)
options = json.loads(post(client, "/passkey/options/", {}).json())
post(client, "/passkey/", {"challenge": options["challenge"], "credential": proof}, 403)
""",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("project")
    blocks = python_blocks(ROOT / "docs" / "signing-in.md")
    (directory / "settings.py").write_text(SETTINGS)
    (directory / "urls.py").write_text(URLS)
    (directory / "views.py").write_text("\n\n".join(blocks))
    return directory


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_signs_in_with_the_real_package(project, recipe):
    (project / "db.sqlite3").unlink(missing_ok=True)
    script = project / "walk.py"
    script.write_text(BEGIN + RECIPES[recipe])
    walked = subprocess.run([sys.executable, script], cwd=project, capture_output=True, text=True, timeout=120)
    assert walked.returncode == 0, walked.stderr[-3000:]
