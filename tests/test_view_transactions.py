"""ATOMIC_REQUESTS: what authentication leaves behind belongs to no view's transaction, and locks nothing before it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import OperationalError, connection, connections, transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import include, path
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from jwt_sessions import sessions
from jwt_sessions.models import Session, TenantActivity
from jwt_sessions.models.session import SessionQuerySet
from jwt_sessions.signals import session_ended
from tests.clients import Device
from tests.factories import UserFactory
from tests.statements import READ, WRITE, statements

LONG_AGO = timedelta(hours=1)
# Longer than a statement takes, and shorter than a server waits for a lock.
PATIENCE = 5

during: list[Callable[[], Any]] = []


def work() -> None:
    """What a test does while the view runs, from another connection."""
    pool = ThreadPoolExecutor(1)
    done = [pool.submit(each) for each in (*during, connections.close_all)]
    # Who waits for a lock of the view waits until the view has failed for it.
    pool.shutdown(wait=False)
    for each in done:
        each.result(timeout=PATIENCE)


def plain(request: HttpRequest, answer: str) -> HttpResponse:
    assert request.user.is_authenticated
    assert connection.in_atomic_block
    if answer == "stream":
        return StreamingHttpResponse(["a stream"])
    work()
    if answer == "broken":
        raise RuntimeError
    return HttpResponse()


class Rest(APIView):
    def get(self, request: Any, answer: str) -> Any:
        assert connection.in_atomic_block
        if answer == "stream":
            return StreamingHttpResponse(["a stream"])
        work()
        if answer == "broken":
            raise ValidationError
        return Response()


async def asynchronous(request: HttpRequest, answer: str) -> HttpResponse:
    def section() -> None:
        with transaction.atomic():
            assert request.user.is_authenticated
            work()
            transaction.set_rollback(answer == "broken")

    await sync_to_async(section)()
    return HttpResponse()


urlpatterns = [
    path("plain/<answer>/", plain),
    path("rest/<answer>/", Rest.as_view()),
    path("async/<answer>/", transaction.non_atomic_requests(asynchronous)),
    path("", include("example_project.urls")),
]


@pytest.fixture(autouse=True)
def atomic_requests(transactional_db, settings, monkeypatch):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["jwt_sessions.middleware.JWTSessionMiddleware"]
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    if connection.vendor == "sqlite":
        # Otherwise BEGIN locks the whole of the database, whoever writes.
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", "DEFERRED")
        connection.close()
    during.clear()


@pytest.fixture
def device(jwt_settings) -> Device:
    """A device whose next request has all to note: a first use, activity, activity for a tenant."""
    jwt_settings(TENANTS=lambda user: ["acme"])
    device = Device(UserFactory()).sign_in(tenantId="acme")
    device.refresh(tenantId="acme")
    Session.objects.update(last_active_at=timezone.now() - LONG_AGO)
    TenantActivity.objects.update(last_active_at=timezone.now() - LONG_AGO)
    return device


def visit(device: Device, kind: str, answer: str = "good") -> int:
    """Call a view; the status of its answer."""
    url = f"/{kind}/{answer}/"
    if kind == "async":
        return async_to_sync(through_asgi)(url, device.bearer["Authorization"])
    return Client(raise_request_exception=False).get(url, headers=device.bearer).status_code


async def through_asgi(url: str, authorization: str) -> int:
    """Call a view as a server does. Django's asynchronous test client closes requests in a thread of its own."""
    headers = [(b"authorization", authorization.encode())]
    scope = {"type": "http", "method": "GET", "path": url, "headers": headers, "query_string": b""}
    server = ApplicationCommunicator(ASGIHandler(), scope)
    await server.send_input({"type": "http.request", "body": b""})
    status = (await server.receive_output(4 * PATIENCE))["status"]
    await server.receive_output(PATIENCE)
    await server.wait(PATIENCE)
    return int(status)


def noted() -> tuple[bool, bool, bool]:
    """Whether the first use, the activity and that for the tenant are on record."""
    session, clock = Session.objects.get(), TenantActivity.objects.get()
    recently = timezone.now() - LONG_AGO / 2
    return session.first_used_at is not None, session.last_active_at > recently, clock.last_active_at > recently


def rows_are_free(device: Device) -> None:
    """Nobody holds a lock on the rows of a session."""
    with transaction.atomic():
        assert Session.objects.update(device_name="free") == 1
        assert TenantActivity.objects.update(tenant="acme") == 1


KINDS = ["rest", "plain", "async"]
DOORS: dict[str, Callable[[Device], object]] = {
    "the rows": rows_are_free,
    "another tab": lambda device: device.call().status_code == 200 or pytest.fail("refused"),
    "refresh": lambda device: device.refresh(tenantId="acme").status_code == 200 or pytest.fail("refused"),
    "logout": lambda device: device.post("logout", **device.bearer),
    "an administrator": lambda device: sessions.end(Session.objects.get(), reason="ended_by_admin"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", KINDS)
def test_nobody_waits_for_a_view_of_the_same_session(device, kind, door):
    done = []
    during.append(lambda: done.append(DOORS[door](device)))
    assert visit(device, kind) == 200
    assert len(done) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", ["good", "broken"])
def test_a_view_that_is_rolled_back_counts_as_activity_too(device, kind, answer):
    before = []
    during.append(lambda: before.append(noted()))
    status = {"good": 200, "broken": {"rest": 400, "plain": 500, "async": 200}[kind]}[answer]
    assert visit(device, kind, answer) == status
    assert before == [(False, False, False)]
    assert noted() == (True, True, True)


@pytest.mark.parametrize("kind", ["rest", "plain"])
def test_the_moment_of_activity_is_that_of_the_request(clock, device, kind):
    Session.objects.update(last_active_at=timezone.now() - LONG_AGO)
    arrived = timezone.now()
    during.append(lambda: clock.shift(timedelta(minutes=2)))
    visit(device, kind)
    assert Session.objects.get().last_active_at == arrived


@pytest.mark.parametrize("kind", ["rest", "plain"])
def test_a_stream_counts_as_activity_before_it_ends(device, kind):
    response = Client().get(f"/{kind}/stream/", headers=device.bearer)
    assert noted() == (True, True, True)
    assert b"".join(response) == b"a stream"


@pytest.mark.parametrize("answer", ["good", "broken"])
def test_a_view_in_a_transaction_costs_what_one_outside_costs(device, answer):
    assert statements(lambda: visit(device, "rest", answer)) == [READ, WRITE, WRITE, WRITE]
    assert statements(lambda: visit(device, "rest", answer)) == [READ]


def test_what_a_process_that_died_did_not_note_the_next_request_does(device):
    request = RequestFactory().get("/rest/broken/", headers=device.bearer)
    handler = WSGIHandler()
    # The response is never closed.
    assert handler.get_response(request).status_code == 400
    assert noted() == (False, False, False)
    visit(device, "rest")
    assert noted() == (True, True, True)


@pytest.mark.parametrize("error", [OperationalError("database is locked"), ZeroDivisionError()])
@pytest.mark.parametrize("answer", ["good", "broken"])
def test_activity_that_cannot_be_written_after_a_request_is_logged_and_noted_by_the_next(
    device, monkeypatch, caplog, error, answer
):
    def failing(*arguments: Any) -> int:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(SessionQuerySet, "mark_active", failing)
        assert visit(device, "rest", answer) == {"good": 200, "broken": 400}[answer]
    assert "could not be written" in caplog.text
    assert noted() == (True, False, True)
    visit(device, "rest")
    assert noted() == (True, True, True)


@pytest.mark.parametrize("kind", ["rest", "plain"])
def test_an_end_that_authentication_notices_is_stored_once_though_the_refusal_is_rolled_back(device, kind):
    told = []

    def hear(reason: Any, **kwargs: Any) -> None:
        told.append(reason)

    Session.objects.update(refresh_expires_at=timezone.now())
    session_ended.connect(hear)
    # A plain view finds nobody, and breaks.
    assert [visit(device, kind) for _ in range(2)] == [401 if kind == "rest" else 500] * 2
    assert Session.objects.get().end_reason == "expired"
    assert told == ["expired"]


def test_the_asynchronous_test_client_leaves_it_to_the_next_request(device):
    response = async_to_sync(AsyncClient().get)("/async/broken/", headers=device.bearer)
    assert response.status_code == 200
    assert noted() == (False, False, False)
    visit(device, "rest")
    assert noted() == (True, True, True)


def test_without_a_request_it_is_written_in_the_transaction_of_the_caller(device):
    with transaction.atomic():
        sessions.authorize(device.tokens["access_token"])
        assert noted() == (True, True, True)
        transaction.set_rollback(True)
    assert noted() == (False, False, False)
