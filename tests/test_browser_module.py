"""
The browser module and its adapters, run by node: the tests beside ``javascript/package.json`` that need no server.

``tests/run.py`` installs their packages where there is node.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "javascript"
PACKAGES = json.loads((FOLDER / "package.json").read_text())["devDependencies"]
NODE = shutil.which(os.environ.get("TEST_NODE") or "node")
# The other files need a server: test_javascript_clients.
WITH_SERVER = {"jose", "oauth4webapi", "openid-client"}
FILES = sorted(path for path in FOLDER.glob("*.test.js") if path.name.removesuffix(".test.js") not in WITH_SERVER)

pytestmark = pytest.mark.skipif(
    NODE is None or not all((FOLDER / "node_modules" / name).is_dir() for name in PACKAGES),
    reason="There is no node, or not the packages that `make test` installs where there is npm.",
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.js"))
def test_node(file):
    done = subprocess.run(
        [str(NODE), "--test", "--test-reporter=tap", file.name],
        cwd=FOLDER,
        # Not the whole environment: nothing of this machine's settings should matter.
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    counts = {what: int(count) for what, count in re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE)}
    # A test that node did not find would pass otherwise.
    written = len(re.findall(r"^test\(", file.read_text(), re.MULTILINE))
    assert counts["tests"] == counts["pass"] == written > 3, done.stdout


def test_there_are_files():
    assert len(FILES) >= 7
