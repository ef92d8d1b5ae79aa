"""CURVE keys as certificate files, in the format of ZeroMQ's own tools (czmq, `zmq.auth`): public and secret apart.

    metadata
        roles = "read replay"
    curve
        public-key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"

Rejected: `zmq.auth.load_certificate`, which takes any secret however its file is protected.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.utils import z85

from edge.core.errors import SettingsError
from edge.security.files import read_key_file, write_key_file

PUBLIC_SUFFIX, SECRET_SUFFIX = ".key", ".key_secret"
KEY_BYTES = 32
_KEY_CHARACTERS = 40  # of them in Z85
# Printed in libzmq's manual, so everybody has their secrets.
PUBLISHED = {
    "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
    "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
}
_LINE = re.compile(r'\s+([a-z-]+)\s*=\s*"([^"]*)"\s*')


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    """A CURVE key: `public` and `secret` as Z85 text (40 characters; secret empty where it is not known), its roles."""

    public: str
    secret: str = ""
    roles: frozenset[str] = frozenset()

    @property
    def public_bytes(self) -> bytes:
        """The public key's 32 bytes."""
        return z85.decode(self.public)


def make_certificate(folder: Path, name: str, roles: frozenset[str] = frozenset()) -> Certificate:
    """A new key as two files, the secret for its owner only; SettingsError where there is one already."""
    public, secret = (key.decode("ascii") for key in zmq.curve_keypair())
    made = Certificate(public, secret, roles)
    write_key_file(folder / f"{name}{SECRET_SUFFIX}", _text(made), is_secret=True)
    write_public(folder / f"{name}{PUBLIC_SUFFIX}", made)
    return made


def write_public(path: Path, certificate: Certificate) -> None:
    """The file that others get; SettingsError where there is one already."""
    write_key_file(path, _text(Certificate(certificate.public, roles=certificate.roles)), is_secret=False)


def read_certificate(path: Path, *, is_secret: bool) -> Certificate:
    """The key in a file; SettingsError for one that is damaged, published, or a secret that others may read."""
    facts: dict[str, str] = {}
    for line in read_key_file(path, is_secret=is_secret).splitlines():
        if (match := _LINE.fullmatch(line)) is not None:
            facts[match[1]] = match[2]
    public, secret = facts.get("public-key", ""), facts.get("secret-key", "")
    if len(public) != _KEY_CHARACTERS or (is_secret and len(secret) != _KEY_CHARACTERS):
        raise _no_key(path)
    certificate = Certificate(public, secret if is_secret else "", frozenset(facts.get("roles", "").split()))
    try:
        is_pair = len(certificate.public_bytes) == KEY_BYTES and (
            not is_secret or zmq.curve_public(secret.encode("ascii")).decode("ascii") == public
        )
    except (ValueError, KeyError, struct.error, zmq.ZMQError) as error:
        raise _no_key(path) from error
    if not is_pair:
        raise SettingsError(f"{path}: its secret and its public key are no pair; make a new one")
    if public in PUBLISHED:
        raise SettingsError(f"{path}: this key is printed in ZeroMQ's manual, so anyone has it; make one of your own")
    return certificate


def _no_key(path: Path) -> SettingsError:
    return SettingsError(f"{path}: holds no CURVE key; make one with edge-deploy keys")


def _text(certificate: Certificate) -> str:
    secret = f'    secret-key = "{certificate.secret}"\n' if certificate.secret else ""
    roles = f'    roles = "{" ".join(sorted(certificate.roles))}"\n'
    return f'metadata\n{roles}curve\n    public-key = "{certificate.public}"\n{secret}'
