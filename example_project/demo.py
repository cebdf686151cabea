"""
The main job of jwt_sessions, shown over HTTP against a served application. Run it with ``make demo``.

It makes a fresh database with two users and two tenants, serves the example project in a child process, and prints
what two devices ask and are answered. Each step checks what it claims; the first that does not hold ends the demo
with exit code 1. Then it serves the same database, to try things by hand.
"""

import argparse
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
import requests
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone

ROOT = Path(__file__).resolve().parent.parent
VAR_DIR = ROOT / "example_project" / "var"
DATABASE = VAR_DIR / "demo.sqlite3"
SERVER_LOG = VAR_DIR / "demo-server.log"
HOST = "127.0.0.1"

GRACE = 1  # seconds; short, for the demo has to wait until it is over
START_TIMEOUT = 30  # seconds
ANSWER_TIMEOUT = 30  # seconds

ADMIN = ("admin@example.com", "demo-admin-password")
USER = ("ada@example.com", "demo-user-password")
# What she has noted down as a member of each tenant.
TENANTS = {
    ("acme", "Acme"): ["Call the printer about the labels", "Send the offer to Umbrella", "Book the room for Thursday"],
    ("globex", "Globex"): ["Renew the certificate", "Ask Hank for the floor plan"],
}

DESKTOP_CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)
IPHONE_SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Mobile/15E148 Safari/604.1"
)


class ClaimFailed(Exception):
    """What the demo claims does not hold."""


def claim(text: str, holds: bool) -> None:
    """Print a claim that holds; refuse to go on after one that does not."""
    if not holds:
        raise ClaimFailed(text)
    print(f"      ✓ {text}")


def step(title: str) -> None:
    print(f"\n── {title}")


def shown(fields: dict[str, Any], *names: str) -> str:
    """The named fields for the transcript: of a token just enough to tell it from others, no password."""
    values = {name: str(fields[name]) for name in names}
    for name, value in values.items():
        if name.endswith(("_token", "_secret")):
            values[name] = f"{value[:4]}…{value[-6:]}"
        elif name == "password":
            values[name] = "…"
    return ", ".join(f"{name}={value}" for name, value in values.items())


class Device:
    """A client with a user agent of its own, and the tokens that it was given last."""

    def __init__(self, name: str, user_agent: str, origin: str) -> None:
        self.name = name
        self.origin = origin
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["User-Agent"] = user_agent
        self.access_token = ""
        self.refresh_token = ""
        self.session_id = ""

    def ask(self, method: str, path: str, status: int, *show: str, **body: str) -> Any:
        """Send a request with the access token; print and return the answer, which must have this status."""
        print(f"   {self.name:9} {method} {path} {shown(body, *body)}".rstrip())
        headers = {"Authorization": f"Bearer {self.access_token}"} if self.access_token else {}
        response = self.http.request(
            method, self.origin + path, headers=headers, json=body or None, timeout=ANSWER_TIMEOUT
        )
        if response.status_code != status:
            raise ClaimFailed(f"the answer is {status}, not {response.status_code} {response.text[:80]}")
        answer = response.json() if response.content else {}
        print(f"{'':12} → {status} {shown(answer, *show)}".rstrip())
        return answer

    def sign_in(self, email: str, password: str) -> None:
        self.access_token = ""
        pair = self.ask(
            *("POST", "/auth/login/", 200, "session_id", "access_token", "refresh_token", "expires_in"),
            email=email,
            password=password,
        )
        self.keep(pair)

    def refresh(self, refresh_token: str) -> None:
        pair = self.ask(
            *("POST", "/auth/token/", 200, "access_token", "refresh_token"),
            grant_type="refresh_token",
            refresh_token=refresh_token,
        )
        self.keep(pair)

    def keep(self, pair: dict[str, str]) -> None:
        """Remember the tokens of a token answer."""
        self.access_token = pair["access_token"]
        self.refresh_token = pair["refresh_token"]
        self.session_id = pair["session_id"]


def environment() -> dict[str, str]:
    """The environment of the transcript's child processes."""
    return os.environ | {"REUSE_GRACE_PERIOD": str(GRACE)}


def manage(command: str) -> str:
    """Run a management command in a child process and return what it printed."""
    process = subprocess.run(
        [sys.executable, "manage.py", command], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    if process.returncode != 0:
        raise ClaimFailed(f"{command} succeeds: {process.stderr}")
    return process.stdout


@contextmanager
def served(port: int) -> Iterator[str]:
    """Serve the example project in a child process as long as the context lasts; yields its origin."""
    origin = f"http://{HOST}:{port}"
    command = [sys.executable, "manage.py", "runserver", f"{HOST}:{port}", "--noreload"]
    with (
        SERVER_LOG.open("wb") as log,
        subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=log, stderr=subprocess.STDOUT) as server,
    ):
        try:
            wait_until_served(origin, server)
            yield origin
        finally:
            server.terminate()


def wait_until_served(origin: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    with requests.Session() as http:
        http.trust_env = False
        while server.poll() is None and time.monotonic() < deadline:
            try:
                http.get(origin, timeout=ANSWER_TIMEOUT).raise_for_status()
            except requests.ConnectionError:
                time.sleep(0.1)
            else:
                return
    raise ClaimFailed(f"the server answers within {START_TIMEOUT} seconds; see {SERVER_LOG.relative_to(ROOT)}")


def free_port(wanted: int) -> int:
    """``wanted`` where nothing listens on it, else a port that the system picks."""
    for port in (wanted, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise ClaimFailed("this machine has a free port")


def prepare_database() -> None:
    """Migrate a fresh database and make a superuser in it, and a user who is a member of two tenants."""
    for path in VAR_DIR.glob(f"{DATABASE.name}*"):
        path.unlink()
    django.setup()
    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    users.create_superuser(*ADMIN)
    ada = users.create_user(*USER, name="Ada")
    for (key, name), notes in TENANTS.items():
        tenant = apps.get_model("accounts", "Tenant").objects.create(id=key, name=name)
        ada.memberships.create(tenant=tenant, accepted_at=timezone.now())
        for title in notes:
            ada.notes.create(tenant=tenant, title=title)


def tell(origin: str) -> None:
    """The main job: two devices, a stolen token, a lost phone, a build server, and what is purged afterwards."""
    desktop = Device("desktop", DESKTOP_CHROME, origin)
    phone = Device("phone", IPHONE_SAFARI, origin)
    stranger = Device("stranger", "curl/8.5.0", origin)

    step("Ada signs in on two devices")
    desktop.sign_in(*USER)
    phone.sign_in(*USER)
    claim("each device has a session of its own", desktop.session_id != phone.session_id)

    step("She calls the API")
    desktop.ask("POST", "/api/notes/", 201, "title", title="Buy milk")
    notes = phone.ask("GET", "/api/notes/", 200)
    claim("the phone reads what the desktop wrote", [note["title"] for note in notes] == ["Buy milk"])
    refusal = stranger.ask("GET", "/api/notes/", 401, "detail")
    claim("without a token there is nothing to read", set(refusal) == {"detail"})

    step("She lists her sessions")
    sessions = desktop.ask("GET", "/auth/sessions/", 200)
    for session in sessions:
        device = "{browser} on {system}".format(**session["device"])
        print(f"{'':14} {session['id']}  {device}{'  (this one)' if session['current'] else ''}")
    claim("both are listed", {session["id"] for session in sessions} == {desktop.session_id, phone.session_id})

    step("The phone refreshes, loses the answer, and asks again with the old token")
    first = phone.refresh_token
    phone.refresh(first)
    second = phone.refresh_token
    claim("a refresh gives a new refresh token", second != first)
    phone.refresh(first)
    claim("asked again, it gives the identical one", phone.refresh_token == second)

    step(f"The phone uses its new tokens, and refreshes again when the grace of {GRACE} second is over")
    phone.ask("GET", "/api/me/", 200, "email")
    time.sleep(GRACE + 0.5)
    phone.refresh(second)
    claim("it gets a third refresh token", phone.refresh_token not in {first, second})

    step("A thief presents the first one")
    refusal = stranger.ask(
        *("POST", "/auth/token/", 400, "error", "code"), grant_type="refresh_token", refresh_token=first
    )
    claim(
        "the thief gets nothing, and learns nothing",
        refusal["code"] == "INVALID_TOKEN" and "reason" not in refusal,
    )
    refusal = phone.ask("GET", "/api/me/", 401, "code", "reason", "terminal")
    claim("the stolen session is over, its newest access token too", ended(refusal, "token_reuse"))
    me = desktop.ask("GET", "/api/me/", 200, "email")
    claim("the other device goes on", me["email"] == USER[0])

    step("Ada signs in on the phone again, loses it, and ends its session from the desktop")
    phone.sign_in(*USER)
    phone.ask("GET", "/api/me/", 200, "email")
    desktop.ask("DELETE", f"/auth/sessions/{phone.session_id}/", 204)
    refusal = phone.ask("GET", "/api/me/", 401, "code", "reason", "terminal")
    claim("the phone's very next call is refused", ended(refusal, "ended_by_user"))

    step("Ada lets her build server in with a credential, and revokes it")
    credential = desktop.ask("POST", "/auth/credentials/", 201, "client_id", "client_secret", name="Build server")
    server = Device("server", "build-server/1.0", origin)
    answer = server.ask(
        *("POST", "/auth/token/", 200, "access_token", "expires_in"),
        grant_type="client_credentials",
        client_id=credential["client_id"],
        client_secret=credential["client_secret"],
    )
    claim("it gets no refresh token", "refresh_token" not in answer)
    server.access_token = answer["access_token"]
    me = server.ask("GET", "/api/me/", 200, "email")
    claim("it acts for her", me["email"] == USER[0])
    desktop.ask("DELETE", f"/auth/credentials/{credential['client_id']}/", 204)
    refusal = server.ask("GET", "/api/me/", 401, "code", "terminal")
    claim("its very next call is refused", refusal["code"] == "INVALID_TOKEN")

    step("What is dead is purged")
    print("   operator  manage.py purge_expired_tokens")
    print(f"{'':12} → {manage('purge_expired_tokens').strip()}")
    left = [str(session.pk) for session in apps.get_model("jwt_sessions", "Session").objects.all()]
    claim("only the desktop's session is left", left == [desktop.session_id])
    me = desktop.ask("GET", "/api/me/", 200, "email")
    claim("and it goes on", me["email"] == USER[0])


def ended(refusal: dict[str, Any], reason: str) -> bool:
    return (refusal["code"], refusal.get("reason")) == ("SESSION_ENDED", reason)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000, help="serve here, or on a free port if it is taken")
    parser.add_argument("--no-serve", action="store_true", help="end after the transcript")
    options = parser.parse_args()

    os.environ.update(
        DJANGO_SETTINGS_MODULE="example_project.settings",
        CACHE_URL="locmemcache://",
        DATABASE_URL=f"sqlite:///{DATABASE}",
        DEBUG="on",
        HTTPS="off",
        SECRET_KEY=secrets.token_urlsafe(50),
        # Short, so that the page shows tokens being refreshed and a session going idle.
        ACCESS_TOKEN_LIFETIME="60",  # noqa: S106
        IDLE_TIMEOUT="300",
    )
    prepare_database()
    port = free_port(options.port)
    try:
        with served(port) as origin:
            print(f"The example project is served at {origin}")
            tell(origin)
    except ClaimFailed as failure:
        print(f"      ✗ {failure}")
        return 1
    print("\nEvery claim held.")

    if not options.no_serve:
        print(f"\nTry it at {origin}/")
        print(f"Admin   {origin}/admin/   {ADMIN[0]}   {ADMIN[1]}")
        print(f"User    {USER[0]}   {USER[1]}\n", flush=True)
        call_command("runserver", f"{HOST}:{port}", use_reloader=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
