"""The browser module in Chromium, against the served example project: the files of ``javascript/browser/``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from datetime import timedelta

import pytest

from tests.factories import PASSWORD, UserFactory
from tests.test_javascript_clients import FOLDER, NODE

CHROMIUM = shutil.which(os.environ.get("TEST_CHROMIUM") or "chromium")
TENANTS = ["t1", "t2", "t3", "t4", "t5"]
FILE = FOLDER / "browser" / "session.test.js"
SECONDS = 20  # how long twenty tabs are watched

pytestmark = pytest.mark.skipif(
    NODE is None or CHROMIUM is None or not (FOLDER / "node_modules" / "playwright-core").is_dir(),
    reason="There is no Chromium, no node, or not the packages that `make test` installs where there is npm.",
)


def accepted(user: object) -> list[str]:
    return TENANTS


def test_chromium(server, settings, jwt_settings):
    settings.ROOT_URLCONF = "tests.browser_page"
    jwt_settings(TENANTS=accepted, ACCESS_TOKEN_LIFETIME=timedelta(seconds=3), LOGIN_THROTTLE=None)
    users = [UserFactory().email, UserFactory().email]
    served = {
        "origin": server.origin,
        "chromium": CHROMIUM,
        "users": users,
        "password": PASSWORD,
        "tenants": TENANTS,
        "seconds": SECONDS,
    }
    done = subprocess.run(
        [str(NODE), "--test", "--test-reporter=tap", str(FILE.relative_to(FOLDER))],
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
    written = len(re.findall(r"^test\(", FILE.read_text(), re.MULTILINE))
    assert counts["tests"] == counts["pass"] == written > 3, done.stdout
