"""A client that keeps the rules of docs/errors.md: what it sees of a fault, and what it does about it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import requests

from example_project.accounts.models import User
from tests.factories import PASSWORD
from tests.faults.steps import KILL_BEFORE, STEPS

ANSWER_TIMEOUT = 60  # seconds
ATTEMPTS = 120
PAUSE = 0.25  # seconds between attempts


class Client:
    """
    One device of a user. No answer, or one of 500 and above: the same request again. Only ``terminal`` is the end.

    Attributes:
        saw: What came instead of a good answer, and how often.
        did: What it did then, and how often.
        received: Every token answer it has got.
    """

    def __init__(self, origin: str, user: User) -> None:
        self.origin = origin
        self.user = user
        self.tokens: dict[str, Any] = {}
        self.received: list[dict[str, Any]] = []
        self.saw: Counter[str] = Counter()
        self.did: Counter[str] = Counter()
        self.http = requests.Session()
        self.http.trust_env = False

    @property
    def session_id(self) -> str:
        return str(self.tokens["session_id"])

    def send(self, method: str, path: str, kill_before: int = 0, **body: Any) -> requests.Response | None:
        """One request; ``None`` if the connection was lost before the answer."""
        headers = {KILL_BEFORE: str(kill_before)} if kill_before else {}
        if self.tokens and path != "/auth/login/":
            headers["Authorization"] = f"Bearer {self.tokens['access_token']}"
        try:
            response = self.http.request(
                method, self.origin + path, json=body or None, headers=headers, timeout=ANSWER_TIMEOUT
            )
        except requests.ConnectionError:
            self.saw["no answer"] += 1
            return None
        if response.status_code == 200 and path.startswith("/auth/") and "access_token" in response.json():
            self.received.append(response.json())
            self.tokens = {**self.tokens, **response.json()}
        elif response.status_code >= 400:
            self.saw[_shown(response)] += 1
        return response

    def sign_in(self, kill_before: int = 0) -> requests.Response | None:
        return self.send("POST", "/auth/login/", kill_before, email=self.user.email, password=PASSWORD)

    def sign_in_alone(self, kill_before: int = 0) -> requests.Response | None:
        credentials = {"email": self.user.email, "password": PASSWORD}
        return self.send("POST", "/auth/login/", kill_before, **credentials, replace_others=True)

    def refresh(self, kill_before: int = 0) -> requests.Response | None:
        token = self.tokens["refresh_token"]
        return self.send("POST", "/auth/token/", kill_before, grant_type="refresh_token", refresh_token=token)

    def reauthenticate(self, kill_before: int = 0) -> requests.Response | None:
        return self.send("POST", "/auth/reauthenticate/", kill_before, password=PASSWORD)

    def end(self, kill_before: int = 0) -> requests.Response | None:
        return self.send("POST", "/auth/logout/", kill_before)

    def end_others(self, kill_before: int = 0) -> requests.Response | None:
        return self.send("POST", "/auth/sessions/end-others/", kill_before)

    def purge(self, kill_before: int = 0) -> requests.Response | None:
        return self.send("POST", "/purge/", kill_before)

    def call(self, kill_before: int = 0) -> requests.Response | None:
        return self.send("GET", "/api/me/", kill_before)

    def insist(self, operation: str, kill_before: int = 0) -> requests.Response:
        """Do an operation, again and again while the answer is none or one of 500 and above."""
        response = getattr(self, operation)(kill_before)
        for _attempt in range(ATTEMPTS):
            if response is not None and response.status_code < 500:
                break
            self.did["same request again"] += 1
            time.sleep(PAUSE if response is not None else 0)
            response = getattr(self, operation)()
        assert response is not None, f"{operation}: no answer after {ATTEMPTS} attempts"
        assert response.status_code < 500, f"{operation}: {response.status_code} {response.text[:300]}"
        if response.status_code in (400, 401) and response.json()["terminal"] and operation != "end":
            self.did["signed in again"] += 1
            response = self.insist("sign_in")
        return response


def steps_of(response: requests.Response) -> list[str]:
    return str(response.headers[STEPS]).split(", ")


def _shown(response: requests.Response) -> str:
    try:
        return f"{response.status_code} {response.json()['code']}"
    except (ValueError, KeyError):
        return str(response.status_code)
