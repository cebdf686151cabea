"""Running JavaScript by node, and the tests in ``javascript/``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent / "javascript"
NODE = shutil.which(os.environ.get("TEST_NODE") or "node")
CHROMIUM = shutil.which(os.environ.get("TEST_CHROMIUM") or "chromium")
NOTHING_TO_RUN_IT = "There is no node, or not the packages that `make test` installs where there is npm."
NO_BROWSER = "There is no Chromium, no node, or not the packages that `make test` installs where there is npm."


def are_installed(*packages: str) -> bool:
    """Whether packages are there."""
    return all((FOLDER / "node_modules" / name).is_dir() for name in packages)


def run(*arguments: str, timeout: float, **variables: str) -> str:
    """What node prints. It has to end well."""
    done = subprocess.run(
        [str(NODE), *arguments],
        cwd=FOLDER,
        # Not the whole environment: nothing of this machine's settings should matter.
        env={"PATH": os.environ["PATH"], **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def passed(file: Path, *, timeout: float, **variables: str) -> int:
    """Run a file of tests: how many there were, all of which have passed."""
    output = run("--test", "--test-reporter=tap", str(file.relative_to(FOLDER)), timeout=timeout, **variables)
    counts = {what: int(count) for what, count in re.findall(r"^# (\w+) (\d+)$", output, re.MULTILINE)}
    assert counts["tests"] == counts["pass"], output
    return counts["pass"]


def passed_in_browser(file: Path, served: str) -> int:
    """The same for tests that start Chromium. They are told about the server in JSON."""
    return passed(file, timeout=400, HOME=os.environ.get("HOME", "/"), SERVED=served)


def written(file: Path) -> int:
    """How many tests a file has. One that node did not find would pass otherwise."""
    return len(re.findall(r"^ *test\(", file.read_text(), re.MULTILINE))
