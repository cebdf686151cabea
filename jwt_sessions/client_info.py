"""What a request tells about the device that sent it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

import ua_parser
from django.http import HttpRequest

from jwt_sessions import conf
from jwt_sessions.types import FAMILY_LENGTH, ClientInfo

USER_AGENT_LENGTH = 512
# What is parsed of it. Some of the patterns take time that grows with the square of the length; real ones name their
# browser and system before this.
PARSED_LENGTH = 256
# Not the device, whose patterns cost more than the other two together.
PARSED = ua_parser.Domain.USER_AGENT | ua_parser.Domain.OS
# An address and a port, as some proxies write them. In IPv6 only brackets tell the two apart (RFC 3986 §3.2.2).
WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+):\d{1,5}")


def client_info(request: HttpRequest | None) -> ClientInfo:
    """
    The facts of a request; none of them for ``None``.

    To read the User-Agent costs milliseconds: who needs the address alone asks :func:`client_address`.
    """
    if request is None:
        return ClientInfo()
    user_agent = request.headers.get("User-Agent", "")[:USER_AGENT_LENGTH]
    browser, system = _families(user_agent)
    return ClientInfo(client_address(request), browser, system, user_agent)


def client_address(request: HttpRequest) -> str | None:
    """
    The address of the client, or ``None`` where it is unknown.

    It is ``REMOTE_ADDR``, or what the callable in ``CLIENT_IP`` answers, also where a port stands beside it.
    ``X-Forwarded-For`` is not read: any client can write it.
    """
    find = conf.current().CLIENT_IP
    found = str(find(request) if find else request.META.get("REMOTE_ADDR")).strip()
    with_port = WITH_PORT.fullmatch(found)
    address = found if with_port is None else with_port[1] or with_port[2]
    try:
        # Without the zone of a link-local address, which no column takes.
        return str(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        # A server on a Unix socket has no address to give.
        return None


def trusted_proxies(number: int) -> Callable[[HttpRequest], str | None]:
    """
    A callable for ``CLIENT_IP``: the address that the outermost of your proxies has seen.

    Each proxy writes the address of who called it at the end of ``X-Forwarded-For``; what stands further left was
    written by the client. A request whose header has fewer entries did not pass all the proxies: it counts as coming
    from ``REMOTE_ADDR``. No client may reach the server past the proxies, as it could write the whole header.

    Args:
        number: How many proxies each request passes; 0 for none.

    Raises:
        ValueError: The number is none, or negative.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError("trusted_proxies takes the number of proxies, 0 or more.")

    def client_address(request: HttpRequest) -> str | None:
        entries = request.headers.get("X-Forwarded-For", "").split(",")
        if number == 0 or len(entries) < number or not entries[-number].strip():
            return request.META.get("REMOTE_ADDR")
        return entries[-number].strip()

    return client_address


def _families(user_agent: str) -> tuple[str, str]:
    if not user_agent:
        return "", ""
    found = ua_parser.parser(user_agent[:PARSED_LENGTH], PARSED)
    browser = found.user_agent.family if found.user_agent else _product(user_agent)
    system = found.os.family if found.os else ""
    return _printable(browser), _printable(system)


def _product(user_agent: str) -> str:
    """The first product of a User-Agent that no list knows (RFC 9110 §10.1.5): "acme-app/2.1" is "acme-app"."""
    return user_agent.split("/")[0].split(" ")[0] or "unknown"


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:FAMILY_LENGTH]
