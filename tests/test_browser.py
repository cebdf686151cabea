"""The browser module and the demo page in Chromium, against the served example project: ``javascript/browser/``."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from example_project.accounts.models import Tenant
from example_project.notes.views import FOR_USERS, ClearNotesView
from jwt_sessions.permissions import RequireRecentLogin
from tests.factories import PASSWORD, UserFactory
from tests.node import CHROMIUM, FOLDER, NO_BROWSER, NODE, are_installed, passed_in_browser, written

TENANTS = ["t1", "t2", "t3", "t4", "t5"]
FOLDER_OF_PAGES = FOLDER / "browser"
LIFETIME = timedelta(seconds=3)
IDLE = {"IDLE_TIMEOUT": timedelta(seconds=6), "ACTIVITY_RESOLUTION": timedelta(seconds=1)}
# What the server is set to for each file about the browser module.
FILES: dict[str, dict[str, object]] = {
    "session": {},
    "trouble": {"REUSE_GRACE_PERIOD": timedelta(seconds=6)},
    "password": {},
    "idle": IDLE,
}
SECONDS = 20  # how long twenty tabs are watched

pytestmark = pytest.mark.skipif(
    NODE is None or CHROMIUM is None or not are_installed("playwright-core"), reason=NO_BROWSER
)


def accepted(user: object) -> list[str]:
    return TENANTS


def run(file: Path, origin: str, **told: Any) -> None:
    """Run a file of tests by node, with what it is told about the server."""
    served = {"origin": origin, "chromium": CHROMIUM, "password": PASSWORD, **told}
    assert passed_in_browser(file, json.dumps(served)) == written(file) > 2


@pytest.mark.parametrize("name", FILES)
def test_chromium(name, server, certificate, settings, jwt_settings):
    settings.ROOT_URLCONF = "tests.browser_page"
    jwt_settings(TENANTS=accepted, ACCESS_TOKEN_LIFETIME=LIFETIME, LOGIN_THROTTLE=None, **FILES[name])
    run(
        FOLDER_OF_PAGES / f"{name}.test.js",
        server.origin,
        certificate=str(certificate),
        users=[UserFactory().email, UserFactory().email],
        tenants=TENANTS,
        seconds=SECONDS,
    )


def test_every_file_is_run():
    names = {path.name.removesuffix(".test.js") for path in FOLDER_OF_PAGES.glob("*.test.js")}
    assert names == {*FILES, "demo", "devices"}


@pytest.fixture
def members(transactional_db):
    """Users with a note in each of two tenants."""
    users = [UserFactory(name="Ada") for _ in range(4)]
    for name in ("Acme", "Globex"):
        tenant = Tenant.objects.create(id=name.lower(), name=name)
        for user in users:
            user.memberships.create(tenant=tenant, accepted_at=timezone.now())
            user.notes.create(tenant=tenant, title=f"Of {name}")
    return users


def test_the_demo_page(server, members, jwt_settings, monkeypatch):
    jwt_settings(LOGIN_THROTTLE=None)
    recent = [*FOR_USERS, RequireRecentLogin(timedelta(seconds=2))]
    monkeypatch.setattr(ClearNotesView, "permission_classes", recent)
    run(FOLDER_OF_PAGES / "demo.test.js", server.origin, users=[user.email for user in members], recent=3)
