"""``manage.py generate_signing_key``"""

from __future__ import annotations

import os
import stat
from io import StringIO

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.checks import run_checks
from django.core.management import CommandError, call_command

from jwt_sessions.management.commands.generate_signing_key import Command
from jwt_sessions.tokens import access, keys

CLAIMS = {"sub": "1"}
ALGORITHMS = ["ES256", "RS256", "EdDSA", "Ed25519", "HS256"]


def generate(*arguments, **options):
    """What goes to standard output, and what to standard error."""
    out, err = StringIO(), StringIO()
    call_command("generate_signing_key", *arguments, **options, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.mark.parametrize("spelling", ["text", "path"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_it_prints_signs(jwt_settings, tmp_path, algorithm, spelling):
    key, said = generate("--algorithm", algorithm)
    path = tmp_path / "key.pem"
    path.write_text(key)
    jwt_settings(ALGORITHM=algorithm, SIGNING_KEYS=[key if spelling == "text" else str(path)])
    assert keys.ring().signer.algorithm == algorithm
    assert f"{algorithm}, kid {keys.ring().signer.kid}\n" in said
    assert access.verified_claims(access.encode(CLAIMS), keys.ring()) == CLAIMS


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nothing_but_the_key_goes_to_standard_output(algorithm):
    key, said = generate("--algorithm", algorithm)
    assert key.endswith("\n")
    if algorithm == "HS256":
        assert key.count("\n") == 1
        assert len(key) > 60
    else:
        assert key.startswith("-----BEGIN PRIVATE KEY-----\n")
        assert key.count("-----") == 4
    assert not any(line in said for line in key.splitlines())
    assert "SIGNING_KEYS" in said


def test_it_prints_another_key_each_time():
    for algorithm in ("ES256", "EdDSA", "HS256"):
        assert generate("--algorithm", algorithm)[0] != generate("--algorithm", algorithm)[0]


def test_the_default_algorithm_is_that_of_the_settings(jwt_settings):
    assert "ES256, kid" in generate()[1]
    jwt_settings(ALGORITHM="Ed25519")
    assert "Ed25519, kid" in generate()[1]


def test_it_makes_the_key_without_which_the_checks_fail(db, jwt_settings):
    jwt_settings(ALGORITHM="RS256")
    assert [error.id for error in run_checks()] == ["jwt_sessions.E040"]
    out = StringIO()
    Command(stdout=out, stderr=StringIO()).run_from_argv(["manage.py", "generate_signing_key"])
    assert load_pem_private_key(out.getvalue().encode(), None).key_size == 3072


def test_an_rsa_key_may_have_another_size():
    key, _said = generate("--algorithm", "RS256", "--bits", "2048")
    assert load_pem_private_key(key.encode(), None).key_size == 2048


def test_it_can_say_nothing_at_all():
    assert generate("--verbosity", "0")[1] == ""


# The derived key


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "Ed25519"])
def test_the_derived_key_can_be_set_without_any_change(jwt_settings, settings, algorithm):
    settings.SECRET_KEY_FALLBACKS = ["an older one"]
    jwt_settings(ALGORITHM=algorithm)
    before, token = keys.ring().signer, access.encode(CLAIMS)
    key, said = generate("--derived")
    assert f"{algorithm}, kid {before.kid}\n" in said
    jwt_settings(SIGNING_KEYS=[key])
    assert keys.ring().signer.kid == before.kid
    assert keys.ring().signer.jwk == before.jwk
    assert access.verified_claims(token, keys.ring()) == CLAIMS


@pytest.mark.parametrize(
    ("algorithm", "complaint"),
    [("RS256", "RS256 needs a key in SIGNING_KEYS"), ("HS256", "cannot be written as a text")],
)
def test_some_keys_cannot_be_derived(algorithm, complaint):
    with pytest.raises(CommandError, match=complaint):
        generate("--derived", "--algorithm", algorithm)


# A file


def test_a_file_is_readable_by_its_owner_only(tmp_path, jwt_settings):
    path = tmp_path / "key.pem"
    before = os.umask(0)
    try:
        out, said = generate("--output", str(path))
    finally:
        os.umask(before)
    assert out == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    jwt_settings(SIGNING_KEYS=[str(path)])
    assert keys.ring().signer.kid in said


def test_a_key_in_use_is_not_overwritten(tmp_path):
    path = tmp_path / "key.pem"
    path.write_text("in use")
    with pytest.raises(CommandError, match="exists"):
        generate("--output", str(path))
    assert path.read_text() == "in use"


def test_attack_a_link_put_there_first_is_not_followed(tmp_path):
    link, target = tmp_path / "key.pem", tmp_path / "target"
    link.symlink_to(target)
    with pytest.raises(CommandError, match="exists"):
        generate("--output", str(link))
    assert not target.exists()


@pytest.mark.parametrize("path", ["{}/missing/key.pem", "{}", "", "{}/\0"])
def test_a_file_that_cannot_be_written_is_said(tmp_path, path):
    with pytest.raises(CommandError):
        generate("--output", path.format(tmp_path))
    assert list(tmp_path.iterdir()) == []


# What is wrong


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--algorithm", "ES512"), "invalid choice"),
        (("--algorithm", "none"), "invalid choice"),
        (("--bits", "2048"), "a key for ES256 has one size only"),
        (("--algorithm", "RS256", "--bits", "1024"), "from 2048 to 8192"),
        (("--algorithm", "RS256", "--bits", "0"), "from 2048 to 8192"),
        (("--algorithm", "RS256", "--bits", "1000000"), "from 2048 to 8192"),
        (("--algorithm", "RS256", "--bits", "many"), "invalid int"),
    ],
)
def test_bad_arguments_make_no_key(tmp_path, arguments, complaint):
    path = tmp_path / "key.pem"
    with pytest.raises(CommandError, match=complaint):
        generate(*arguments, "--output", str(path))
    assert not path.exists()


def test_an_unknown_algorithm_from_python_is_refused_too():
    with pytest.raises(CommandError, match="ES512 is none of the algorithms"):
        generate(algorithm="ES512")


def test_wrong_settings_are_said(jwt_settings):
    jwt_settings(LEEWAY=5)
    with pytest.raises(CommandError, match="LEEWAY has a value that it does not take"):
        generate()
    assert generate("--algorithm", "ES256")[0]


# A secret for HS256 in a file


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_line_end_is_no_part_of_a_secret_in_a_file(jwt_settings, tmp_path, ending):
    secret = generate("--algorithm", "HS256")[0].strip()
    path = tmp_path / "secret"
    path.write_bytes((secret + ending).encode())
    jwt_settings(ALGORITHM="HS256", SIGNING_KEYS=[str(path)])
    assert jwt.decode(access.encode(CLAIMS), secret, algorithms=["HS256"]) == CLAIMS
