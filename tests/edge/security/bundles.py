"""A small sound bundle, signed, and what a hostile hand makes of it."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from nacl.signing import SigningKey

from edge.core.archive import MANIFEST, SIGNATURE, pack_archive
from edge.core.bundle import save_bundle
from edge.security.signing import signature_of
from edge.security.trust import Trust
from tests.edge.core.test_bundle import GRAPH, a_golden, a_local_manifest
from tests.edge.inventing import Inventor

OURS, THEIRS = SigningKey(bytes(range(32))), SigningKey(bytes(32))
EXTERNAL = b"\x3a\x08\x2a\x06\x6a\x04\x0a\x02up"  # model → graph → tensor → external_data
BAD_NAMES = ["../p17.fp32.onnx", "/etc/passwd", "p17.fp32.onnx.data", "x.pkl", "manifest.json/", "p٣.fp32.onnx"]


def sound_members(folder: Path) -> dict[str, bytes]:
    """The members of a sound bundle, release 3, not signed."""
    path = folder / "sound.bundle"
    save_bundle(path, a_local_manifest(), {"p17.fp32.onnx": GRAPH}, a_golden())
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def signed(members: Mapping[str, bytes], key: SigningKey = OURS, **fields: object) -> dict[str, bytes]:
    """These members with digests that are right, changed fields of the manifest, and a signature."""
    others = {name: content for name, content in members.items() if name not in (MANIFEST, SIGNATURE)}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in others.items()}
    text = json.dumps({**json.loads(members[MANIFEST]), "digests": digests, **fields}).encode()
    return {MANIFEST: text, SIGNATURE: signature_of(text, key), **others}


def trust_of(folder: Path, key: SigningKey = OURS, state: Path | None = None, **options: bool) -> Trust:
    """A door that lets `key` through."""
    folder.mkdir(exist_ok=True)
    (folder / "anna.signing-public").write_text(f"ed25519-public {bytes(key.verify_key).hex()}\n")
    return Trust(folder, state, **options)


def lying(raw: bytes, name: str, claims: int) -> bytes:
    """The zip with another uncompressed size of one member, in both places."""
    changed = bytearray(raw)
    for mark, at_size, at_name in ((b"PK\1\2", 24, 46), (b"PK\3\4", 22, 30)):
        at = 0
        while (at := raw.find(mark, at)) >= 0:
            if raw[at + at_name :].startswith(name.encode()):
                struct.pack_into("<L", changed, at + at_size, claims)
            at += 1
    return bytes(changed)


def hostile(members: Mapping[str, bytes], inventor: Inventor) -> bytes:
    """One hostile bundle: whoever made it does not have our key, or has it and signs nonsense."""
    ways = [_renamed, _exchanged, _wrong_signature, _cut, _bytes_flipped, _lying_sizes, _nonsense_signed, _many, _old]
    return inventor.choice(ways)(dict(members), inventor)


def _renamed(members: dict[str, bytes], inventor: Inventor) -> bytes:
    members = signed(members)
    buffer = io.BytesIO()
    extra = inventor.choice(BAD_NAMES)
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(zipfile.ZipInfo(extra), inventor.randbytes(9))
    return buffer.getvalue()


def _exchanged(members: dict[str, bytes], inventor: Inventor) -> bytes:
    """A member changed after it was signed, left out, or added."""
    members = signed(members)
    name = inventor.choice([name for name in members if name != SIGNATURE])
    how = inventor.randrange(3)
    if how == 0:
        members[name] += b"\x12\x01x"
    elif how == 1:
        del members[name]
    else:
        members[f"p{inventor.randrange(99, 200)}.fp16.onnx"] = GRAPH
    return pack_archive(members)


def _wrong_signature(members: dict[str, bytes], inventor: Inventor) -> bytes:
    members = signed(members, THEIRS if inventor.random() < 0.3 else OURS)
    if bytes(OURS.verify_key) == members[SIGNATURE][:32]:
        mark = bytearray(members[SIGNATURE])
        mark[inventor.randrange(len(mark))] ^= inventor.randrange(1, 256)
        forged = [bytes(mark), b"", bytes(mark[:40]), members[SIGNATURE] + b"\0", members[SIGNATURE][:32] + bytes(64)]
        members[SIGNATURE] = inventor.choice(forged)
        if inventor.random() < 0.2:
            del members[SIGNATURE]
    return pack_archive(members)


def _cut(members: dict[str, bytes], inventor: Inventor) -> bytes:
    raw = pack_archive(signed(members))
    return raw[: inventor.randrange(len(raw))]


def _bytes_flipped(members: dict[str, bytes], inventor: Inventor) -> bytes:
    """Within the signed manifest or the packed contents: the zip's own dates and flags mean nothing."""
    members = signed(members)
    name = inventor.choice(list(members))
    content = bytearray(members[name])
    content[inventor.randrange(len(content))] ^= 1 << inventor.randrange(8)
    return pack_archive({**members, name: bytes(content)})


def _lying_sizes(members: dict[str, bytes], inventor: Inventor) -> bytes:
    name = inventor.choice(list(members))
    claims = inventor.choice([0, 1, len(members[name]) - 1, len(members[name]) + 1, 1 << 28, 2**32 - 1])
    return lying(pack_archive(signed(members)), name, claims)


def _nonsense_signed(members: dict[str, bytes], inventor: Inventor) -> bytes:
    """Our key signed it, and it is nonsense all the same: damaged arrays, graphs that point outside, odd fields."""
    how = inventor.randrange(3)
    if how == 0:
        name = inventor.choice(["golden.npz", "local-stats.fp32.npz"])
        members[name] = members[name][: inventor.randrange(len(members[name]))]
    elif how == 1:
        members["p17.fp32.onnx"] = inventor.choice([EXTERNAL, b"\x3a\xff", b"\x07", b"\x3a" * 99, GRAPH + b"\x80"])
    else:
        field = inventor.choice(["patch_sizes", "strides", "geometry", "calibrations", "digests", "schema"])
        return pack_archive(signed(members, **{field: inventor.choice([None, [], {}, "x", 2**70, [2**40], {"a": 1}])}))
    return pack_archive(signed(members))


def _many(members: dict[str, bytes], inventor: Inventor) -> bytes:
    extra = {f"p{number}.fp32.onnx": b"" for number in range(100, 200)}
    return pack_archive({**signed(members), **extra})


def _old(members: dict[str, bytes], inventor: Inventor) -> bytes:
    return pack_archive(signed(members, version=inventor.randrange(-1, 3)))
