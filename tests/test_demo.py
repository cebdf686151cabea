"""The demo page of the example project and the API behind it; test_browser runs the page."""

from __future__ import annotations

import re

import pytest
from django.http import HttpResponse
from django.utils import timezone

from example_project.accounts.models import Tenant
from example_project.headers import CONTENT_SECURITY_POLICY
from jwt_sessions.exceptions import EndReason
from tests.clients import Device
from tests.documentation import ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture
def member(device):
    """The user of a device, who is a member of one tenant and was merely invited into another."""
    for key, accepted_at in (("acme", timezone.now()), ("globex", None)):
        tenant = Tenant.objects.create(id=key, name=key.title())
        device.user.memberships.create(tenant=tenant, accepted_at=accepted_at)
    return device


def call(device: Device, path: str) -> HttpResponse:
    return device.http.get(path, headers=device.bearer)


def test_notes_belong_to_the_tenant_of_the_token(member):
    assert call(member, "/api/tenants/").json() == [{"id": "acme", "name": "Acme"}]
    member.http.post("/api/notes/", {"title": "Of none"}, headers=member.bearer)
    assert member.refresh(tenantId="acme").status_code == 200
    member.http.post("/api/notes/", {"title": "Of Acme"}, headers=member.bearer)
    assert [note["title"] for note in call(member, "/api/notes/").json()] == ["Of Acme"]
    assert member.http.post("/api/notes/clear/", headers=member.bearer).status_code == 204
    assert call(member, "/api/notes/").json() == []
    assert member.refresh().status_code == 200
    assert [note["title"] for note in call(member, "/api/notes/").json()] == ["Of none"]


def test_deleting_all_notes_needs_a_recent_password(clock, member):
    clock.shift(61)
    answer = member.http.post("/api/notes/clear/", headers=member.bearer)
    assert (answer.status_code, answer.json()["code"], answer.json()["max_age"]) == (
        401,
        "REAUTHENTICATION_REQUIRED",
        60,
    )


def test_the_page_has_nothing_inline_and_sends_a_policy_that_allows_nothing_inline(client):
    answer = client.get("/?tenant=acme")
    assert answer["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    html = answer.content.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*(\bsrc=|application/json))", html)
    assert '"tenant": "acme"' in html


def test_the_page_has_words_for_every_reason():
    words = (ROOT / "example_project/notes/static/notes/words.js").read_text()
    reasons = re.search(r"REASONS = \{(.*?)^\}", words, re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"^  (\w+):", reasons[1], re.MULTILINE)) == set(EndReason.values)
