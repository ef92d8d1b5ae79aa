"""Engine files: a header that says what an engine was built from and for, then the serialised engine.

An engine is native code: one whose header differs is not for this device and is built again; one whose bytes are not
those its header names is damaged or somebody else's, and is refused. The folder is private for the same reason.
Rejected: version-compatible, hardware-compatible and refittable engines (slower, and a rebuild costs minutes once).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.core.bundle import graph_name
from edge.core.errors import EngineError
from edge.engines.cuda import Gpu

MAGIC = b"edge-inspect engine/1\n"
MAX_HEADER_BYTES = 64 << 10
MAX_ENGINE_BYTES = 1 << 30
NAME_DIGITS = 16


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that must be equal for an engine to be the right one.

    runtime, version: TensorRT's module and version. onnx: SHA-256 of the graph, which holds the precision too.
    profile: least, usual and largest shape (N, H, W, 3) of the input.
    """

    runtime: str
    version: str
    gpu: Gpu
    onnx: str
    patch_size: int
    variant: str
    profile: tuple[tuple[int, ...], ...]

    @property
    def name(self) -> str:
        """The graph and its variant, for people."""
        return graph_name(self.patch_size, self.variant).removesuffix(".onnx")

    @property
    def file_name(self) -> str:
        """Found by what it was built from and for, never by its own bytes: two builds of one graph differ."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.graph_prefix}{digest[:NAME_DIGITS]}.engine"

    @property
    def graph_prefix(self) -> str:
        """What the names of all engines of this graph begin with, whatever they were built for."""
        return f"{self.name}-{self.onnx[:NAME_DIGITS]}-"

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Names of the fields in which a header's key is not this one."""
        own = json.loads(json.dumps(asdict(self)))
        return [name for name, value in own.items() if other.get(name) != value]


def write_engine(path: Path, key: EngineKey, plan: bytes, facts: dict[str, Any]) -> None:
    """Write atomically and privately; `facts` (time, build seconds) are kept and never compared."""
    digest = hashlib.sha256(plan).hexdigest()
    header = json.dumps({"key": asdict(key), "plan_sha256": digest, "plan_bytes": len(plan), **facts}).encode()
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        beside.write_bytes(MAGIC + header + b"\n" + plan)
        beside.chmod(0o600)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_engine(path: Path, key: EngineKey) -> tuple[bytes, dict[str, Any]]:
    """The plan and its header; EngineError where the file is damaged, foreign, unreadable, or not for this device."""
    try:
        if path.stat().st_size > MAX_ENGINE_BYTES:
            raise EngineError(f"{path}: larger than {MAX_ENGINE_BYTES >> 20} MiB, so not one of ours; delete it")
        raw = path.read_bytes()
    except OSError as error:
        raise EngineError(
            f"{path}: {error.strerror}; only who built an engine may read it: build them as the daemon's user"
        ) from error
    header, plan = _split(raw, path)
    if wrong := key.differences(header["key"]):
        raise EngineError(f"{path}: built for another {', '.join(wrong)}; delete it, and it is built again")
    if len(plan) != header["plan_bytes"] or hashlib.sha256(plan).hexdigest() != header["plan_sha256"]:
        raise EngineError(f"{path}: damaged: its bytes are not those it was written with; delete it to build it again")
    return plan, header


def _split(raw: bytes, path: Path) -> tuple[dict[str, Any], bytes]:
    """The header and the plan of a file that begins as ours do."""
    end = raw.find(b"\n", len(MAGIC), len(MAGIC) + MAX_HEADER_BYTES)
    try:
        if not raw.startswith(MAGIC) or end < 0:
            raise ValueError("no header")
        header = json.loads(raw[len(MAGIC) : end])
        if not {"key", "plan_sha256", "plan_bytes"} <= set(header) or not isinstance(header["key"], dict):
            raise ValueError("fields are missing from its header")
    except (ValueError, TypeError) as error:
        raise EngineError(f"{path}: no engine of ours, or damaged ({error}); delete it to build it again") from error
    return header, raw[end + 1 :]


def private_folder(folder: Path) -> Path:
    """Make the folder, for its owner alone; EngineError where others could have put an engine into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except OSError as error:
        raise EngineError(f"engines folder {folder}: {error.strerror}; name another with --engines") from error
    if about.st_uid not in (0, os.geteuid()) or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EngineError(
            f"engines folder {folder}: others may write to it, and an engine is native code; "
            f"chmod go-w {folder}, owned by root or by whoever runs this"
        )
    return folder


def default_folder() -> Path:
    """systemd's state folder of the service, else the user's cache."""
    if state := os.environ.get("STATE_DIRECTORY"):
        return Path(state.partition(":")[0]) / "engines"
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:  # a user without a home
        raise EngineError("there is no folder for TensorRT's engines; name one with --engines") from error
    return Path(cache) / "edge-inspect" / "engines"
