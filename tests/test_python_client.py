"""``jwt_sessions.client``: the rules of keeping a session, with each library, against a server in memory."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import httpx
import httpx2
import pytest

from jwt_sessions.client import MemoryStore, SessionAuth, SessionError
from tests.token_server import (
    API,
    BASE,
    EVERY_CLIENT,
    FOREIGN,
    PASSWORD,
    SYNC,
    Answer,
    FakeClock,
    Program,
    TokenServer,
    open_client,
    refusal,
    refused,
)

DAY = 86_400


@pytest.fixture
def clock(monkeypatch):
    return FakeClock().install(monkeypatch)


@pytest.fixture
def server(clock):
    return TokenServer(clock)


@pytest.fixture(params=EVERY_CLIENT)
def program(request, server):
    """A program that has just signed in, by each of the libraries."""
    return Program(request.param, server).sign_in()


@pytest.fixture
def one(server):
    """A program by one library, where the rule is the same for all."""
    return Program("httpx", server).sign_in()


# Signing in and out


def test_requests_carry_the_token_of_the_sign_in(program, server):
    assert program.call().json()["token"] == "access-s0-1"
    assert server.at("/auth/login/")[0].json == {"username": "ann", "password": PASSWORD}


def test_signing_in_says_what_the_program_knows(server):
    auth = SessionAuth(
        BASE.rstrip("/"), tenant="acme", audience="reports", username_field="email", client=open_client("httpx", server)
    )
    auth.sign_in("ann@example.com", PASSWORD, device_name="laptop", replace_others=True)
    assert server.at("/auth/login/")[0].json == {
        "email": "ann@example.com",
        "password": PASSWORD,
        "tenantId": "acme",
        "audience": "reports",
        "device_name": "laptop",
        "replace_others": True,
    }


@pytest.mark.parametrize("name", ["tenantId", "audience", "delivery"])
def test_what_the_object_sets_itself_is_no_parameter_of_a_sign_in(server, name):
    with pytest.raises(ValueError, match="SessionAuth"):
        Program("httpx", server).sign_in(**{name: "cookie"})
    assert server.asked == []


def test_a_wrong_password_is_told_and_harms_nothing(program, server):
    with pytest.raises(SessionError) as caught:
        program.sign_in("wrong")
    error = caught.value
    assert (error.code, error.terminal, error.status) == ("INVALID_CREDENTIALS", False, 401)
    assert program.call().status_code == 200


def test_nobody_is_signed_in(server):
    error = refused(Program("httpx", server))
    assert (error.code, error.terminal, error.status) == ("NO_SESSION", True, None)
    assert server.asked == []


def test_signing_out_ends_the_session_and_forgets_it(program, server):
    program.sign_out()
    assert server.ended == {"s0": "logout"}
    assert refused(program).code == "NO_SESSION"
    program.sign_out()
    assert len(server.at("/auth/logout/")) == 1


def test_a_sign_out_that_cannot_be_sent_can_be_repeated(one, server, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(server, "_logout", lambda asked: Answer(503))
        with pytest.raises(SessionError) as caught:
            one.sign_out()
    assert (caught.value.code, caught.value.status, caught.value.terminal) == ("UNEXPECTED_ANSWER", 503, False)
    one.sign_out()
    assert server.ended == {"s0": "logout"}


# When it refreshes


def test_it_refreshes_when_it_is_time_and_not_before(program, server, clock):
    clock.shift(239.9)
    assert program.call().json()["token"] == "access-s0-1"
    assert server.refreshes == 0
    clock.shift(0.2)
    assert program.call().json()["token"] == "access-s0-2"
    assert server.refreshes == 1
    assert server.at("/auth/token/")[0].json == {"grant_type": "refresh_token", "refresh_token": "refresh-s0-0"}


def test_it_refreshes_once_per_expiry_for_as_long_as_it_runs(program, server, clock):
    for _expiry in range(15):
        clock.shift(299)
        assert [program.call().status_code for _call in range(3)] == [200] * 3
    assert server.refreshes == 15
    assert server.generation == {"s0": 15}


@pytest.mark.parametrize("wrong_by", [DAY, -DAY])
def test_a_clock_that_is_wrong_by_a_day_changes_nothing(server, clock, wrong_by):
    clock.wall_error = wrong_by
    program = Program("httpx", server).sign_in()
    for _expiry in range(3):
        clock.shift(239)
        assert program.call().status_code == 200
        clock.shift(2)
        assert program.call().status_code == 200
    assert server.refreshes == 3


@pytest.mark.parametrize("seconds", [100, DAY])
def test_a_clock_that_is_set_back_delays_no_refresh(one, server, clock, seconds):
    clock.wall_error = -seconds
    clock.shift(241)
    one.call()
    assert server.refreshes == 1


def test_a_clock_that_is_set_forward_costs_one_refresh(one, server, clock):
    clock.wall_error = DAY
    assert [one.call().status_code for _call in range(3)] == [200] * 3
    assert server.refreshes == 1


def test_a_machine_that_slept_refreshes_when_it_wakes(one, server, clock):
    clock.shift(3600, asleep=True)
    assert one.call().status_code == 200
    assert (server.refreshes, len(server.at("/api/"))) == (1, 1)


def test_another_program_judges_the_age_by_the_wall_clock(server, clock):
    store = MemoryStore()
    Program("httpx", server, store=store).sign_in()
    clock.shift(239)
    assert Program("httpx", server, store=store).call().json()["token"] == "access-s0-1"
    clock.shift(2)
    assert Program("httpx", server, store=store).call().json()["token"] == "access-s0-2"


def test_another_program_refreshes_once_where_the_clock_was_set_back_meanwhile(server, clock):
    store = MemoryStore()
    Program("httpx", server, store=store).sign_in()
    clock.wall_error = -10
    other = Program("httpx", server, store=store)
    assert [other.call().status_code for _call in range(3)] == [200] * 3
    assert server.refreshes == 1


@pytest.mark.parametrize(("header", "background"), [("1", True), ("0", None)])
def test_the_refresh_for_a_background_request_is_no_activity_either(program, server, clock, header, background):
    clock.shift(250)
    program.call(headers={"X-Session-Background": header})
    assert server.at("/auth/token/")[0].json.get("background") is background


# A token that is refused


def test_an_expired_token_is_refreshed_and_the_request_sent_once_more(program, server):
    server.expire()
    response = program.call("POST", json={"a": 1})
    assert (response.status_code, response.json()["token"]) == (200, "access-s0-2")
    first, second = server.at("/api/")
    assert (first.token, second.token) == ("access-s0-1", "access-s0-2")
    assert first.body == second.body != b""
    assert [each.status_code for each in response.history] == [401]


def test_a_request_is_not_sent_more_than_twice(program, server):
    server.resources[API] = lambda asked: refusal("EXPIRED_TOKEN")
    assert program.call().status_code == 401
    assert (len(server.at("/api/")), server.refreshes) == (2, 1)


@pytest.mark.parametrize("code", ["INVALID_TOKEN", "REAUTHENTICATION_REQUIRED", "TENANT_IDLE", "SOMETHING_NEW"])
def test_other_refusals_are_for_the_program(program, server, code):
    server.resources[API] = lambda asked: refusal(code, terminal=True)
    assert program.call().json()["code"] == code
    assert (len(server.at("/api/")), server.refreshes) == (1, 0)


@pytest.mark.parametrize(
    "answer", [Answer(401), Answer(401, ["EXPIRED_TOKEN"]), Answer(403, {"code": "EXPIRED_TOKEN"})]
)
def test_what_is_no_refusal_of_a_token_is_for_the_program(program, server, answer):
    server.resources[API] = lambda asked: answer
    assert program.call().status_code == answer.status
    assert (len(server.at("/api/")), server.refreshes) == (1, 0)


def test_a_body_that_cannot_be_replayed_is_sent_once_and_the_next_call_succeeds(program, server):
    async def slowly():
        yield b"once"

    def parts():
        yield b"once"

    name = "data" if program.kind == "requests" else "content"
    body = slowly() if program.kind.endswith("async") else parts()
    server.expire()
    assert program.call("POST", **{name: body}).json()["code"] == "EXPIRED_TOKEN"
    assert [each.body for each in server.at("/api/")] == [b"once"]
    assert program.call().json()["token"] == "access-s0-2"


def test_a_form_is_sent_once_more_as_it_was(program, server):
    server.expire()
    assert program.call("POST", data={"a": "1"}).json()["body"] == "a=1"
    assert [each.body for each in server.at("/api/")] == [b"a=1"] * 2


def test_an_expired_token_that_another_program_has_refreshed_is_not_refreshed_again(server):
    store = MemoryStore()
    one = Program("httpx", server, store=store).sign_in()
    other = Program("httpx", server, store=store)
    other.call()
    server.expire()
    assert (one.call().status_code, other.call().status_code) == (200, 200)
    assert server.refreshes == 1


def test_a_late_refusal_of_an_older_token_does_not_revive_a_newer_one(one, server):
    one.call()
    one.auth._source.refuse("access-s0-1")
    one.auth._source.refuse("access-s0-0")
    assert one.call().json()["token"] == "access-s0-2"
    assert server.refreshes == 1


# The end of a session


def test_the_end_of_a_session_is_told_with_its_reason(program, server):
    server.end("ended_by_admin")
    for _call in range(3):
        error = refused(program)
        assert (error.code, error.reason, error.terminal) == ("SESSION_ENDED", "ended_by_admin", True)
    assert server.refreshes == 1
    assert program.auth._source.store.load() is None


def test_the_end_of_a_session_is_learnt_by_a_refresh(program, server, clock):
    server.end("idle_timeout")
    clock.shift(250)
    assert (refused(program).reason, refused(program).status) == ("idle_timeout", 400)
    assert (server.refreshes, len(server.at("/api/"))) == (1, 0)


def test_after_the_end_the_user_signs_in_again(program, server):
    server.end("logout")
    refused(program)
    assert program.sign_in().call().json()["token"] == "access-s1-2"


def test_a_new_session_of_another_program_takes_the_place_of_an_ended_one(server):
    store = MemoryStore()
    one = Program("httpx", server, store=store).sign_in()
    server.end("ended_by_user")
    Program("httpx", server, store=store).sign_in()
    assert one.call().json()["token"] == "access-s1-2"
    assert server.refreshes == 0


# Tenants


def test_programs_for_several_tenants_share_a_session_but_no_access_token(server, clock):
    store = MemoryStore()
    one = Program("httpx", server, store=store, tenant="a").sign_in()
    other = Program("httpx", server, store=store, tenant="b")
    assert one.call().json()["token"] == "access-s0-1"
    assert other.call().json()["token"] == "access-s0-2"
    assert one.call().json()["token"] == "access-s0-1"
    assert [each.json["tenantId"] for each in server.at("/auth/token/")] == ["b"]
    for _expiry in range(5):
        clock.shift(250)
        assert (one.call().status_code, other.call().status_code) == (200, 200)
    assert (server.refreshes, server.ended) == (11, {})


def test_a_tenants_program_drops_a_token_of_another_session(server, clock):
    store = MemoryStore()
    one = Program("httpx", server, store=store, tenant="a").sign_in()
    Program("httpx", server, store=store, tenant="b").sign_in()
    clock.shift(250)
    server.next_answers = [Answer(503)]
    assert refused(one).status == 503


# Where tokens go


@pytest.mark.parametrize(
    "url",
    [
        FOREIGN,
        "http://id.example.com/api/",
        "https://id.example.com:8443/api/",
        "https://id.example.com.evil.example/",
        "https://id.example.com@evil.example/",
        "https://api.id.example.com/",
    ],
)
def test_attack_another_origin_gets_no_token(server, url):
    for kind in ["httpx", "httpx2"]:
        Program(kind, server).sign_in().call(url=url)
        assert server.asked[-1].token is None or url.startswith("https://id.example.com@")
        assert "access" not in str(server.asked[-1].headers)
    prepared = type("Request", (), {"url": url, "headers": {}})()
    assert Program("requests", server).sign_in().auth(prepared).headers == {}


@pytest.mark.parametrize("url", ["https://ID.example.com/api/", "https://id.example.com:443/api/"])
def test_other_spellings_of_the_origin_are_the_origin(program, server, url):
    program.call(url=url)
    assert server.asked[-1].token == "access-s0-1"


def test_attack_a_redirect_to_another_host_carries_no_token(program, server):
    server.resources[API] = lambda asked: Answer(302, headers={"Location": FOREIGN})
    assert program.call().json() == {"host": "foreign"}
    assert [each.token for each in server.asked[-2:]] == ["access-s0-1", None]


def test_attack_another_host_cannot_make_it_refresh(program, server):
    server.resources[API] = lambda asked: Answer(302, headers={"Location": FOREIGN})
    server.resources[FOREIGN] = lambda asked: refusal("EXPIRED_TOKEN")
    assert program.call().status_code == 401
    assert server.refreshes == 0
    assert [each.url for each in server.asked[1:]] == [API, FOREIGN]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", SYNC)
def test_attack_a_redirect_of_its_own_calls_is_not_followed(server, clock, kind, status):
    program = Program(kind, server).sign_in()
    clock.shift(299.5)
    server.next_answers = [Answer(status, headers={"Location": FOREIGN})]
    assert (refused(program).code, refused(program).status) == ("UNEXPECTED_ANSWER", status)
    assert [each for each in server.asked if each.url.startswith(FOREIGN)] == []


def test_after_a_redirect_only_the_last_request_is_sent_once_more(program, server):
    server.resources[API + "orders/"] = lambda asked: Answer(303, headers={"Location": API + "orders/1/"})
    server.expire()
    assert program.call("POST", API + "orders/", json={"a": 1}).status_code == 200
    assert [each.method for each in server.at("/api/orders/")] == ["POST"]
    assert [(each.method, each.token) for each in server.at("/api/orders/1/")] == [
        ("GET", "access-s0-1"),
        ("GET", "access-s0-2"),
    ]


def test_attack_a_store_of_another_server_is_not_sent_to_this_one(server):
    store = MemoryStore()
    Program("httpx", server, store=store).sign_in()
    auth = SessionAuth("https://staging.example.com/auth/", store=store, client=open_client("httpx", server))
    count = len(server.asked)
    with pytest.raises(SessionError) as caught, open_client("httpx", server, auth=auth) as http:
        http.get("https://staging.example.com/api/")
    assert caught.value.code == "STORE_UNREADABLE"
    assert len(server.asked) == count
    assert Program("httpx", server, store=store).call().status_code == 200


def test_its_own_calls_do_not_use_the_auth_of_the_client_they_are_made_with(server, clock):
    for kind in SYNC:
        http = open_client(kind, server)
        http.auth = SessionAuth(BASE, client=http)
        http.auth.sign_in("ann", PASSWORD)
        clock.shift(250)
        assert http.get(API).status_code == 200
        assert {each.token for each in server.at("/auth/token/") + server.at("/auth/login/")} == {None}


# What may be given


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com/auth/",
        "http://localhost.example.com/auth/",
        "http://128.0.0.1/auth/",
        "https:///auth/",
        "ftp://id.example.com/",
        "id.example.com/auth/",
        "https://ann:secret@id.example.com/auth/",
        "https://id.example.com/auth/?next=/",
        "https://id.example.com/auth/#here",
        "https://id.example.com:port/",
    ],
)
def test_an_address_that_will_not_do_is_refused_without_being_quoted(url):
    with pytest.raises(ValueError, match="base_url") as caught:
        SessionAuth(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3:8000", "[::1]:8000"])
def test_plain_http_is_for_this_machine(host):
    assert repr(SessionAuth(f"http://{host}/auth")) == f"SessionAuth('http://{host}/auth/', tenant=None)"


def test_a_host_may_have_letters_of_any_script(server):
    assert SessionAuth("https://bücher.example/auth/")._server.is_own("https://xn--bcher-kva.example/api/")


@pytest.mark.parametrize(
    ("client", "message"),
    [(httpx.AsyncClient(), "a synchronous one"), (httpx2.AsyncClient(), "a synchronous one"), (object(), "none of")],
)
def test_a_client_that_cannot_make_calls_is_refused(client, message):
    with pytest.raises(TypeError, match=message):
        SessionAuth(BASE, client=client)


# What stands alone


@pytest.mark.parametrize("library", ["httpx", "httpx2", "requests"])
def test_it_imports_neither_django_nor_a_library_until_it_is_used(library):
    """Also without a library that the program does not use."""
    code = f"""
import sys
sys.modules |= dict.fromkeys({{"httpx", "httpx2", "requests", "django"}} - {{{library!r}}})  # not installed
from jwt_sessions.client import FileStore, SessionAuth, SessionError
auth = SessionAuth("http://127.0.0.1:9/auth/", store=FileStore("/nowhere/session.json"))
assert not {{"httpx", "httpx2", "requests", "django"}} & {{n for n, m in sys.modules.items() if m is not None}}
repr(auth)
auth = SessionAuth("http://127.0.0.1:9/auth/")
try:
    auth.sign_in("ann", "secret")
except SessionError as error:
    assert error.code == "UNREACHABLE", error
assert {library!r} in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_any_library_it_says_so():
    code = """
import sys
sys.modules |= dict.fromkeys(["httpx", "httpx2", "requests"])
from jwt_sessions.client import SessionAuth
SessionAuth("https://id.example.com/auth/").sign_in("ann", "secret")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.endswith("ImportError: A session needs one of httpx, httpx2, requests. None is installed.\n")


def test_an_error_can_be_copied_and_pickled():
    error = SessionError("SESSION_ENDED", "Over.", "logout", True, 401, 3.0)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (vars(twin), str(twin)) == (vars(error), "SESSION_ENDED (logout): Over.")
