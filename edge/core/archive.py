"""A bundle's zip, read with suspicion: names from a list, few and plain members, none larger than it claims.

The directory's size is looked at before `zipfile` reads it, and a member is read no further than its claimed size:
`ZipFile.read` would first decompress all of it, two gigabytes of zeros behind a claim of ten bytes. Rejected: tar
(paths, links), pickle (code), a folder (half-copied folders look whole), `extractall`.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edge.core.errors import BundleError

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
GOLDEN = "golden.npz"
NOTICE = "notice.txt"
VARIANTS = "fp32|fp16|int8-cpu|int8-trt"
ALLOWED = re.compile(
    rf"manifest\.(json|sig)|golden\.npz|notice\.txt|(p\d{{1,4}}|neighbours)\.({VARIANTS})\.onnx|"
    rf"local-stats\.({VARIANTS})\.npz",
    re.ASCII,
)
MAX_BUNDLE_BYTES = 1 << 30
MAX_MEMBER_BYTES = 256 << 20
MAX_MEMBERS = 64
MAX_BYTES = {MANIFEST: 4 << 20, SIGNATURE: 1024, NOTICE: 64 << 10}  # of what is read before anything was proved
FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # equal contents give an equal digest

_END = struct.Struct("<4s4H2LH")  # the zip's end: mark, disks, entries, the directory's size and place, comment
_MAX_DIRECTORY_BYTES = MAX_MEMBERS * 256
_ZIP64_LOCATOR_BYTES = 20
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1


class Archive:
    """The members of a zip in memory; BundleError, which names `where`, for whatever is not one of ours."""

    def __init__(self, raw: bytes, where: str) -> None:
        self._where = where
        self._require_small_directory(raw)
        with self._refusing():
            self._zip = zipfile.ZipFile(io.BytesIO(raw))
        infos = self._zip.infolist()
        for info in infos:
            self._check(info)
        self._infos = {info.filename: info for info in infos}
        if len(self._infos) != len(infos):
            raise BundleError(f"bundle {where}: a name occurs twice; re-export it")
        if sum(info.file_size for info in infos) > MAX_BUNDLE_BYTES:
            raise BundleError(f"bundle {where}: its members claim more than {MAX_BUNDLE_BYTES >> 20} MiB; refused")

    @property
    def names(self) -> set[str]:
        """The members there are."""
        return set(self._infos)

    def read(self, name: str) -> bytes:
        """One member, whole; BundleError when it is missing or damaged."""
        if name not in self._infos:
            raise BundleError(f"bundle {self._where}: {name} is missing; copy it again or re-export")
        info = self._infos[name]
        with self._refusing(), self._zip.open(info) as member:
            content = member.read(info.file_size + 1)
        if len(content) != info.file_size:
            raise BundleError(f"bundle {self._where}: {name} is cut short; copy it again or re-export")
        return content

    def _require_small_directory(self, raw: bytes) -> None:
        tail = raw[-_END.size :]
        if len(tail) < _END.size or not tail.startswith(b"PK\5\6") or tail[-2:] != b"\0\0":
            raise self._not_whole("its end is missing")
        _, _, _, _, entries, directory_bytes, _, _ = _END.unpack(tail)
        locator = raw[-_END.size - _ZIP64_LOCATOR_BYTES : -_END.size]
        if entries > MAX_MEMBERS or directory_bytes > _MAX_DIRECTORY_BYTES or locator.startswith(b"PK\6\7"):
            raise BundleError(f"bundle {self._where}: claims more than {MAX_MEMBERS} members; refused")

    def _check(self, info: zipfile.ZipInfo) -> None:
        name, where = info.filename, self._where
        if not ALLOWED.fullmatch(name):
            raise BundleError(f"bundle {where}: foreign member {name!r}; this is not one of ours")
        if info.file_size > MAX_BYTES.get(name, MAX_MEMBER_BYTES):
            raise BundleError(f"bundle {where}: {name} claims {info.file_size} bytes; refused")
        if info.compress_type not in _PLAIN or info.flag_bits & _ENCRYPTED:
            raise BundleError(f"bundle {where}: {name} is packed in a way that we never use; re-export it")

    def _not_whole(self, why: object) -> BundleError:
        return BundleError(f"bundle {self._where}: not a whole zip file ({why}); copy it again or re-export")

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
            OSError,
        ) as error:
            raise self._not_whole(error) from error


def pack_archive(members: Mapping[str, bytes]) -> bytes:
    """A zip of these members; the same members give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, FIXED_DATE), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def read_file(path: Path) -> bytes:
    """A bundle's file, whole; BundleError for what cannot be read, is too large, or is no file (some never end)."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"bundle {path}: not a file; check --bundle")
        with path.open("rb") as file:  # as much memory is asked for as is to be read, so not for the largest
            raw = file.read(min(found.st_size, MAX_BUNDLE_BYTES) + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"bundle {path}: cannot be read ({reason}); check --bundle") from error
    if len(raw) > MAX_BUNDLE_BYTES:
        raise BundleError(f"bundle {path}: larger than {MAX_BUNDLE_BYTES >> 20} MiB; this is not one of ours")
    return raw
