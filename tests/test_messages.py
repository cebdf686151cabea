"""The catalogues of translations hold what the package marks for translation, and are compiled."""

from __future__ import annotations

import gettext
import re

import polib
import pytest

from tests import messages
from tests.messages import LANGUAGES, LOCALE, PACKAGE, TEMPLATES

# What people see who use the application: all of it is translated. The admin's texts may wait for a translator.
FOR_PEOPLE = messages.marked(PACKAGE / "devices", TEMPLATES / "jwt_sessions")

EACH = pytest.mark.parametrize("language", LANGUAGES)


def catalogue(language: str) -> polib.POFile:
    return polib.pofile(str(LOCALE / language / "LC_MESSAGES" / "django.po"))


def translations(entry: polib.POEntry) -> list[str]:
    return [*entry.msgstr_plural.values()] if entry.msgid_plural else [entry.msgstr]


def test_the_walk_finds_texts_of_every_kind():
    found = messages.marked(PACKAGE, TEMPLATES)
    assert {
        ("Your devices", ""),  # a template
        ("%(time)s ago", ""),  # one with a variable
        ("Unknown device", ""),  # a module
        ("%d session ended.", "%d sessions ended."),
    } <= found
    assert ("Sign in", "") in FOR_PEOPLE
    assert ("Revoke selected credentials: their access tokens end at once", "") in found - FOR_PEOPLE


@EACH
def test_the_catalogue_is_as_makemessages_would_leave_it(language):
    """CONTRIBUTING.md has the command that does it after a change."""
    entries = catalogue(language)
    assert {(entry.msgid, entry.msgid_plural) for entry in entries} == messages.marked(PACKAGE, TEMPLATES)
    assert [entry.msgid for entry in entries if entry.fuzzy or entry.obsolete] == []


@EACH
def test_what_people_see_is_translated(language):
    said = {(entry.msgid, entry.msgid_plural) for entry in catalogue(language) if all(translations(entry))}
    assert FOR_PEOPLE - said == set()


@EACH
def test_a_translation_has_the_placeholders_of_its_text(language):
    def placeholders(text: str) -> list[str]:
        return sorted(re.findall(r"%\(\w+\)[sd]|%[sd]|<[^>]+>", text))

    wrong = [
        entry.msgid
        for entry in catalogue(language)
        for said in translations(entry)
        if said and placeholders(said) != placeholders(entry.msgid)
    ]
    assert wrong == []


@EACH
def test_the_compiled_catalogue_is_that_of_the_source(language):
    """Both are in the package, for a machine that installs it compiles nothing."""
    compiled = polib.mofile(str(LOCALE / language / "LC_MESSAGES" / "django.mo"))
    source = catalogue(language)
    held = {entry.msgid: translations(entry) for entry in compiled}
    assert held == {entry.msgid: translations(entry) for entry in source if all(translations(entry))}
    assert compiled.metadata["Plural-Forms"] == source.metadata["Plural-Forms"]
    with (LOCALE / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
        assert gettext.GNUTranslations(file).gettext("Your devices") != "Your devices"
