"""Which CPU engine `auto` takes on this machine: a record that `edge-deploy choose` writes, and the daemon reads.

The daemon never times anything: a busy moment at start-up would decide for months. A record counts as long as what it
was measured with is still there: the bundle, the processor, the number of threads, the runtime's version. A variant
other than the reference also needs a passed verification. Where anything differs, the light default runs.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.core.errors import EngineError

CHOICE_SCHEMA, VERIFICATION_SCHEMA = "edge-inspect.engine-choice/1", "edge-inspect.verification/1"
PROOF_IMAGES = 50  # besides the golden sample: fewer parts say too little of how verdicts drift
NAME_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine and a variant, and what they were found the fastest with.

    bundle: digest. machine: see `machine_identity`. threads: as asked for, 0 for one a core.
    """

    bundle: str
    machine: str
    threads: int
    engine: str
    version: str
    variant: str


def machine_identity() -> str:
    """The processor's name and how many of its threads this process may use; equal machines say the same."""
    return f"{processor()}, {len(os.sched_getaffinity(0))} threads"


def processor() -> str:
    """The processor's name; ARM's kernels do not tell one, and say the machine's kind instead."""
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def runtime_version(engine: str) -> str:
    """The version of a CPU engine's runtime, as its engine says it; EngineError where it is not installed."""
    try:
        return str(importlib.import_module(engine).__version__)
    except (ImportError, OSError) as error:
        raise EngineError(f"{engine} is not installed any more ({error})") from error


def write_choice(folder: Path, choice: Choice, facts: dict[str, Any]) -> Path:
    """Write the record of a bundle into `folder`; `facts` (time, milliseconds) are kept and never compared."""
    file = choice_file(folder, choice.bundle)
    beside = file.with_suffix(".partial")
    beside.write_text(json.dumps({"schema": CHOICE_SCHEMA, **asdict(choice), **facts}, indent=1), encoding="utf-8")
    beside.replace(file)
    return file


def read_choice(folder: Path, bundle: str, threads: int) -> Choice:
    """The record of a bundle (its digest), if it holds here and now; EngineError says why it does not."""
    file = choice_file(folder, bundle)
    body = _read(file, CHOICE_SCHEMA)
    try:
        choice = Choice(**{name: body[name] for name in Choice.__slots__})
    except KeyError as error:
        raise EngineError(f"{file}: {error} is missing; run edge-deploy choose again") from error
    now = {
        "bundle": bundle,
        "machine": machine_identity(),
        "threads": threads,
        "version": runtime_version(choice.engine),
    }
    for name, value in now.items():
        if (then := getattr(choice, name)) != value:
            raise EngineError(f"{file}: made for {name} {then}, and here it is {value}; run edge-deploy choose again")
    return choice


def choice_file(folder: Path, bundle: str) -> Path:
    """Where the record of a bundle is kept."""
    return folder / f"choice-{bundle[:NAME_DIGITS]}.json"


def verification_file(folder: Path, bundle: str, engine: str, variant: str) -> Path:
    """Where `edge-deploy verify` leaves its report."""
    return folder / f"verify-{bundle[:NAME_DIGITS]}-{engine}-{variant}.json"


def require_verification(folder: Path, bundle: str, engine: str, version: str, variant: str) -> None:
    """EngineError unless this very engine and variant passed on this bundle, on PROOF_IMAGES parts or more."""
    file = verification_file(folder, bundle, engine, variant)
    how = f"run edge-deploy verify --engine {engine} --variant {variant} --images FOLDER"
    body = _read(file, VERIFICATION_SCHEMA, how)
    if body.get("bundle") != bundle or body.get("engine") != f"{engine} {version} ({variant})":
        raise EngineError(f"{file}: is about another bundle or version; {how}")
    if body.get("passed") is not True:
        raise EngineError(f"{file}: not passed; {variant} is not used with {engine}")
    if not isinstance(compared := body.get("images"), int) or compared <= PROOF_IMAGES:
        raise EngineError(f"{file}: proves too little, from fewer than {PROOF_IMAGES} images; {how}")


def _read(file: Path, schema: str, what_to_do: str = "run edge-deploy choose") -> dict[str, Any]:
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
        if body["schema"] != schema:
            raise ValueError(f"its schema is {body['schema']!r}")
    except FileNotFoundError as error:
        raise EngineError(f"there is no {file}; {what_to_do}") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EngineError(f"{file}: cannot be read ({error!r}); {what_to_do} again") from error
    return dict(body)
