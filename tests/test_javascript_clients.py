"""
Standard OAuth 2 clients and verifiers for JavaScript against a running server: the files of ``javascript/``.

``tests/run.py`` installs their packages where there is node.
"""

from __future__ import annotations

import json
import os
import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from jwt_sessions import credentials
from jwt_sessions.tokens import material
from tests import node
from tests.factories import PASSWORD
from tests.node import FOLDER, NODE, NOTHING_TO_RUN_IT, are_installed, passed
from tests.served import Served

PACKAGES = json.loads((FOLDER / "package.json").read_text())["dependencies"]
GRACE = timedelta(milliseconds=200)

pytestmark = pytest.mark.skipif(NODE is None or not are_installed(*PACKAGES), reason=NOTHING_TO_RUN_IT)


def told(served: dict[str, Any]) -> dict[str, str]:
    """The variables of the environment by which a client knows the server."""
    return {"NODE_EXTRA_CA_CERTS": os.environ["NODE_EXTRA_CA_CERTS"], "SERVED": json.dumps(served)}


def run_tests(name: str, served: dict[str, Any]) -> None:
    assert passed(FOLDER / f"{name}.test.js", timeout=60, **told(served)) > 4


@pytest.fixture
def algorithm() -> str:
    return "ES256"


@pytest.fixture
def served(server: Served, user, jwt_settings, algorithm) -> dict[str, Any]:
    """What a client is told. The server signs with ``algorithm``, and publishes a key of each other kind too."""
    kinds = [algorithm, *(kind for kind in ("ES256", "RS256", "EdDSA") if kind[:2] != algorithm[:2])]
    signing_keys = [material.generate(kind, 2048) for kind in kinds]
    jwt_settings(ALGORITHM=algorithm, SIGNING_KEYS=signing_keys, REUSE_GRACE_PERIOD=GRACE)
    new = credentials.create_credential(name="service", may_introspect=True)
    return {
        "issuer": server.issuer,
        "audience": "api",
        "algorithm": algorithm,
        "grace": GRACE.total_seconds(),
        "login": f"{server.origin}{reverse('jwt_sessions:login')}",
        "jwks_uri": server.jwks_uri,
        "users_api": server.users_api,
        "services_api": server.services_api,
        "email": user.email,
        "password": PASSWORD,
        "sub": str(user.pk),
        "client_id": str(new.credential.pk),
        "client_secret": new.client_secret,
    }


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA", "Ed25519"])
def test_jose(served):
    run_tests("jose", served)


@pytest.mark.parametrize(
    ("algorithm", "issuer_path"),
    [("ES256", ""), ("RS256", "/"), ("EdDSA", "/tenants/a"), ("Ed25519", "/tenants/a/")],
)
def test_oauth4webapi(served):
    run_tests("oauth4webapi", served)


@pytest.mark.parametrize("issuer_path", ["", "/tenants/a"])
def test_openid_client(served):
    run_tests("openid-client", served)


# The documentation

PAGE = (FOLDER.parent.parent / "docs" / "clients.md").read_text()
EXAMPLES = re.findall(r"^```javascript\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FOUND = """
import { served, signIn } from './served.js'
const { access_token: accessToken, refresh_token: refreshToken } = await signIn()
const { client_id: clientId, client_secret: clientSecret } = served
const request = new Request('https://resource.example.com', { headers: { authorization: `Bearer ${accessToken}` } })
const store = (tokens) => console.log('stored', Boolean(tokens.refresh_token))
"""
# What an example answers, and what that has to be.
ANSWERS = {
    "response": "[response.status]",
    "active": "[active, own.token_type]",
    "payload": "[payload.sub === served.sub]",
    "claims": "[claims.sub === served.sub]",
}
EXPECTED = {"response": "[200]", "active": '[true,"bearer"]', "payload": "[true]", "claims": "[true]"}


@pytest.mark.parametrize("answer", ANSWERS)
def test_examples_of_the_documentation_run(server, served, answer):
    example, *others = [each for each in EXAMPLES if re.search(rf"const (\{{ )?{answer}\b", each)]
    assert others == []
    code = f"{FOUND}{example}\nconsole.log(JSON.stringify({ANSWERS[answer]}))"
    code = code.replace("https://id.example.com", server.origin)
    output = node.run("--input-type=module", "--eval", code, timeout=60, **told(served))
    assert output.splitlines() == ["stored true"] * ("store(" in example) + [EXPECTED[answer]]


def test_every_example_of_the_documentation_is_run():
    assert len(EXAMPLES) == len(ANSWERS)
