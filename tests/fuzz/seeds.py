"""Inputs to begin with: good ones, and nearly good ones, for each target. A leading byte chooses the door."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from jwt_sessions.tokens.keys import ring
from tests.elsewhere import ISSUER, Signer

if TYPE_CHECKING:
    from tests.fuzz.world import World

# The same in a form as it is in JSON.
PASSWORD = "canary-of-a-password-5c1f"
GOOD_LOGIN = json.dumps({"email": "ann@example.com", "password": PASSWORD}).encode()
COOKIE_LOGIN = json.dumps({"email": "ann@example.com", "password": PASSWORD, "delivery": "cookie"}).encode()


def at_doors(values: Sequence[bytes], doors: int) -> list[bytes]:
    """Each value at each door."""
    return [bytes([door]) + value for door in range(doors) for value in values]


def access_tokens(world: World) -> list[bytes]:
    good, ended = world.living.access.encode(), world.ended.access.encode()
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=") + b"." + good.split(b".")[1] + b"."
    return at_doors([good, ended, none, good.split(b".")[0], b"", b"..", world.living.refresh.encode()], 9)


def _header() -> dict[str, object]:
    return {"alg": "ES256", "typ": "at+jwt", "kid": ring().signer.kid}


def _claims_of(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def _parts(header: object, claims: object) -> bytes:
    return json.dumps(header).encode() + b"\n" + json.dumps(claims).encode()


def signed_access_tokens(world: World) -> list[bytes]:
    header, claims = _header(), _claims_of(world.living.access)
    more = {**claims, "tenantId": "acme", "softexp": claims["exp"], "nbf": 0, "omitted": ["roles"], "aud": ["api"]}
    own = {**claims, "type": "personal", "client_id": str(world.personal.credential.pk), "sub": str(world.user.pk)}
    api = {**claims, "type": "api", "client_id": str(world.service.credential.pk)}
    staff = _claims_of(world.administrator.access)
    ended = _claims_of(world.ended.access)
    return at_doors([_parts(header, each) for each in (claims, more, own, api, staff, ended)], 7)


def foreign_tokens(world: World) -> list[bytes]:
    header = {"alg": "ES256", "typ": "at+jwt", "kid": "one"}
    claims = {"iss": ISSUER, "sub": "17", "aud": "api", "iat": 1_700_000_000, "exp": 4_000_000_000, "jti": "x"}
    more = {**claims, "auth_time": 1_790_000_000, "tenantId": "acme", "nbf": 0, "softexp": 4_000_000_000, "sid": "s"}
    return at_doors([_parts(header, claims), _parts(header, more)], 2)


def unsigned_foreign_tokens(world: World) -> list[bytes]:
    later = world.issuer.token(exp=4_000_000_000, aud=["api", 1])
    return [each.encode() for each in (world.issuer.token(), later, world.living.access, "a.b.c", "..")]


def key_sets(world: World) -> list[bytes]:
    sets = [Signer(algorithm).jwks for algorithm in ("ES256", "RS256", "EdDSA")]
    sets += [{"keys": [key for each in sets for key in each["keys"]]}, {"keys": [{"kty": "oct", "k": "AAAA"}]}]
    named = {**sets[0]["keys"][0], "use": "sig", "key_ops": ["verify"], "alg": "ES256", "x5c": ["AA"]}
    return [json.dumps(each).encode() for each in (*sets, {"keys": [named]}, {"keys": [{**named, "d": "AAAA"}]})]


def feeds(world: World) -> list[bytes]:
    return [b'{"revoked": ["a", "b"], "max_age": 300}', b'{"revoked": []}', b"[]", b"{}"]


def cache_controls(world: World) -> list[bytes]:
    return [b"public, max-age=300", b'no-cache="Set-Cookie", max-age="5"', b"no-store", b"s-maxage=1,max-age=0"]


def trusted_issuers(world: World) -> list[bytes]:
    inline = {ISSUER: {"jwks": world.issuer.jwks, "audiences": ["api"], "algorithms": ["ES256"], "types": ["at+jwt"]}}
    url = {"jwks": "https://a.example/jwks.json", "revoked": "https://a.example/revoked.json", "timeout": 2.5}
    remote = {ISSUER: {**url, "client_id": "a", "client_secret": "b"}}
    local = {ISSUER: {"jwks": "http://127.0.0.1:8000/jwks.json"}, "b": {"jwks": "http://[::1]/"}}
    return [repr(each).encode() for each in (inline, remote, local, {}, {"a": {"jwks": {"keys": [{1, 2}, b"", None]}}})]


def refresh_tokens(world: World) -> list[bytes]:
    good, ended = world.living.refresh.encode(), world.ended.refresh.encode()
    foreign = b"eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.AAAA"
    return at_doors([good, ended, good[:-1], good + b"=", b"", b"jsr_", world.living.access.encode(), foreign], 7)


def tagged_refresh_tokens(world: World) -> list[bytes]:
    inner = [base64.urlsafe_b64decode(each.refresh[4:])[:-16] for each in (world.living, world.ended)]
    inner += [each[:17] + bytes([0, 0, 0, 7]) + each[21:] for each in inner]
    return at_doors([*inner, inner[0][:21] + bytes(32), b"\2" + inner[0][1:], b""], 7)


def cookies(world: World) -> list[bytes]:
    name = b"__Host-jwt_sessions_refresh="
    good, ended = name + world.living.refresh.encode(), name + world.ended.refresh.encode()
    odd = "\u2000".encode() + ended
    values = [good, ended, ended + b"; " + ended, odd, name + b'"a\\073b"', b"a=1; b; =c; sessionid=x", name]
    return at_doors(values, 2)


def headers(world: World) -> list[bytes]:
    lines = [
        b"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36",
        b"User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
        b"Origin: https://testserver\nSec-Fetch-Site: same-origin\nX-Session-Background: 1",
        b"Origin: null\nSec-Fetch-Site: cross-site",
        b"X-Forwarded-For: 203.0.113.7, 2001:db8::1\nHost: testserver:8000",
        b"X-Forwarded-For: [2001:db8::1]:443\nAccept: text/html;q=0.1,*/*",
        b'If-None-Match: W/"abc", "def", *\nAccept-Language: de;q=0.9',
        b"Content-Type: application/json; charset=utf-7",
        b"Content-Type: multipart/form-data; boundary=",
        b"Content-Length: 5",
    ]
    return at_doors(lines, 9)


def authorizations(world: World) -> list[bytes]:
    pair = f"{world.service.credential.pk}:{world.service.client_secret}".encode()
    own = f"{world.personal.credential.pk}:{world.personal.client_secret}".encode()
    plain = [b"Basic " + base64.b64encode(pair), b"Bearer " + world.living.access.encode(), b"bearer", b"Digest a=b"]
    return at_doors([pair, own, b"a:b", b"a%3Ab:c+d", b":", b"", pair[:-1]], 5) + [
        bytes([5 + door]) + each for door in range(5) for each in plain
    ]


def _bodies(world: World) -> list[tuple[int, dict[str, str]]]:
    """Parameters for each of the endpoints that take any from anybody, by the number of its door."""
    client = {"client_id": str(world.service.credential.pk), "client_secret": world.service.client_secret}
    exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    kind = "urn:ietf:params:oauth:token-type:refresh_token"
    return [
        (0, {"email": "ann@example.com", "password": PASSWORD, "device_name": "phone", "tenantId": "acme"}),
        (0, {"email": "ann@example.com", "password": "wrong", "delivery": "cookie", "audience": "api"}),
        (0, {"email": "ann@example.com", "password": PASSWORD, "replace_others": "true", "audience": "reports"}),
        (1, {"grant_type": "refresh_token", "refresh_token": world.living.refresh, "tenantId": "acme"}),
        (1, {"grant_type": "refresh_token", "refresh_token": world.ended.refresh, "background": "true"}),
        (1, {"grant_type": "password", "username": "ann@example.com", "password": PASSWORD, "resource": "api"}),
        (1, {"grant_type": "client_credentials", **client, "audience": "api"}),
        (1, {"grant_type": exchange, "subject_token": "a.b.c", "subject_token_type": kind, "delivery": "body"}),
        (2, {"tenantId": "acme", "background": "false"}),
        (3, {"password": PASSWORD, "tenantId": "acme", "delivery": "body"}),
        (4, {"refresh_token": world.ended.refresh}),
        (5, {"token": world.ended.refresh, "token_type_hint": "refresh_token"}),
        (5, {"token": world.ended.access, **client}),
        (6, {"token": world.living.access, **client}),
        (6, {"token": world.living.refresh, **client, "token_type_hint": "access_token"}),
    ]


def json_bodies(world: World) -> list[bytes]:
    return [bytes([door]) + json.dumps(body).encode() for door, body in _bodies(world)]


def form_bodies(world: World) -> list[bytes]:
    return [bytes([door]) + urlencode(body).encode() for door, body in _bodies(world)]


def multipart_bodies(world: World) -> list[bytes]:
    made = []
    for door, body in _bodies(world):
        parts = [
            f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in body.items()
        ]
        made.append(bytes([door]) + "".join((*parts, "--B--\r\n")).encode())
    file = b'\0--B\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nc\r\n--B--\r\n'
    return [*made, file]


def administrators_bodies(world: World) -> list[bytes]:
    policy = {
        **{"audience": "api", "idle_timeout": 600, "max_lifetime": 86400, "max_concurrent_sessions": 3},
        **{"on_session_limit": "refuse", "access_token_lifetime": 60, "refresh_token_lifetime": 3600},
        **{"rotate_refresh_tokens": True, "excluded_claims": ["roles"]},
    }
    credential = {"name": "CI", "audience": "api", "tenantId": "acme", "expires_at": "2030-01-01T00:00:00Z"}
    given = [
        (0, policy),
        (0, {"tenant": "acme", "idle_timeout": None}),
        (1, {"idle_timeout": 60}),
        (2, credential),
        (2, {"name": "CI"}),
        (3, {"device_name": "Ann's phone"}),
        (4, {"password": PASSWORD}),
        (5, {"tenantId": "acme"}),
        (6, {}),
    ]
    return [bytes([door]) + json.dumps(body).encode() for door, body in given]


def paths(world: World) -> list[bytes]:
    session = str(_claims_of(world.living.access)["sid"]).encode()
    values = [session, session.upper(), b"current", b"1", b"-1", b"oauth-authorization-server/a", b"%00", b"9" * 30]
    return at_doors([*values, str(world.personal.credential.pk).encode(), b"token/", b"sessions/end-all/"], 15)


def admin_queries(world: World) -> list[bytes]:
    session = str(_claims_of(world.living.access)["sid"])
    queries = [
        b"",
        b"q=ann",
        f"q={session}".encode(),
        b"audience=api&state=live",
        b"state=ended&o=-1.2",
        b"p=1&all=",
        b"end_reason__exact=logout&created_at__gte=2026-01-01",
        b"user__id__exact=00000000-0000-0000-0000-000000000001",
        b"kind__exact=api&may_introspect__exact=1",
        b"_popup=1&_to_field=id",
        b"o=1.-2.3&q=a%20b%27",
        b"tenant=acme&id__in=1,2",
    ]
    return at_doors(queries, 5)


def admin_forms(world: World) -> list[bytes]:
    session = str(_claims_of(world.living.access)["sid"])
    forms: list[dict[str, str]] = [
        {"action": "end_selected", "_selected_action": session, "index": "0"},
        {"action": "end_all_of_users", "_selected_action": session, "select_across": "1"},
        {"action": "revoke_selected", "_selected_action": str(world.service.credential.pk)},
        {"action": "raise_versions", "_selected_action": str(world.user.pk)},
        {"user": str(world.user.pk), "audience": "api", "lifetime": "3600", "device_info": "a"},
        {"audience": "api", "tenant": "", "idle_timeout": "600", "excluded_claims": "[]", "on_session_limit": ""},
        {
            "name": "CI",
            "audience": "api",
            "claims": "{}",
            "user": "",
            "expires_at_0": "2030-01-01",
            "expires_at_1": "0:0",
        },
        {"user": str(world.user.pk), "jwt_version": "1"},
    ]
    return at_doors([urlencode(form).encode() for form in forms], 10)
