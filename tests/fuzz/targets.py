"""
What is given hostile inputs: :data:`TARGETS` is the one list.

A target takes bytes. Where it has several doors, the first byte chooses one. What a signature or a tag would keep out
is signed or tagged here, so that it is not only the signature that is tested.
"""

from __future__ import annotations

import ast
import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory
from jwt.algorithms import get_default_algorithms
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from jwt_sessions.authentication import JWTStatelessAuthentication
from jwt_sessions.conf.trusted_issuers import trusted_issuers
from jwt_sessions.conf.values import Wrong
from jwt_sessions.issuers import ended, transport, verification
from jwt_sessions.permissions import RequireRecentLogin, RequireTenant
from jwt_sessions.tokens.jwks import inline_key_set
from jwt_sessions.tokens.keys import derived, ring
from jwt_sessions.tokens.opaque import PREFIX, TAG_BYTES, TAG_PURPOSE
from tests.fuzz import seeds
from tests.fuzz.world import LONG, Answer, ServerError, World, header_text

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=B"


@dataclass(frozen=True)
class Target:
    """
    One thing to try.

    Attributes:
        run: Gives it an input. An exception is a fault.
        seeds: Inputs to begin with.
        weight: Its share of the inputs: the more, the quicker it is.
    """

    run: Callable[[World, bytes], Answer]
    seeds: Callable[[World], Sequence[bytes]]
    weight: int

    @property
    def name(self) -> str:
        return self.run.__name__


def chosen(doors: Sequence[Any], data: bytes) -> tuple[Any, bytes]:
    """The door that the first byte chooses, and the rest."""
    return doors[(data[0] if data else 0) % len(doors)], data[1:]


def bearer(token: bytes) -> dict[str, str]:
    return {"Authorization": header_text(b"Bearer " + token)}


ACCESS_DOORS: tuple[tuple[str, str, bytes], ...] = (
    ("GET", "/api/me/", b""),
    ("POST", "/auth/renew/", b"{}"),
    ("POST", "/auth/reauthenticate/", b'{"password": "wrong"}'),
    ("GET", "/auth/credentials/", b""),
    ("GET", "/auth/sessions/current/", b""),
    ("GET", "/auth/policies/", b""),
)


def access_token(world: World, data: bytes) -> Answer:
    """An access token as it stands in the header, or in the body of introspection and revocation."""
    door, token = chosen((*ACCESS_DOORS, "introspect", "revoke", "logout"), data)
    genuine = header_text(token).strip() in world.genuine
    if isinstance(door, tuple):
        return world.send(*door, headers=bearer(token), may_write=False)
    if door == "logout":
        return world.send("POST", "/auth/logout/", headers=bearer(token), may_write=genuine)
    return presented(world, door, header_text(token), may_write=genuine and door == "revoke")


def presented(world: World, door: str, token: str, *, may_write: bool) -> Answer:
    """A token in the body of an endpoint that takes any."""
    body = {"token": token, "client_id": str(world.service.credential.pk), "client_secret": world.service.client_secret}
    return world.send("POST", f"/auth/{door}/", json.dumps(body).encode(), may_write=may_write)


def signed(key: Any, algorithm: str, header: bytes, payload: bytes) -> bytes:
    """A JWS of whatever is given, with a right signature."""
    text = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    return text + b"." + urlsafe_b64encode(get_default_algorithms()[algorithm].sign(text, key)).rstrip(b"=")


def signed_access_token(world: World, data: bytes) -> Answer:
    """A header and claims of any kind under a signature of this project's own key."""
    door, rest = chosen((*ACCESS_DOORS, "introspect"), data)
    header, _, payload = rest.partition(b"\n")
    token = signed(ring().signer.signing_key, "ES256", header, payload)
    if isinstance(door, tuple):
        # One that is good in all notes its use, as for a tenant.
        return world.send(*door, headers=bearer(token))
    return presented(world, door, token.decode(), may_write=False)


class Elsewhere(APIView):
    """A view of a service without the user table, which looks at all there is."""

    authentication_classes = [JWTStatelessAuthentication]
    permission_classes: Sequence[Any] = [IsAuthenticated]

    def get(self, request: Any) -> Response:
        user, token = request.user, request.auth
        # As text: a claim may be a number that JSON cannot say.
        return Response(repr([str(user), user.pk, user.get_username(), token.tenant, token, dict(token.claims)]))


class RecentLogin(Elsewhere):
    permission_classes = [RequireRecentLogin(LONG), RequireTenant]


def foreign_token(world: World, data: bytes) -> Answer:
    """A header and claims of any kind, signed by an issuer that is trusted."""
    view, rest = chosen((Elsewhere, RecentLogin), data)
    header, _, payload = rest.partition(b"\n")
    token = signed(world.issuer.key, "ES256", header, payload)
    return elsewhere(view, token)


def elsewhere(view: type[APIView], token: bytes) -> Answer:
    response = view.as_view()(RequestFactory().get("/", headers=bearer(token)))
    response.render()
    if response.status_code >= 500:
        raise ServerError(response.status_code)
    return Answer(response.status_code >= 400, text=response.content)


def unsigned_foreign_token(world: World, data: bytes) -> Answer:
    """The same as it stands in the header."""
    return elsewhere(Elsewhere, data)


def jwks(world: World, data: bytes) -> Answer:
    """The keys of another issuer. ValueError and RecursionError say that it is no key set."""
    try:
        keys = verification._read_keys(("ES256", "RS256", "EdDSA"), data, "application/json")
    except (ValueError, RecursionError):
        return Answer(refused=True)
    for key in keys.by_kid.values():
        if key.signing_key is not None or key.jwk is None or "d" in key.jwk:
            raise AssertionError("a key that signs was taken")
    return Answer(refused=False)


def revoked_feed(world: World, data: bytes) -> Answer:
    """The ended sessions of another issuer, in either form."""
    media_type = "application/json" if data[:1] in (b"{", b"[") else "application/octet-stream"
    try:
        ended.read(data, media_type)
    except (ValueError, RecursionError):
        return Answer(refused=True)
    return Answer(refused=False)


def cache_control(world: World, data: bytes) -> Answer:
    """The ``Cache-Control`` of another issuer."""
    age = transport._max_age(header_text(data))
    if age is not None and age < 0:
        raise AssertionError("a document is kept for less than no time")
    return Answer(refused=age is None)


def trusted_issuers_setting(world: World, data: bytes) -> Answer:
    """``TRUSTED_ISSUERS`` as a Python literal. Wrong and ImproperlyConfigured name what is wrong."""
    try:
        value = ast.literal_eval(data.decode())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        # Not a value that a settings file could hold.
        return Answer(refused=True)
    try:
        for issuer in trusted_issuers(value).values():
            if not issuer.is_remote:
                inline_key_set(issuer.jwks, issuer.algorithms)
    except (Wrong, ImproperlyConfigured):
        return Answer(refused=True)
    return Answer(refused=False)


REFRESH_DOORS = ("token", "token by cookie", "introspect", "revoke", "logout", "logout by cookie", "exchange")


def refreshed(world: World, door: str, token: str, *, genuine: bool) -> Answer:
    """A refresh token at a door that takes it."""
    # A cookie with these is several, or cut short.
    cookie = token.translate(str.maketrans("", "", '";, \t\\'))
    match door:
        case "token by cookie" | "logout by cookie":
            form = b"grant_type=refresh_token" if door.startswith("token") else b""
            headers = {"Cookie": f"__Host-jwt_sessions_refresh={cookie}"}
            path = f"/auth/{door.partition(' ')[0]}/"
            genuine = genuine or cookie in world.genuine
            return world.send("POST", path, form, kind=FORM, headers=headers, may_write=genuine)
        case "introspect" | "revoke":
            return presented(world, door, token, may_write=genuine and door == "revoke")
        case "logout":
            body = {"refresh_token": token}
        case "exchange":
            grant = "urn:ietf:params:oauth:grant-type:token-exchange"
            kind = "urn:ietf:params:oauth:token-type:refresh_token"
            body = {"grant_type": grant, "subject_token": token, "subject_token_type": kind}
        case _:
            body = {"grant_type": "refresh_token", "refresh_token": token}
    path = "/auth/logout/" if door == "logout" else "/auth/token/"
    return world.send("POST", path, json.dumps(body).encode(), may_write=genuine and door != "exchange")


def refresh_token(world: World, data: bytes) -> Answer:
    """A refresh token as a client presents it."""
    door, token = chosen(REFRESH_DOORS, data)
    text = header_text(token)
    return refreshed(world, door, text, genuine=text in world.genuine)


def tagged_refresh_token(world: World, data: bytes) -> Answer:
    """A refresh token with a right tag and anything else in it; with the right secret it would be genuine."""
    door, inner = chosen(REFRESH_DOORS, data)
    tag = hmac.digest(derived(TAG_PURPOSE)[0], inner, "sha256")[:TAG_BYTES]
    text = PREFIX + urlsafe_b64encode(inner + tag).decode()
    return refreshed(world, door, text, genuine=text in world.genuine)


def cookie_header(world: World, data: bytes) -> Answer:
    """The whole ``Cookie`` header."""
    (path, form), value = chosen((("/auth/token/", b"grant_type=refresh_token"), ("/auth/logout/", b"")), data)
    headers = {"Cookie": header_text(value)}
    # Which of several cookies counts is not for this to say: only a header without the genuine token must do nothing.
    return world.send("POST", path, form, kind=FORM, headers=headers, may_write=world.living.refresh.encode() in value)


HEADERS = (
    *("Origin", "Sec-Fetch-Site", "User-Agent", "X-Session-Background", "X-Forwarded-For", "Content-Type", "Accept"),
    *("Accept-Language", "If-None-Match", "If-Modified-Since", "Host", "Referer", "Content-Length"),
)
HEADER_DOORS = (
    ("POST", "/auth/login/", seeds.GOOD_LOGIN),
    ("POST", "/auth/login/", seeds.COOKIE_LOGIN),
    ("POST", "/auth/token/", b"grant_type=refresh_token"),
    ("GET", "/auth/sessions/", b""),
    ("GET", "/api/me/", b""),
    ("GET", "/auth/jwks.json", b""),
    ("GET", "/auth/revoked.json", b""),
    ("GET", "/.well-known/oauth-authorization-server", b""),
    ("POST", "/auth/logout/", b""),
)


def headers(world: World, data: bytes) -> Answer:
    """Lines of headers, beside a genuine token where one is asked for."""
    (method, path, body), rest = chosen(HEADER_DOORS, data)
    given = {"Authorization": f"Bearer {world.living.access}"} if method == "GET" else {}
    if path == "/auth/revoked.json":
        pair = f"{world.service.credential.pk}:{world.service.client_secret}"
        given["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
    if path == "/auth/logout/":
        given["Cookie"] = "__Host-jwt_sessions_refresh=unknown"
    for line in rest.split(b"\n"):
        name, _, value = line.partition(b":")
        for header in HEADERS:
            if header.lower().encode() == name.strip().lower():
                given[header] = header_text(value.strip())
    kind = given.pop("Content-Type", FORM if body.startswith(b"grant") else "application/json")
    return world.send(method, path, body, kind=kind, headers=given)


BASIC_DOORS = (
    ("POST", "/auth/token/", b"grant_type=client_credentials"),
    ("POST", "/auth/introspect/", b"token=unknown"),
    ("POST", "/auth/revoke/", b"token=unknown"),
    ("GET", "/auth/revoked.json", b""),
    ("GET", "/api/me/", b""),
)


def authorization(world: World, data: bytes) -> Answer:
    """The ``Authorization`` header: whatever it is, or what HTTP Basic encodes."""
    (encoded, door), value = chosen([(encoded, door) for encoded in (True, False) for door in BASIC_DOORS], data)
    text = header_text(b"Basic " + b64encode(value) if encoded else value)
    return world.send(*door, kind=FORM, headers={"Authorization": text})


ANONYMOUS = ("login", "token", "renew", "reauthenticate", "logout", "revoke", "introspect")


def body_of(kind: str) -> Callable[[World, bytes], Answer]:
    """A target for bodies of one type, at the endpoints that take any from anybody."""

    def body(world: World, data: bytes) -> Answer:
        name, content = chosen(ANONYMOUS, data)
        # The seeds of those two hold nothing that is genuine and alive.
        may_write = False if name in ("logout", "revoke") else None
        return world.send("POST", f"/auth/{name}/", content, kind=kind, may_write=may_write)

    body.__name__ = {FORM: "form_body", MULTIPART: "multipart_body"}.get(kind, "json_body")
    return body


STAFF_DOORS = (
    ("POST", "/auth/policies/"),
    ("PATCH", "/auth/policies/1/"),
    ("POST", "/auth/credentials/"),
    ("PATCH", "/auth/sessions/current/"),
    ("POST", "/auth/reauthenticate/"),
    ("POST", "/auth/renew/"),
    ("POST", "/auth/sessions/end-others/"),
)


def administrators_body(world: World, data: bytes) -> Answer:
    """Policies, credentials and names, from somebody who may."""
    (method, path), content = chosen(STAFF_DOORS, data)
    return world.send(method, path, content, headers=bearer(world.administrator.access.encode()))


PATHS = (b"/auth/sessions/%s/", b"/auth/credentials/%s/", b"/auth/policies/%s/", b"/.well-known/%s", b"/auth/%s")


def path(world: World, data: bytes) -> Answer:
    """The path of a request, and what is asked of it."""
    (method, place), value = chosen([(each, place) for each in ("GET", "PATCH", "DELETE") for place in PATHS], data)
    given = bearer(world.administrator.access.encode())
    return world.send(method, "/", b"{}", path_info=place.replace(b"%s", value), headers=given)


MODELS = ("session", "refreshtoken", "sessionpolicy", "credential", "tokenversion")


def admin_query(world: World, data: bytes) -> Answer:
    """The query of a change list in the admin: search, filters, order, page."""
    model, query = chosen(MODELS, data)
    return world.send("GET", f"/admin/jwt_sessions/{model}/", query=query, as_staff=True)


def admin_form(world: World, data: bytes) -> Answer:
    """What is sent to the admin's forms and actions."""
    place, form = chosen([f"{model}/{page}" for model in MODELS for page in ("", "add/")], data)
    return world.send("POST", f"/admin/jwt_sessions/{place}", form, kind=FORM, as_staff=True)


TARGETS = {
    target.name: target
    for target in (
        Target(access_token, seeds.access_tokens, 5),
        Target(signed_access_token, seeds.signed_access_tokens, 6),
        Target(foreign_token, seeds.foreign_tokens, 12),
        Target(unsigned_foreign_token, seeds.unsigned_foreign_tokens, 12),
        Target(jwks, seeds.key_sets, 12),
        Target(revoked_feed, seeds.feeds, 8),
        Target(cache_control, seeds.cache_controls, 8),
        Target(trusted_issuers_setting, seeds.trusted_issuers, 12),
        Target(refresh_token, seeds.refresh_tokens, 5),
        Target(tagged_refresh_token, seeds.tagged_refresh_tokens, 5),
        Target(cookie_header, seeds.cookies, 4),
        Target(headers, seeds.headers, 4),
        Target(authorization, seeds.authorizations, 5),
        Target(body_of("application/json"), seeds.json_bodies, 4),
        Target(body_of(FORM), seeds.form_bodies, 3),
        Target(body_of(MULTIPART), seeds.multipart_bodies, 3),
        Target(administrators_body, seeds.administrators_bodies, 4),
        Target(path, seeds.paths, 4),
        Target(admin_query, seeds.admin_queries, 1),
        Target(admin_form, seeds.admin_forms, 1),
    )
}
