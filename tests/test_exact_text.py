"""Names of tenants and audiences are the same only if they are the same, whatever the database's collation thinks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from jwt_sessions import sessions
from jwt_sessions.exceptions import TenantIdle
from jwt_sessions.models import Session, SessionPolicy, TenantActivity
from jwt_sessions.sessions import purge

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
ALIKE = [("acme", "Acme"), ("acme", "acmé"), ("acme", "acme "), ("strasse", "straße"), ("1", "１")]


@pytest.fixture(params=ALIKE, ids=["case", "accent", "space", "expansion", "width"])
def alike(request) -> tuple[str, str]:
    """Two names that a collation for people takes for one."""
    return request.param


def test_the_databases_own_collation_would_take_some_for_one():
    """What this is about, where it is so: otherwise the tests below would show nothing on MariaDB."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s = %s", ["acme", "ACME"])
        assert bool(cursor.fetchone()[0]) is (connection.vendor == "mysql")


def test_attack_a_tenant_spelled_alike_keeps_no_idle_clock_of_another_going(clock, user, jwt_settings, alike):
    own, other = alike
    jwt_settings(TENANTS=lambda user: alike)
    SessionPolicy.objects.create(tenant=own, idle_timeout=10 * MINUTE)
    pair = sessions.start(user, tenant=own)
    for _ in range(2):
        clock.shift(5 * MINUTE)
        pair = sessions.refresh(pair.refresh_token, tenant=other)
        sessions.authorize(pair.access_token)
    assert dict(TenantActivity.objects.values_list("tenant", "last_active_at")) == {
        own: timezone.now() - 10 * MINUTE,
        other: timezone.now(),
    }
    with pytest.raises(TenantIdle):
        sessions.refresh(pair.refresh_token, tenant=own)


def test_a_purge_spares_living_sessions_of_an_audience_spelled_alike(clock, user, jwt_settings, alike):
    own, other = alike
    jwt_settings(AUDIENCES=list(alike))
    SessionPolicy.objects.create(audience=own, max_lifetime=MINUTE)
    sessions.start(user, audience=own)
    living = sessions.start(user, audience=other).session
    clock.shift(MINUTE)
    list(purge())
    assert list(Session.objects.values_list("pk", flat=True)) == [living.pk]
    sessions.authorize(sessions.start(user, audience=other).access_token)


@pytest.mark.parametrize("kind", ["audience", "tenant"])
def test_each_has_a_policy_of_its_own_and_only_one(alike, kind):
    for name in alike:
        SessionPolicy.objects.create(**{kind: name})
    with pytest.raises(IntegrityError), transaction.atomic():
        SessionPolicy.objects.create(**{kind: alike[0]})
    assert SessionPolicy.objects.filter(**{kind: alike[0]}).count() == 1
