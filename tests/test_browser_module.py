"""
The browser module and its adapters, run by node: the tests beside ``javascript/package.json`` that need no server.

``tests/run.py`` installs their packages where there is node.
"""

from __future__ import annotations

import json

import pytest

from tests.node import FOLDER, NODE, NOTHING_TO_RUN_IT, are_installed, passed, written

PACKAGES = json.loads((FOLDER / "package.json").read_text())["devDependencies"]
# The other files need a server: test_javascript_clients.
WITH_SERVER = {"jose", "oauth4webapi", "openid-client"}
FILES = sorted(path for path in FOLDER.glob("*.test.js") if path.name.removesuffix(".test.js") not in WITH_SERVER)

pytestmark = pytest.mark.skipif(NODE is None or not are_installed(*PACKAGES), reason=NOTHING_TO_RUN_IT)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.js"))
def test_node(file):
    assert passed(file, timeout=300) == written(file) > 3


def test_there_are_files():
    assert len(FILES) >= 7
