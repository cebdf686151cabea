"""
The texts that the package marks for translation, as ``makemessages`` finds them, without the programs of gettext.

A text is a pair of singular and plural; the plural is empty where there is one form only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from django.template import Engine
from django.template.base import Node, NodeList
from django.templatetags.i18n import BlockTranslateNode, TranslateNode

import jwt_sessions

PACKAGE = Path(jwt_sessions.__file__).parent
LOCALE = PACKAGE / "locale"
LANGUAGES = ("de", "fr", "es")
TEMPLATES = PACKAGE / "templates"
SINGULAR = {"_", "gettext", "gettext_lazy"}
PLURAL = {"ngettext", "ngettext_lazy"}

Text = tuple[str, str]


def of_module(path: Path) -> Iterator[Text]:
    """The texts of a Python module. One that is no literal cannot be found, by ``makemessages`` neither."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in SINGULAR:
            yield ast.literal_eval(node.args[0]), ""
        elif node.func.id in PLURAL:
            yield ast.literal_eval(node.args[0]), ast.literal_eval(node.args[1])


def of_template(path: Path) -> Iterator[Text]:
    """The texts of a template."""
    source = path.read_text()
    assert '_("' not in source, f"{path} marks the argument of a filter, which is not looked for"
    engine = Engine(libraries={name: f"django.templatetags.{name}" for name in ("i18n", "static", "tz")})
    for node in nodes(engine.from_string(source).nodelist):
        if isinstance(node, TranslateNode):
            yield str(node.filter_expression.var.literal), ""
        elif isinstance(node, BlockTranslateNode):
            singular, plural = (node.render_token_list(tokens or [])[0] for tokens in (node.singular, node.plural))
            yield singular, plural


def nodes(nodelist: NodeList) -> Iterator[Node]:
    for node in nodelist:
        yield node
        for name in node.child_nodelists:
            yield from nodes(getattr(node, name, None) or NodeList())
        for _condition, branch in getattr(node, "conditions_nodelists", ()):
            yield from nodes(branch)


def marked(modules: Path, templates: Path) -> set[Text]:
    """The texts below two folders."""
    found = {text for path in modules.rglob("*.py") for text in of_module(path)}
    return found | {text for path in templates.rglob("*.html") for text in of_template(path)}
