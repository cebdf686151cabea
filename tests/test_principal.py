"""Who acts without a row in the user table, as Django and REST framework see it."""

from __future__ import annotations

import asyncio
import copy
import pickle

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory
from rest_framework.permissions import IsAdminUser, IsAuthenticated
from rest_framework.throttling import UserRateThrottle

from jwt_sessions.principal import Principal

CLAIMS = {"iss": "https://issuer.example", "sub": "17", "scope": "canary"}


def test_it_is_authenticated_and_may_nothing():
    principal = Principal(CLAIMS)
    assert principal.is_authenticated is True
    assert principal.is_anonymous is False
    assert principal.is_active is True
    assert principal.is_staff is False
    assert principal.is_superuser is False
    assert principal.pk == principal.id == principal.username == principal.get_username() == str(principal) == "17"
    assert not principal.has_perm("notes.add_note")
    assert not principal.has_perms(["notes.add_note"])
    assert principal.has_perms([])
    assert not principal.has_module_perms("notes")
    assert principal.get_all_permissions() == principal.get_user_permissions() == set()
    assert principal.get_group_permissions() == set()


def test_it_answers_all_that_an_anonymous_user_is_asked_about_permissions():
    for name in dir(AnonymousUser):
        if "perm" in name and not name.startswith("_") and name != "user_permissions":
            argument = [] if name.startswith(("get_", "aget_")) else ["notes"]
            answer = getattr(Principal(CLAIMS), name)(*argument)
            assert not (asyncio.run(answer) if name.startswith("a") else answer), name


def test_the_claims_are_for_reading():
    claims = dict(CLAIMS)
    principal = Principal(claims)
    claims["sub"] = "18"
    assert principal.pk == "17"
    with pytest.raises(TypeError):
        principal.claims["sub"] = "18"
    with pytest.raises(AttributeError):
        principal.is_staff = True


def test_issuer_and_subject_make_the_identity():
    same, elsewhere, other = ({**CLAIMS, **change} for change in ({"jti": "x"}, {"iss": "b"}, {"sub": "18"}))
    assert Principal(CLAIMS) == Principal(same)
    assert len({Principal(CLAIMS), Principal(same)}) == 1
    assert Principal(CLAIMS) not in (Principal(elsewhere), Principal(other), AnonymousUser(), "17")


def test_it_can_be_copied_and_pickled():
    principal = Principal(CLAIMS)
    assert copy.deepcopy(principal) == pickle.loads(pickle.dumps(principal)) == principal
    assert pickle.loads(pickle.dumps(principal)).claims == CLAIMS


def test_its_repr_tells_no_claim_but_the_subject():
    assert repr(Principal(CLAIMS)) == "<Principal '17'>"


def test_rest_framework_takes_it_for_a_user():
    request = RequestFactory().get("/")
    request.user = Principal(CLAIMS)
    assert IsAuthenticated().has_permission(request, None)
    assert not IsAdminUser().has_permission(request, None)
    throttle = UserRateThrottle.__new__(UserRateThrottle)
    throttle.scope = "user"
    assert throttle.get_cache_key(request, None) == "throttle_user_17"
