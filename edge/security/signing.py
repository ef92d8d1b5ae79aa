"""Ed25519 signatures over a bundle's manifest, which names the digest of everything else in it.

A signature member is the signer's public key (32 bytes) and the signature (64 bytes). What is signed begins with its
purpose, so that no signature made for anything else passes for one. PyNaCl: 0.8 to 1.4 MB a wheel, 6 MB installed,
where `cryptography` has 4.8 and 18. Rejected: certificates and chains, for which a factory floor has no authority.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from edge.core.archive import MANIFEST, SIGNATURE, Archive, pack_archive, read_file
from edge.core.bundle import parse_bundle
from edge.core.errors import SettingsError
from edge.core.files import write_whole
from edge.security.files import read_key_file, write_key_file

PURPOSE = b"edge-inspect bundle manifest 1\0"
KEY_BYTES, SIGNATURE_BYTES = 32, 64
SECRET_SUFFIX, PUBLIC_SUFFIX = ".signing-secret", ".signing-public"
_SECRET, _PUBLIC = "ed25519-secret", "ed25519-public"


def make_signing_key(folder: Path, name: str) -> tuple[Path, Path]:
    """A new key pair as two files; returns the secret's path and the public one's."""
    key = SigningKey.generate()
    secret, public = folder / f"{name}{SECRET_SUFFIX}", folder / f"{name}{PUBLIC_SUFFIX}"
    write_key_file(secret, f"{_SECRET} {bytes(key).hex()}\n", is_secret=True)
    write_key_file(public, f"{_PUBLIC} {bytes(key.verify_key).hex()}\n", is_secret=False)
    return secret, public


def read_signing_key(path: Path) -> SigningKey:
    """The secret key in a file; SettingsError."""
    return SigningKey(_read(path, _SECRET, is_secret=True))


def read_public_key(path: Path) -> bytes:
    """The public key in a file, 32 bytes; SettingsError."""
    return _read(path, _PUBLIC, is_secret=False)


def sign_bundle(path: Path, key: SigningKey, release: int | None = None) -> int:
    """Sign the bundle, in place of any signature before, as this release (None: as the one it says); returns which.

    BundleError for a bundle that is not sound. Its digest changes: a signed bundle is another file.
    """
    raw = read_file(path)
    bundle, archive = parse_bundle(raw, str(path)), Archive(raw, str(path))
    version = bundle.manifest.version if release is None else release
    text = json.dumps({**json.loads(archive.read(MANIFEST)), "version": version}, indent=1, allow_nan=False).encode()
    members = {name: archive.read(name) for name in bundle.manifest.digests}
    signed = pack_archive({MANIFEST: text, SIGNATURE: signature_of(text, key), **members})
    parse_bundle(signed, str(path))  # never leave a bundle behind that would be refused
    write_whole(path, signed)
    return version


def signature_of(manifest: bytes, key: SigningKey) -> bytes:
    """The signature member for these bytes of a manifest."""
    return bytes(key.verify_key) + key.sign(PURPOSE + manifest).signature


def signer_of(manifest: bytes, signature: bytes) -> bytes | None:
    """The public key that signed these bytes, None when the signature is not one of them."""
    public, proof = signature[:KEY_BYTES], signature[KEY_BYTES:]
    if len(proof) != SIGNATURE_BYTES:
        return None
    try:
        VerifyKey(public).verify(PURPOSE + manifest, proof)
    except BadSignatureError:
        return None
    return public


def _read(path: Path, kind: str, *, is_secret: bool) -> bytes:
    match = re.fullmatch(rf"{kind} ([0-9a-f]{{{2 * KEY_BYTES}}})\n?", read_key_file(path, is_secret=is_secret))
    if match is None:
        raise SettingsError(f"{path}: holds no {kind} key; make one with edge-deploy keys signing")
    return bytes.fromhex(match[1])
