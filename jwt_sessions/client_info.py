"""What a request tells about the device that sent it."""

from __future__ import annotations

import ipaddress

import ua_parser
from django.http import HttpRequest

from jwt_sessions import conf
from jwt_sessions.types import FAMILY_LENGTH, ClientInfo

USER_AGENT_LENGTH = 512


def client_info(request: HttpRequest | None) -> ClientInfo:
    """
    The facts of a request; none of them for ``None``.

    The address is ``REMOTE_ADDR``, or what the callable in ``CLIENT_IP`` answers. ``X-Forwarded-For`` is not read:
    any client can write it.
    """
    if request is None:
        return ClientInfo()
    user_agent = request.headers.get("User-Agent", "")[:USER_AGENT_LENGTH]
    browser, system = _families(user_agent)
    return ClientInfo(_address(request), browser, system, user_agent)


def _address(request: HttpRequest) -> str | None:
    find = conf.current().CLIENT_IP
    address = find(request) if find else request.META.get("REMOTE_ADDR")
    try:
        # Without the zone of a link-local address, which no column takes.
        return str(ipaddress.ip_address(str(address).partition("%")[0]))
    except ValueError:
        # A server on a Unix socket has no address to give.
        return None


def _families(user_agent: str) -> tuple[str, str]:
    if not user_agent:
        return "", ""
    found = ua_parser.parse(user_agent)
    browser = found.user_agent.family if found.user_agent else _product(user_agent)
    system = found.os.family if found.os else ""
    return _printable(browser), _printable(system)


def _product(user_agent: str) -> str:
    """The first product of a User-Agent that no list knows (RFC 9110 §10.1.5): "acme-app/2.1" is "acme-app"."""
    return user_agent.split("/")[0].split(" ")[0] or "unknown"


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:FAMILY_LENGTH]
