"""Secrets planted as canaries are searched for wherever they must never turn up."""

from __future__ import annotations

import base64
import gc
import itertools
import logging
import secrets
import sys
import traceback
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote_plus
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.contrib.admin.models import LogEntry
from django.core.signals import got_request_exception
from django.db import DatabaseError, connection
from django.db.models.signals import post_save
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from django.views.debug import ExceptionReporter

from jwt_sessions import conf, credentials, sessions, signals
from jwt_sessions.admin.issuing import Issued
from jwt_sessions.api.serializers import LoginSerializer
from jwt_sessions.credentials import creation
from jwt_sessions.exceptions import InvalidToken, IssueDenied, JWTSessionsError
from jwt_sessions.models import Credential, RefreshToken, Session, TokenVersion
from jwt_sessions.tokens import access, keys
from jwt_sessions.tokens import opaque as refresh_tokens
from jwt_sessions.tokens.opaque import OpaqueToken
from jwt_sessions.types import ClientSecret
from jwt_sessions.verdict import rotation
from jwt_sessions.verdict.credential import find_credential
from jwt_sessions.verdict.session import find
from tests.clients import Device
from tests.effort import THOROUGH
from tests.factories import PASSWORD, UserFactory
from tests.services import Service, basic

pytestmark = pytest.mark.django_db

COOKIE = "__Host-Http-jwt_sessions_refresh"
PRIVATE_KEY = ec.generate_private_key(ec.SECP256R1())
PEM = PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def spellings(secret: bytes) -> Iterator[bytes]:
    """A secret as it would look raw, in hex, in a ``repr``, in a form, and in base64 at any of its three alignments."""
    yield secret
    yield secret.hex().encode()
    # Which quotes a repr uses, and so which it escapes, depends on the neighbours.
    yield repr(secret)[2:-1].encode()
    yield repr(b"\"'" + secret)[5:-1].encode()
    yield quote_plus(secret).encode()
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # What lies in the first and the last group depends on the neighbours too.
            yield encode(b"\0" * shift + secret)[4:-4]


class Canaries:
    """Secrets by name."""

    def __init__(self) -> None:
        number = PRIVATE_KEY.private_numbers().private_value
        self.secrets = {
            "password": PASSWORD.encode(),
            "line of the PEM": PEM.splitlines()[2].encode(),
            "signing key": number.to_bytes(32, "big"),
            "signing key in decimal": str(number).encode(),
            **{f"SECRET_KEY {number}": secret for number, secret in enumerate(keys.secrets())},
            "tag key": keys.derived("refresh-tag")[0],
        }

    def plant(self, *, refresh_token: str = "", access_token: str = "", client_secret: str = "") -> None:
        number = len(self.secrets)
        if client_secret:
            self.secrets[f"client secret {number}"] = client_secret.encode()
        if refresh_token:
            self.secrets[f"refresh token {number}"] = refresh_token.encode()
            self.secrets[f"secret of refresh token {number}"] = refresh_tokens.parse(refresh_token).secret
        if access_token:
            self.secrets[f"access token {number}"] = access_token.encode()
            self.secrets[f"signature of access token {number}"] = access_token.rpartition(".")[2].encode()

    def found_in(self, haystack: str | bytes) -> list[str]:
        raw = haystack if isinstance(haystack, bytes) else haystack.encode("utf-8", "backslashreplace")
        return [name for name, secret in self.secrets.items() if any(spelling in raw for spelling in spellings(secret))]


@pytest.fixture
def canaries(jwt_settings, settings):
    settings.SECRET_KEY_FALLBACKS = ["canary-of-a-key-that-was-retired-0123456789abcdef"]
    jwt_settings(SIGNING_KEYS=[PEM])
    return Canaries()


class PlantingDevice(Device):
    """A device whose every token becomes a canary."""

    def __init__(self, user, canaries):
        super().__init__(user)
        self.canaries = canaries
        self.http.raise_request_exception = False

    def post(self, name, data=None, **headers):
        response = super().post(name, data, **headers)
        body = response.json() if response.status_code in (200, 201) else {}
        cookie = response.cookies.get(COOKIE)
        self.canaries.plant(
            refresh_token=body.get("refresh_token") or (cookie.value if cookie is not None else ""),
            access_token=body.get("access_token", ""),
            client_secret=body.get("client_secret", ""),
        )
        return response


@pytest.fixture
def phone(user, canaries):
    return PlantingDevice(user, canaries).sign_in()


def live_through_everything(phone: PlantingDevice) -> list[bytes]:
    """All that can happen to a device. Answers the bodies of the errors."""
    user, canaries = phone.user, phone.canaries
    errors = []

    def note(response):
        assert response.status_code >= 400
        errors.append(response.content + str(response.headers).encode())

    def deny(**kwargs):
        raise IssueDenied

    def break_down(**kwargs):
        raise ValueError("a receiver broke")

    phone.call()
    note(phone.post("login", {"email": user.email, "password": PASSWORD + "!"}))
    note(phone.post("login", {"email": user.email, "password": PASSWORD, "audience": "elsewhere"}))
    note(phone.post("login", {"name": user.email, "password": PASSWORD}))
    note(phone.post("token", {"grant_type": "password", "username": "nobody@example.com", "password": PASSWORD}))
    for receiver in (deny, break_down):
        signals.pre_issue.connect(receiver)
        try:
            note(phone.refresh())
            note(phone.post("login", {"email": user.email, "password": PASSWORD}))
        finally:
            signals.pre_issue.disconnect(receiver)
    first = phone.tokens["refresh_token"]
    phone.refresh()
    phone.refresh(first)
    phone.call()
    note(phone.post("token", {"grant_type": "refresh_token", "refresh_token": first[:-1]}))
    note(phone.post("token", {"grant_type": "refresh_token", "refresh_token": first * 300}))
    note(phone.post("token", {"grant_type": first, "refresh_token": first}))
    note(phone.post("token", {"grant_type": "refresh_token", "refresh_token": [first]}))
    note(phone.http.get("/api/me/", headers={"Authorization": f"Bearer {first}"}))
    note(phone.http.get("/api/me/", headers={"Authorization": f"Bearer {phone.tokens['access_token'][:-4]}"}))
    Session.objects.update(first_used_at=timezone.now() - timedelta(days=1))
    note(phone.refresh(first))
    note(phone.call())
    note(phone.refresh())
    tab = PlantingDevice(user, canaries)
    tab.post("login", {"email": user.email, "password": PASSWORD, "delivery": "cookie"})
    tab.post("token", {"grant_type": "refresh_token"})
    note(tab.post("token", {"grant_type": "refresh_token"}, Origin="https://evil.example"))
    note(tab.post("logout", Origin="https://evil.example"))
    tab.post("logout")
    other = PlantingDevice(user, canaries).sign_in()
    other.post("revoke", {"token": other.tokens["access_token"]})
    other.sign_in(replace_others=True)
    other.post("session-end-others", **other.bearer)
    sessions.require_reauthentication(user)
    note(other.refresh())
    for response in live_with_credentials(other, canaries):
        note(response)
    sessions.raise_version(user)
    note(other.call())
    for model in (Session, RefreshToken, TokenVersion):
        assert model.objects.exists()
    return errors


def live_with_credentials(phone: PlantingDevice, canaries: Canaries) -> Iterator[HttpResponse]:
    """All that can happen to credentials, and answers the errors."""
    canaries.plant(access_token=phone.sign_in().tokens["access_token"])
    own = phone.post("credential-list", {"name": "CI"}, **phone.bearer).json()
    canaries.plant(client_secret=own["client_secret"])
    service, owned = Service(may_introspect=True), Service(user=phone.user)
    for each in (service, owned):
        canaries.plant(client_secret=each.secret)
        canaries.plant(access_token=each.exchanged().access_token)
        each.call()
    service.introspect(phone.tokens["access_token"])
    service.introspect(owned.access_token)
    service.revoked()
    refresh = {"grant_type": "refresh_token", "refresh_token": phone.tokens["refresh_token"]}
    grant = {"grant_type": "client_credentials"}
    yield service.post("introspect", {"token": "x"}, basic(service.client_id, owned.secret))
    yield service.post("introspect", {"token": "x", **owned.body}, {})
    yield service.post("token", {**refresh, "client_id": owned.secret, "client_secret": service.secret}, {})
    yield service.post("token", {**grant, **service.body})
    yield service.post("token", {**grant, "client_id": service.secret, "client_secret": service.client_id}, {})
    yield service.post("token", {"grant_type": service.secret, **service.body}, {})
    yield service.post("token", grant, {"Authorization": f"Basic {service.secret}"})
    yield service.http.get("/api/me/", headers={"Authorization": f"Bearer {service.secret}"})
    yield phone.post("credential-list", {"name": "x", "client_secret": own["client_secret"]}, **phone.bearer)
    yield service.post("revoke", {"token": service.access_token})
    for each in (service, owned):
        credentials.revoke_credential(each.credential)
        yield each.call()
        yield each.exchange()


@pytest.fixture
def every_logger(caplog):
    """Hear all loggers at their lowest level, also those that do not propagate."""
    caplog.set_level(1)
    deaf = []
    for name in logging.root.manager.loggerDict:
        caplog.set_level(1, logger=name)
        logger = logging.getLogger(name)
        if not logger.propagate:
            logger.addHandler(caplog.handler)
            deaf.append(logger)
    yield caplog
    for logger in deaf:
        logger.removeHandler(caplog.handler)


def test_the_search_finds_what_is_there(phone):
    token = phone.tokens["refresh_token"]
    raw = base64.urlsafe_b64decode(token[4:])
    for haystack in (token, raw, raw.hex(), repr(raw), base64.b64encode(raw[3:]).decode(), f"<p>{token}</p>"):
        assert any("refresh token" in name for name in phone.canaries.found_in(haystack))
    assert phone.canaries.found_in(f"password={quote_plus(PASSWORD)}") == ["password"]
    assert phone.canaries.found_in("nothing here") == []


def test_no_secret_in_the_logs_of_any_logger(phone, every_logger):
    connection.force_debug_cursor = True
    try:
        live_through_everything(phone)
    finally:
        connection.force_debug_cursor = False
    names = {record.name for record in every_logger.records}
    assert {"jwt_sessions", "jwt_sessions.security", "django.request", "django.db.backends"} <= names
    assert "Traceback" in every_logger.text
    assert phone.canaries.found_in(every_logger.text) == []
    for record in every_logger.records:
        assert phone.canaries.found_in(repr(vars(record))) == []


def test_no_secret_in_the_body_or_the_headers_of_an_error(phone):
    errors = live_through_everything(phone)
    assert len(errors) > 20
    assert phone.canaries.found_in(b"\n".join(errors)) == []


def test_no_secret_in_the_repr_of_any_object_of_the_package(user, canaries):
    drafts = []

    def keep(draft, **kwargs):
        drafts.append(draft)

    signals.pre_issue.connect(keep)
    try:
        pair = sessions.start(user)
        TokenVersion.objects.create(user=user)
        renewed = sessions.refresh(pair.refresh_token)
    finally:
        signals.pre_issue.disconnect(keep)
    for each in (pair, renewed):
        canaries.plant(refresh_token=each.refresh_token, access_token=each.access_token)
    now, opaque = timezone.now(), refresh_tokens.parse(pair.refresh_token)
    found = find(pair.session.pk, with_token=True)
    new = credentials.create_credential(name="CI", user=user)
    canaries.plant(client_secret=new.client_secret)
    presented = ClientSecret(str(new.credential.pk), new.client_secret)
    exchanged = credentials.exchange_credential(presented, request=RequestFactory().post("/"))
    canaries.plant(access_token=exchanged.access_token)
    serializer = LoginSerializer(data={"email": user.email, "password": PASSWORD})
    assert serializer.is_valid()
    errors = []
    for attack in (
        lambda: access.decode(renewed.access_token[:-2], now),
        lambda: access.decode(renewed.refresh_token, now),
        lambda: refresh_tokens.parse(renewed.refresh_token[:-2]),
    ):
        with pytest.raises(JWTSessionsError) as caught:
            attack()
        errors.append(caught.value)
    kept = [
        *drafts,
        *errors,
        pair,
        new,
        new.credential,
        presented,
        exchanged,
        find_credential(new.credential.pk),
        Issued("Client secret", new.client_secret),
        sessions.authorize(exchanged.access_token)[1],
        opaque,
        found,
        serializer,
        rotation.standing(opaque, found.session, found.token, now),
        rotation.standing(refresh_tokens.parse(renewed.refresh_token), found.session, found.token, now),
        sessions.authorize(renewed.access_token)[1],
        keys.ring(),
        conf.current(),
        TokenVersion.objects.get(),
        RefreshToken.objects.first(),
    ]
    objects = {id(each): each for each in gc.get_objects() if "jwt_sessions" in str(type(each).__module__)}
    objects |= {id(each): each for each in kept}
    kinds = {type(each).__name__ for each in objects.values()}
    assert kinds >= {
        *("TokenPair", "OpaqueToken", "Draft", "Key", "KeyRing", "Settings", "VerifiedToken", "LoginSerializer"),
        *("Session", "RefreshToken", "TokenVersion", "SessionState", "Current", "Previous", "InvalidToken"),
        *("Credential", "NewCredential", "ClientSecret", "CredentialToken", "CredentialState", "Issued"),
    }
    for each in objects.values():
        shown = f"{each!r} {each!s} {getattr(each, '__cause__', None)!r}"
        assert (type(each).__name__, canaries.found_in(shown)) == (type(each).__name__, [])


def test_no_secret_and_no_full_hash_in_the_admin(phone):
    phone.refresh()
    sessions.raise_version(UserFactory())
    root = UserFactory(is_staff=True, is_superuser=True)
    sessions.require_reauthentication(phone.user)
    sessions.start(root)
    admin = Client()
    admin.force_login(root)
    hashes = {f"token hash {row.pk}": bytes(row.token_hash) for row in RefreshToken.objects.all()}
    hashes |= {f"sealed {row.pk}": bytes(row.content) for row in RefreshToken.objects.exclude(content=None)}
    hashes |= {f"password mark {row.pk}": bytes(row.auth_hash) for row in Session.objects.all()}
    service = Service(user=phone.user)
    phone.canaries.plant(client_secret=service.secret)
    hashes["secret hash"] = bytes(service.credential.secret_hash)
    hashes["password hash"] = phone.user.password.rpartition("$")[2].encode()
    phone.canaries.secrets |= hashes
    pages = [reverse("admin:index"), reverse("admin:accounts_user_change", args=[phone.user.pk])]
    rows = {"session": Session, "refreshtoken": RefreshToken, "tokenversion": TokenVersion}
    rows["credential"] = Credential
    for name, model in rows.items():
        pages.append(reverse(f"admin:jwt_sessions_{name}_changelist"))
        # A token version goes with its user, and has no page of its own for that.
        kinds = ("change", "history") if model is TokenVersion else ("change", "history", "delete")
        for page, row in itertools.product(kinds, model.objects.all()):
            pages.append(reverse(f"admin:jwt_sessions_{name}_{page}", args=[row.pk]))
    pages += [reverse(f"admin:jwt_sessions_{name}_add") for name in ("refreshtoken", "tokenversion", "credential")]
    pages.append(reverse("admin:accounts_user_delete", args=[phone.user.pk]))
    assert len(pages) > 20
    for page in pages:
        response = admin.get(page)
        assert response.status_code == 200
        assert (page, phone.canaries.found_in(response.content)) == (page, [])


def dump() -> bytes:
    """Every value of every table of the database."""
    values = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            for value in itertools.chain.from_iterable(cursor.fetchall()):
                values.append(bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode())
    return b"\n".join(values)


def test_no_secret_in_a_dump_of_the_database(phone):
    live_through_everything(phone)
    phone.sign_in().refresh()
    stored = dump()
    assert phone.user.email.encode() in stored
    assert bytes(RefreshToken.objects.latest("jti").token_hash) in stored
    assert bytes(Credential.objects.latest("pk").secret_hash) in stored
    assert phone.canaries.found_in(stored) == []


def test_who_has_the_database_and_the_secret_key_gets_no_usable_refresh_token(phone):
    phone.refresh()
    phone.call()
    session = Session.objects.get()
    # With SECRET_KEY the tag is no hurdle: what is left is to find 32 bytes of secret in what is stored.
    blobs = [bytes(session.auth_hash), session.pk.bytes, *keys.secrets(), keys.derived("refresh-tag")[0]]
    sealed = []
    for row in RefreshToken.objects.all():
        blobs += [bytes(row.token_hash), row.pk.bytes, bytes(row.content or b"")]
        sealed += [bytes(row.content)] if row.content else []
    assert sealed
    stored = b"".join(blobs)
    guesses = {stored[start : start + 32] for start in range(len(stored) - 31)} | {bytes(32), *blobs}
    assert len(guesses) > 100
    for guess in guesses:
        opened = [OpaqueToken(session.pk, 0, guess).unseal(content) for content in sealed]
        assert opened == [None] * len(sealed)
    for guess in [*itertools.islice(sorted(guesses), 0, None, 7), *blobs]:
        with pytest.raises(InvalidToken):
            sessions.refresh(OpaqueToken(session.pk, session.generation, guess.ljust(32, b"\0")[:32]).text)
    # The owner's token has not suffered from it.
    assert phone.refresh().status_code == 200


def test_who_has_the_database_and_the_secret_key_cannot_sign_where_the_signing_key_is_given(phone, settings):
    claims = access.decode(phone.tokens["access_token"], timezone.now())
    given = settings.JWT_SESSIONS
    settings.JWT_SESSIONS = {**given, "SIGNING_KEYS": []}
    forged = access.encode(claims)
    settings.JWT_SESSIONS = given
    with pytest.raises(InvalidToken):
        sessions.authorize(forged)


# When the database breaks in the middle of a request


class BrokenOnce:
    """Lets so many statements pass, breaks the next one, and lets all others pass."""

    def __init__(self, passing: int) -> None:
        self.passing = passing
        self.broke = False

    def __call__(self, execute, sql, params, many, context):
        self.passing -= 1
        if self.passing == -1:
            self.broke = True
            raise DatabaseError("the server closed the connection")
        return execute(sql, params, many, context)


def requests_of(phone: PlantingDevice):
    """Requests that carry secrets in all the ways in which requests can."""
    tokens = phone.tokens
    password = {"email": phone.user.email, "password": PASSWORD}
    grant = {"grant_type": "password", "username": phone.user.email, "password": PASSWORD}
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    path = {name: reverse(f"jwt_sessions:{name}") for name in ("login", "token", "logout", "revoke", "session-list")}
    http = phone.http
    service = Service(user=phone.user, may_introspect=True).exchanged()
    phone.canaries.plant(client_secret=service.secret, access_token=service.access_token)
    # So that its next use is written too.
    Credential.objects.update(last_used_at=None)
    exchange = {"grant_type": "client_credentials"}

    def by_cookie(method, url, *args, **options):
        http.cookies[COOKIE] = tokens["refresh_token"]
        return getattr(http, method)(url, *args, **options)

    return {
        "login": lambda: phone.post("login", password),
        "login with a form": lambda: http.post(path["login"], password),
        "password grant": lambda: http.post(path["token"], grant),
        "refresh": lambda: phone.post("token", refresh),
        "refresh with a form": lambda: http.post(path["token"], refresh),
        "refresh by cookie": lambda: by_cookie("post", path["token"], {"grant_type": "refresh_token"}),
        "logout": lambda: phone.post("logout", **phone.bearer),
        "logout with a refresh token": lambda: phone.post("logout", {"refresh_token": tokens["refresh_token"]}),
        "logout by cookie": lambda: by_cookie("post", path["logout"]),
        "revoke": lambda: phone.post("revoke", {"token": tokens["access_token"]}),
        "own sessions": lambda: phone.get("session-list"),
        "rename": lambda: http.patch(
            reverse("jwt_sessions:session-detail", args=["current"]),
            {"device_name": "x"},
            content_type="application/json",
            headers=phone.bearer,
        ),
        "end all": lambda: phone.post("session-end-all", **phone.bearer),
        "exchange by Basic": lambda: http.post(path["token"], exchange, headers=service.basic),
        "exchange by form": lambda: http.post(path["token"], {**exchange, **service.body}),
        "exchange by JSON": lambda: phone.post("token", {**exchange, **service.body}),
        "a failing exchange": lambda: phone.post("token", {**exchange, **service.body, "client_id": str(uuid4())}),
        "refresh by Basic": lambda: http.post(path["token"], refresh, headers=service.basic),
        "introspection": lambda: phone.post("introspect", {"token": tokens["access_token"], **service.body}),
        "introspection by Basic": lambda: http.post(
            reverse("jwt_sessions:introspect"), {"token": tokens["refresh_token"]}, headers=service.basic
        ),
        "ended sessions": lambda: http.get(reverse("jwt_sessions:revoked"), headers=service.basic),
        "new credential": lambda: phone.post("credential-list", {"name": "CI"}, **phone.bearer),
        "a call of a service": lambda: http.get("/api/me/", headers=service.bearer),
        "a call": lambda: phone.call(),
        "a call with the cookie": lambda: by_cookie("get", "/api/me/", headers=phone.bearer),
    }


@pytest.fixture
def reports():
    """What Django would send to ADMINS about each error, and what a plain traceback says."""
    texts = []

    def report(request, **kwargs):
        reporter = ExceptionReporter(request, *sys.exc_info())
        texts.append(reporter.get_traceback_html())
        texts.append(reporter.get_traceback_text())
        texts.append("".join(traceback.format_exception(*sys.exc_info())))

    got_request_exception.connect(report)
    yield texts
    got_request_exception.disconnect(report)


@pytest.mark.parametrize(
    "name",
    [
        *("login", "login with a form", "password grant", "refresh", "refresh with a form", "refresh by cookie"),
        *("logout", "logout with a refresh token", "logout by cookie", "revoke", "own sessions", "rename", "end all"),
        *("a call", "a call with the cookie"),
        *("exchange by Basic", "exchange by form", "exchange by JSON", "a failing exchange", "refresh by Basic"),
        *("introspection", "introspection by Basic", "ended sessions", "new credential", "a call of a service"),
    ],
)
def test_no_secret_in_the_report_of_an_error_when_the_database_breaks(phone, reports, every_logger, settings, name):
    assert settings.DEBUG is False
    request = requests_of(phone)[name]
    for passing in itertools.count(step=1 if THOROUGH else 3):
        wrapper = BrokenOnce(passing)
        with connection.execute_wrapper(wrapper):
            response = request()
        if not wrapper.broke:
            break
        # Some statements may fail without harm, and a good answer carries what was asked for.
        if response.status_code >= 400:
            assert phone.canaries.found_in(response.content) == []
    assert reports, "no statement of this request ended in an error"
    leaking = sorted({found for text in reports for found in phone.canaries.found_in(text)})
    assert leaking == []
    assert phone.canaries.found_in(every_logger.text) == []
    assert "the server closed the connection" in reports[0]


@pytest.mark.parametrize("sender", [Credential, LogEntry])
def test_no_secret_in_the_report_of_an_error_while_the_admin_makes_a_credential(
    canaries, reports, monkeypatch, sender
):  # fmt: skip
    secret = secrets.token_urlsafe(32)
    canaries.plant(client_secret=secret)
    monkeypatch.setattr(creation.secrets, "token_urlsafe", lambda size: secret)

    def break_down(**kwargs):
        raise ValueError("a receiver broke")

    admin = Client(raise_request_exception=False)
    admin.force_login(UserFactory(is_staff=True, is_superuser=True))
    post_save.connect(break_down, sender=sender)
    try:
        data = {"name": "CI", "audience": "api", "claims": "{}"}
        response = admin.post(reverse("admin:jwt_sessions_credential_add"), data)
    finally:
        post_save.disconnect(break_down, sender=sender)
    assert response.status_code == 500
    assert "a receiver broke" in reports[0]
    assert [name for text in reports for name in canaries.found_in(text)] == []
    assert not Credential.objects.exists()
