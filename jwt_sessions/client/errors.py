"""What goes wrong with a session, with what a program needs to decide what to do."""

from __future__ import annotations

# Codes of the client's own; all others are the server's.
NO_SESSION = "NO_SESSION"
UNREACHABLE = "UNREACHABLE"
UNEXPECTED_ANSWER = "UNEXPECTED_ANSWER"
STORE_FAILED = "STORE_FAILED"
STORE_UNREADABLE = "STORE_UNREADABLE"


class SessionError(Exception):
    """
    There is no access token to be had, or a call about the session was refused.

    Attributes:
        code: The server's error code, as in the documentation of errors, or one of this client: ``NO_SESSION``,
            ``UNREACHABLE``, ``UNEXPECTED_ANSWER``, ``STORE_FAILED``, ``STORE_UNREADABLE``.
        detail: The same for people.
        reason: Why the session ended, where ``code`` is ``SESSION_ENDED``; else empty.
        terminal: Whether the user has to sign in again. If not, the session is kept and a later call may succeed.
        status: The HTTP status of the answer, or ``None`` if there was none.
        retry_after: Seconds that the server asked to wait, or ``None``.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        reason: str = "",
        terminal: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        # All go to ``args``, from which an exception is copied and pickled.
        super().__init__(code, detail, reason, terminal, status, retry_after)
        self.code = code
        self.detail = detail
        self.reason = reason
        self.terminal = terminal
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        code = f"{self.code} ({self.reason})" if self.reason else self.code
        return f"{code}: {self.detail}" if self.detail else code
