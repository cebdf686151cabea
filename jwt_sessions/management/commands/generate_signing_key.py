"""``manage.py generate_signing_key``"""

from __future__ import annotations

import os
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jwt_sessions import conf
from jwt_sessions.tokens import material
from jwt_sessions.tokens.keys import MIN_RSA_BITS
from jwt_sessions.tokens.material import DEFAULT_RSA_BITS, MAX_RSA_BITS

NEXT = (
    "Whoever has it can sign tokens: keep it where only your servers read. Put it, or its path, last in SIGNING_KEYS, "
    "and first only when all verifiers know it. If SIGNING_KEYS is empty, put the key of --derived before it: the "
    "first one signs. The page on keys in the documentation has the steps."
)
NEXT_DERIVED = (
    "It is the key that signs now, if none is set in SIGNING_KEYS. Put it, or its path, first in SIGNING_KEYS, before "
    "any new key. The page on keys in the documentation has the steps."
)


class Command(BaseCommand):
    help = (
        "Prints a fresh private key for SIGNING_KEYS: a PEM (PKCS #8), or for HS256 a secret text. Nothing else goes "
        "to standard output; the key's kid and what to do next go to standard error."
    )
    # ALGORITHM = "RS256" without a key is an error of the checks, and this is the command that mends it.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--algorithm", choices=conf.ALGORITHMS, help="default: the setting ALGORITHM")
        parser.add_argument("--bits", type=int, help=f"the size of an RSA key (default {DEFAULT_RSA_BITS})")
        parser.add_argument(
            "--derived",
            action="store_true",
            help="no fresh key but the one derived from SECRET_KEY, to move from it to keys of your own",
        )
        parser.add_argument("--output", metavar="FILE", help="write the key to a new file that only its owner can read")

    def handle(self, *args: Any, **options: Any) -> None:
        bits = options["bits"]
        try:
            algorithm = options["algorithm"] or conf.current().ALGORITHM
            if bits is not None and algorithm != "RS256":
                raise CommandError(f"argument --bits: a key for {algorithm} has one size only")
            # Here and not by argparse, which call_command goes around.
            if bits is not None and not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
                raise CommandError(f"argument --bits: from {MIN_RSA_BITS} to {MAX_RSA_BITS}")
            if options["derived"]:
                text = material.derived(algorithm)
            else:
                text = material.generate(algorithm, bits or DEFAULT_RSA_BITS)
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        line = text if text.endswith("\n") else f"{text}\n"
        if options["output"] is None:
            self.stdout.write(line, ending="")
        else:
            _write(options["output"], line)
        if options["verbosity"] > 0:
            self.stderr.write(f"{algorithm}, kid {material.kid(algorithm, text)}")
            self.stderr.write(NEXT_DERIVED if options["derived"] else NEXT)


def _write(path: str, line: str) -> None:
    try:
        # Exclusive: it neither overwrites a key in use nor follows a link that somebody else has put there.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CommandError(f"{path} exists. A key is never overwritten: tokens may hang on it.") from None
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be written: {error}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(line)
