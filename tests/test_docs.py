"""The documentation and the code say the same, and the examples run."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import tomllib

import pytest
from django.core.management import BaseCommand, get_commands, load_command_class
from django.test import RequestFactory

from jwt_sessions import conf, exceptions, signals
from jwt_sessions.tokens.claims import CLAIMS, EVERY
from tests.documentation import PAGES, ROOT, python_blocks
from tests.factories import UserFactory

SOURCE = "\n".join(path.read_text() for path in (ROOT / "jwt_sessions").rglob("*.py"))


def first_column(page: str) -> set[str]:
    """The names in backquotes that begin the rows of a page's tables."""
    return set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / page).read_text(), re.MULTILINE))


def second_column(page: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `([^`]+)` \| (.*?) \|", (ROOT / "docs" / page).read_text(), re.MULTILINE))


def errors() -> list[type[exceptions.JWTSessionsError]]:
    return [each for each in vars(exceptions).values() if isinstance(each, type) and hasattr(each, "code")]


def commands() -> set[str]:
    return {name for name, app in get_commands().items() if app == "jwt_sessions"}


def test_every_setting_is_documented():
    assert first_column("settings.md") == {field.name for field in dataclasses.fields(conf.Settings)}


def test_every_key_of_the_cookie_is_documented():
    row = re.search(r"^\| `COOKIE` .*$", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert set(re.findall(r"`([A-Z]+)` \(", row[0])) == {
        field.name for field in dataclasses.fields(conf.CookieSettings)
    }


def test_every_error_code_and_every_reason_is_documented():
    codes, reasons = {error.code for error in errors()}, set(exceptions.EndReason.values)
    assert len(codes) > 5
    assert first_column("errors.md") == codes | reasons


def test_the_documentation_says_rightly_what_is_terminal():
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \|.*?\| (true|false) \|", (ROOT / "docs" / "errors.md").read_text(), re.M))
    assert rows == {error.code: str(error.terminal).lower() for error in errors()}


def test_every_check_is_documented_with_the_setting_it_is_about():
    used = {f"jwt_sessions.{number}" for number in re.findall(r'["_a-z.]([EW]\d{3})"', SOURCE)}
    assert len(used) > 25
    documented = second_column("checks.md")
    assert set(documented) == used
    own = {field.metadata["id"]: f"`{field.name}`" for field in dataclasses.fields(conf.Settings)}
    assert {check: documented[check] for check in own} == own


def test_every_command_is_documented_with_its_options():
    assert first_column("commands.md") == commands()
    for name in commands():
        parser = load_command_class("jwt_sessions", name).create_parser("manage.py", name)
        own = {option for action in parser._actions for option in action.option_strings}
        general = BaseCommand().create_parser("manage.py", name)
        own -= {option for action in general._actions for option in action.option_strings}
        assert set(re.findall(r"--[a-z-]+", second_column("commands.md")[name])) == own


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_are_python(page):
    for block in python_blocks(page):
        ast.parse(block)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{page.name}-{number}")
        for page in PAGES
        # Their examples need a server, or other packages, which they have in tests of their own: test_clients,
        # test_python_client_served, test_signing_in.
        if page.name not in ("clients.md", "python-client.md", "signing-in.md")
        for number, block in enumerate(python_blocks(page))
        if "import" in block and "urlpatterns" not in block
    ],
)
def test_examples_that_import_what_they_use_run(page, block):
    """
    In an empty namespace, but for a ``user`` and a ``request`` where an example is about them.

    An example of a test, which takes a ``user``, is run too.
    """
    user = UserFactory()
    namespace = {"user": user, "request": RequestFactory().post("/"), "__name__": "example"}
    before = {name: list(signal.receivers) for name, signal in vars(signals).items() if hasattr(signal, "receivers")}
    try:
        exec(compile(block, str(page), "exec"), namespace)
        for example in [each for name, each in namespace.items() if name.startswith("test_")]:
            example(user)
    finally:
        for name, receivers in before.items():
            getattr(signals, name).receivers = receivers
            getattr(signals, name).sender_receivers_cache.clear()


def test_the_readme_has_examples_that_run():
    assert [block for block in python_blocks(ROOT / "README.md") if "from jwt_sessions import sessions" in block]


def test_the_clients_are_documented_with_the_versions_that_are_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    requirements = [*project["project"]["dependencies"], *project["dependency-groups"]["test"]]
    floors = dict(re.findall(r"([a-z-]+)(?:\[.*?\])?>=(\S+)", "\n".join(map(str, requirements))))
    packages = json.loads((ROOT / "tests" / "javascript" / "package.json").read_text())["dependencies"]
    tested = {name: version.rpartition(".")[0] for name, version in packages.items()}
    table = re.findall(r"^\| \[(.*?)\]\(.*?\) \| (.*?) \|", (ROOT / "docs" / "clients.md").read_text(), re.MULTILINE)
    assert len(table) == 7
    assert {name: version for name, version in table if name in packages} == tested
    assert {name: floors[name.lower()] for name, _version in table if name not in packages} == {
        name: version for name, version in table if name not in packages
    }


def test_every_claim_is_documented_with_its_types_and_meaning():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", (ROOT / "docs" / "claims.md").read_text(), re.M)
    documented = {name: (types, meaning) for name, types, meaning in rows}
    types = {
        name: "every" if claim.required == EVERY else ", ".join(f"`{each}`" for each in claim.required)
        for name, claim in CLAIMS.items()
    }
    assert documented == {name: (types[name] or "where it applies", claim.meaning) for name, claim in CLAIMS.items()}


def test_the_page_on_security_names_tests_that_exist():
    page = (ROOT / "docs" / "security.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    source = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 50
    assert named - set(re.findall(r"^def (test_\w+)", source, re.M)) == set()


def test_the_page_on_security_has_each_clause_of_level_2():
    """OWASP ASVS 5.0: how many clauses of levels 1 and 2 each section has."""
    page = (ROOT / "docs" / "security.md").read_text()
    clauses = {"7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2, "9.1": 3, "9.2": 4}
    clauses |= {"10.1": 2, "10.2": 2, "10.3": 4, "10.4": 11, "10.5": 5, "10.6": 2, "10.7": 3}
    found: dict[str, set[int]] = {section: set() for section in clauses}
    for cell in re.findall(r"^\| (\d+\.[\d., to]+) \|", page, re.M):
        numbers = re.findall(r"(\d+\.\d+)\.(\d+)", cell)
        section, first = numbers[0][0], int(numbers[0][1])
        last = int(numbers[-1][1])
        found[section] |= set(range(first, last + 1)) if " to " in cell else {int(each) for _section, each in numbers}
    assert found == {section: set(range(1, count + 1)) for section, count in clauses.items()}
