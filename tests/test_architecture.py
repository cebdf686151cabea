"""The house: data flows one way, modules are small, and what is public says what it does."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import jwt_sessions

PACKAGE = Path(jwt_sessions.__file__).parent
FLOORS = {
    "ground": ("conf", "exceptions", "signals", "types", "database"),
    "pure": ("tokens", "policies", "client_info", "principal", "cache_tags", "throttle"),
    # Other servers, and no database.
    "elsewhere": ("issuers",),
    "state": ("models", "migrations"),
    "judging": ("verdict", "claims"),
    "verbs": ("sessions",),
    "ways in": ("login", "credentials"),
    "http": ("http", "responses"),
    "authentication": ("authentication",),
    "views": ("permissions", "middleware", "api", "devices", "templatetags"),
    "urls": ("urls", "well_known"),
    "description": ("openapi",),
    "consoles": ("admin", "management"),
    "registration": ("checks", "receivers", "apps"),
    # For users' own tests: nothing that runs in production imports it.
    "outside": ("testing",),
    # For programs elsewhere: it imports nothing of the rest, and nothing imports it.
    "client": ("client",),
}
# Packages whose modules nobody outside imports.
FACADES = ("sessions", "login", "credentials", "issuers")
HEIGHTS = {name: height for height, names in enumerate(FLOORS.values()) for name in names}
LONGEST_MODULE = 300


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = sorted(PATHS)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(PATHS[module].read_text())


def height(module: str) -> int:
    return HEIGHTS[module.split(".")[1]]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements below a node, but those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not is_type_checking(child):
            yield from imports(child)


@cache
def imported_by(module: str) -> frozenset[str]:
    """The modules of this package that a module imports. ``from package import module`` imports the module."""
    found = set()
    for statement in imports(tree_of(module)):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
            continue
        assert statement.level == 0, f"{module} imports by a relative path"
        for alias in statement.names:
            inner = f"{statement.module}.{alias.name}"
            found.add(inner if inner in PATHS else str(statement.module))
    return frozenset(found.intersection(PATHS) - {"jwt_sessions"})


def test_every_module_has_a_floor():
    assert {module.split(".")[1] for module in MODULES if "." in module} <= set(HEIGHTS)


@pytest.mark.parametrize("module", [module for module in MODULES if "." in module])
def test_no_import_runs_upward(module):
    upward = {imported for imported in imported_by(module) if height(imported) > height(module)}
    assert upward == set()


@pytest.mark.parametrize("room", FACADES)
def test_a_facade_is_the_way_in(room):
    inside = f"jwt_sessions.{room}."
    entered = {
        (module, imported)
        for module in MODULES
        if not f"{module}.".startswith(inside)
        for imported in imported_by(module)
        if imported.startswith(inside)
    }
    assert entered == set()


@pytest.mark.parametrize("room", FACADES)
def test_what_a_facade_offers_has_the_name_of_no_module(room):
    """Otherwise ``mock.patch`` and an editor find another thing than a reader means."""
    offered = importlib.import_module(f"jwt_sessions.{room}").__all__
    assert [name for name in offered if f"jwt_sessions.{room}.{name}" in PATHS] == []


def test_the_client_stands_alone():
    importing = {module: imported_by(module) for module in MODULES}
    outside = {module for module in MODULES if not module.startswith("jwt_sessions.client.")} - {"jwt_sessions.client"}
    assert {imported for module in set(MODULES) - outside for imported in importing[module]}.isdisjoint(outside)
    assert not any(each.startswith("jwt_sessions.client.") for module in outside for each in importing[module])


def test_the_walk_sees_imports_of_every_kind():
    assert {"jwt_sessions.conf", "jwt_sessions.sessions", "jwt_sessions.models"} <= imported_by(
        "jwt_sessions.admin.refresh_token"
    )
    assert {"jwt_sessions.checks", "jwt_sessions.receivers"} <= imported_by("jwt_sessions.apps")
    assert "jwt_sessions.models" not in imported_by("jwt_sessions.verdict.rotation")


def test_no_imports_run_in_a_circle():
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path[path.index(module) :], module))
        if module not in finished:
            for imported in imported_by(module):
                visit(imported, (*path, module))
            finished.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_no_function_hides_an_import(module):
    functions = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    hiding = {function.name for function in functions if any(True for _statement in imports(function))}
    # Django forbids importing models before the apps are ready.
    assert hiding == ({"ready"} if module == "jwt_sessions.apps" else set())


@pytest.mark.parametrize("module", [module for module in MODULES if "migrations" not in module])
def test_no_module_is_long(module):
    assert len(PATHS[module].read_text().splitlines()) <= LONGEST_MODULE


def public_members(module: str) -> Iterator[tuple[str, object]]:
    """The public functions and classes that a module defines, and the public methods of state and what is below."""
    loaded = importlib.import_module(module)
    for name, member in vars(loaded).items():
        defined_here = getattr(member, "__module__", None) == module
        if name.startswith("_") or not defined_here or not (inspect.isclass(member) or inspect.isroutine(member)):
            continue
        yield name, member
        if inspect.isclass(member) and height(module) <= HEIGHTS["sessions"]:
            for inner_name, inner in vars(member).items():
                is_own = isinstance(inner, property) or inspect.isfunction(inner)
                generated = getattr(inner, "__module__", module) != module
                if is_own and not generated and not inner_name.startswith("_"):
                    yield f"{name}.{inner_name}", inner


@pytest.mark.parametrize("module", [module for module in MODULES if "migrations" not in module])
def test_what_is_public_says_what_it_does(module):
    # Packages that only gather names, and commands, which have Django's ``help``, need no sentence of their own.
    is_empty = not tree_of(module).body
    silent = [] if is_empty or ast.get_docstring(tree_of(module)) else [module]
    if "." in module:
        for name, member in public_members(module):
            says = member.__doc__ or (inspect.isclass(member) and getattr(member, "help", None))
            if not says:
                silent.append(name)
    assert silent == []
