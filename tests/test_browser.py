"""The browser module and the demo page in Chromium, against the served example project: ``javascript/browser/``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from example_project.accounts.models import Tenant
from example_project.notes.views import FOR_USERS, ClearNotesView
from jwt_sessions.permissions import RequireRecentLogin
from tests.factories import PASSWORD, UserFactory
from tests.test_javascript_clients import FOLDER, NODE

CHROMIUM = shutil.which(os.environ.get("TEST_CHROMIUM") or "chromium")
TENANTS = ["t1", "t2", "t3", "t4", "t5"]
FILES = FOLDER / "browser"
SECONDS = 20  # how long twenty tabs are watched

pytestmark = pytest.mark.skipif(
    NODE is None or CHROMIUM is None or not (FOLDER / "node_modules" / "playwright-core").is_dir(),
    reason="There is no Chromium, no node, or not the packages that `make test` installs where there is npm.",
)


def accepted(user: object) -> list[str]:
    return TENANTS


def run(file: Path, origin: str, **told: Any) -> None:
    """Run a file of tests by node, with what it is told about the server."""
    served = {"origin": origin, "chromium": CHROMIUM, "password": PASSWORD, **told}
    done = subprocess.run(
        [str(NODE), "--test", "--test-reporter=tap", str(file.relative_to(FOLDER))],
        cwd=FOLDER,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "SERVED": json.dumps(served)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout
    counts = {what: int(count) for what, count in re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE)}
    written = len(re.findall(r"^test\(", file.read_text(), re.MULTILINE))
    assert counts["tests"] == counts["pass"] == written > 3, done.stdout


def test_chromium(server, settings, jwt_settings):
    settings.ROOT_URLCONF = "tests.browser_page"
    jwt_settings(TENANTS=accepted, ACCESS_TOKEN_LIFETIME=timedelta(seconds=3), LOGIN_THROTTLE=None)
    users = [UserFactory().email, UserFactory().email]
    run(FILES / "session.test.js", server.origin, users=users, tenants=TENANTS, seconds=SECONDS)


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
    run(FILES / "demo.test.js", server.origin, users=[user.email for user in members], recent=3)
