"""``{% jwt_sessions_script %}``, and the static files it names."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import django
import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.template import Context, RequestContext, Template
from django.utils.functional import SimpleLazyObject

import jwt_sessions

STATIC = Path(jwt_sessions.__file__).parent / "static" / "jwt_sessions"
HASHED_STORAGE = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"


class Tags(HTMLParser):
    """The start tags of a page with their attributes, and what stands in scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def render(arguments: str = "", **context: object) -> Tags:
    template = Template("{% load jwt_sessions %}{% jwt_sessions_script " + arguments + " %}")
    return Tags(template.render(Context(context)))


def configuration(tags: Tags) -> dict[str, object]:
    return json.loads(tags.texts[0])


class FalseUntilUsed(SimpleLazyObject):
    """A nonce as Django and django-csp make it: false until somebody needs it."""

    def __bool__(self) -> bool:
        return False


def test_it_writes_the_configuration_and_a_module():
    tags = render()
    assert configuration(tags) == {
        "module": "/static/jwt_sessions/session.js",
        "base": "/auth/",
        "keepAlive": True,
        "warnBefore": 60,
        "gracePeriod": 30,
    }
    assert tags.tags == [
        ("script", {"id": "jwt-sessions-config", "type": "application/json"}),
        ("link", {"rel": "modulepreload", "href": "/static/jwt_sessions/session.js"}),
        ("script", {"type": "module", "src": "/static/jwt_sessions/start.js"}),
    ]


def test_nothing_that_runs_is_inline():
    html = Template("{% load jwt_sessions %}{% jwt_sessions_script %}").render(Context())
    inline = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", html)
    assert inline == ['<script id="jwt-sessions-config" type="application/json">']
    assert not re.search(r"\bon\w+=|javascript:", html)


def test_it_takes_options():
    tags = render(
        'tenant=tenant audience="web" origins=origins keep_alive=False warn_before=120',
        tenant="</script><script>alert(1)</script>",
        origins=["https://api.example.com"],
    )
    assert [tag for tag, _attributes in tags.tags] == ["script", "link", "script"]
    options = configuration(tags)
    assert options["tenant"] == "</script><script>alert(1)</script>"
    assert options["audience"] == "web"
    assert options["origins"] == ["https://api.example.com"]
    assert (options["keepAlive"], options["warnBefore"]) == (False, 120)


def test_it_tells_the_grace_period_of_the_server(jwt_settings):
    jwt_settings(REUSE_GRACE_PERIOD=timedelta(seconds=10))
    assert configuration(render())["gracePeriod"] == 10


def test_the_tags_carry_the_nonce_of_django():
    tags = render(csp_nonce=FalseUntilUsed(lambda: 'abc"<'))
    assert [attributes.get("nonce") for _tag, attributes in tags.tags] == [None, 'abc"<', 'abc"<']


@pytest.mark.skipif(django.VERSION < (6,), reason="Django has nonces from 6.0 on.")
def test_the_nonce_is_the_one_in_the_header(settings):
    from django.middleware.csp import ContentSecurityPolicyMiddleware
    from django.template.context_processors import csp
    from django.utils.csp import CSP

    settings.SECURE_CSP = {"script-src": [CSP.SELF, CSP.NONCE]}
    request = HttpRequest()
    template = Template("{% load jwt_sessions %}{% jwt_sessions_script %}")
    middleware = ContentSecurityPolicyMiddleware(
        lambda request: HttpResponse(template.render(RequestContext(request, processors=[csp])))
    )
    response = middleware(request)
    [nonce] = {attributes["nonce"] for _tag, attributes in Tags(response.content.decode()).tags[1:]}
    assert f"'nonce-{nonce}'" in response["Content-Security-Policy"]


def test_the_tags_carry_the_nonce_of_django_csp():
    request = HttpRequest()
    request.csp_nonce = FalseUntilUsed(lambda: "abc")
    template = Template("{% load jwt_sessions %}{% jwt_sessions_script %}")
    tags = Tags(template.render(RequestContext(request)))
    assert [attributes.get("nonce") for _tag, attributes in tags.tags] == [None, "abc", "abc"]


def test_there_is_no_nonce_where_there_is_none():
    tags = render(csp_nonce=None, request=HttpRequest())
    assert all("nonce" not in attributes for _tag, attributes in tags.tags)


@pytest.fixture
def collected(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": HASHED_STORAGE}}
    call_command("collectstatic", interactive=False, verbosity=0)
    return tmp_path


def test_the_files_are_collected_under_hashed_names_that_the_tag_knows(collected):
    tags = render()
    module = str(configuration(tags)["module"])
    start = str(tags.tags[2][1]["src"])
    assert re.fullmatch(r"/static/jwt_sessions/session\.[0-9a-f]{12}\.js", module)
    assert re.fullmatch(r"/static/jwt_sessions/start\.[0-9a-f]{12}\.js", start)
    assert tags.tags[1][1]["href"] == module
    for url, original in ((module, "session.js"), (start, "start.js")):
        file = collected / url.removeprefix("/static/")
        assert file.read_bytes() == (STATIC / original).read_bytes()


@pytest.mark.parametrize("name", sorted(file.name for file in STATIC.glob("*.js")))
def test_no_module_imports_by_a_name_that_hashing_would_change(name):
    source = re.sub(r"/\*.*?\*/", "", (STATIC / name).read_text(), flags=re.DOTALL)
    assert not re.search(r"^\s*(import|export)\b.*\bfrom\b|^\s*import\s+['\"]|\bimport\(['\"]", source, re.MULTILINE)
    assert "sourceMappingURL" not in source


def test_the_npm_package_has_the_version_of_this_one_and_all_its_files():
    package = json.loads((STATIC / "package.json").read_text())
    assert package["version"] == jwt_sessions.__version__
    assert package["type"] == "module"
    named = {path for export in package["exports"].values() for path in export.values()}
    assert named == {f"./{file.name}" for file in STATIC.iterdir() if file.suffix in {".js", ".ts"}} - {"./start.js"}
    assert finders.find("jwt_sessions/package.json")
