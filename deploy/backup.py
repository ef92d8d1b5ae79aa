"""`edge-deploy backup` and `restore`: what makes a station, in one file, from one PC to another.

It holds the instance's settings and what they name (bundle, commissioning, keys, whom to trust), and the state folder
with the journal, so that the history goes on where it was, its numbers and consumers' cursors too. Every file is named
with its SHA-256 and is put back where it was. Evidence stays behind unless it is asked for: it is large, and the old
disk still has it. Rejected: a copy of a running journal (its numbers would be given twice).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

import edge
from deploy.terminal import FILE, FOLDER
from edge.commands import instance
from edge.core.commissioned import commissioning_file
from edge.core.errors import EdgeError, OutputError
from edge.core.files import require_room
from edge.history.database import copy_database

FORMAT = 1
_LIST = "station.json"
_NAMED = ("BUNDLE", "COMMISSIONING", "KEYS", "TRUSTED_KEYS")
_JOURNAL = ("journal.db", "journal.db-wal", "journal.db-shm")


class BackupError(EdgeError):
    """A station that cannot be saved, or a file that is no sound backup; the message says which and why."""


def back_up(name: str, out: Path, with_evidence: bool = False, root: Path = Path("/")) -> int:
    """Write the instance `name` into `out`; how many files it holds. The station must not run: JournalInUse.

    root: what paths are below, for a mounted disk. OutputError, BackupError.
    """
    variables = instance.environment_of(name, root)
    state = _below(root, variables["STATE_DIRECTORY"])
    journal = _resolved(variables.get("EDGE_INSPECT_JOURNAL", "journal.db"), state, root)
    evidence = _resolved(variables.get("EDGE_INSPECT_EVIDENCE", "evidence"), state, root)
    files = dict.fromkeys([_below(root, str(instance.SETTINGS / f"{name}.env")), *_named(variables, state, root)])
    for path in _files(state):
        if path.name not in _JOURNAL and (with_evidence or not path.is_relative_to(evidence)):
            files[path] = None
    require_room(out.absolute().parent, sum(path.stat().st_size for path in files), "the backup")
    with tempfile.TemporaryDirectory(dir=out.absolute().parent) as folder:
        contents: dict[Path, Path] = {path: path for path in files}
        if journal.exists():
            contents[journal] = Path(folder) / "journal.db"
            copy_database(journal, contents[journal])
            shutil.copystat(journal, contents[journal])
        beside = Path(folder) / "backup"
        _write(beside, name, contents, root)
        beside.replace(out)
    return len(contents)


def restore(file: Path, root: Path = Path("/"), is_forced: bool = False) -> tuple[str, int]:
    """Put a backup's files back, all or none; the instance's name, and how many they are.

    BackupError where the file is damaged, or where a file is there already and it is not `is_forced`.
    """
    try:
        with tarfile.open(file) as archive:
            listed = _listed(archive, file)
            members = {entry["path"]: _content(archive, entry, file) for entry in listed["files"]}
    except (tarfile.TarError, OSError, KeyError, ValueError, TypeError) as error:
        raise BackupError(f"{file}: not a sound backup ({error}); copy it again") from error
    targets = {path: _target(root, path, file) for path in members}
    if not is_forced and (there := [str(target) for target in targets.values() if target.exists()]):
        raise BackupError(f"{there[0]} is there already ({len(there)} such files); give --force to replace them")
    modes = {entry["path"]: entry for entry in listed["files"]}
    for path, content in members.items():
        _put(targets[path], content, modes[path])
    return str(listed["instance"]), len(members)


# --- saving ---


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _resolved(path: str, state: Path, root: Path) -> Path:
    """Where a path of the settings is: those without a slash in front are below the state folder."""
    return _below(root, path) if path.startswith("/") else state / path


def _named(variables: Mapping[str, str], state: Path, root: Path) -> Iterator[Path]:
    """The files that the settings name."""
    for name in _NAMED:
        if (value := variables.get(f"EDGE_INSPECT_{name}")) and value != "none":
            path = _resolved(value, state, root)
            yield from _files(path)
            if name == "BUNDLE":
                yield from _files(commissioning_file(path))


def _files(path: Path) -> Iterator[Path]:
    """The file, or all below a folder; sockets and links are none."""
    if path.is_dir() and not path.is_symlink():
        for one in sorted(path.iterdir()):
            yield from _files(one)
    elif path.is_file() and not path.is_symlink():
        yield path


def _write(out: Path, name: str, contents: Mapping[Path, Path], root: Path) -> None:
    entries = []
    for path, content in contents.items():
        found = path.stat()
        digest = hashlib.sha256(content.read_bytes()).hexdigest()
        where = "/" + str(path.absolute().relative_to(root.absolute()))
        mode, is_services = stat.S_IMODE(found.st_mode), found.st_uid > 0
        entries.append({"path": where, "sha256": digest, "mode": mode, "is_services": is_services})
    about = {
        "format": FORMAT,
        "instance": name,
        "software": edge.__version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "files": entries,
    }
    try:
        with tarfile.open(out, "w:gz") as archive:
            text = json.dumps(about, indent=1).encode()
            head = tarfile.TarInfo(_LIST)
            head.size = len(text)
            archive.addfile(head, io.BytesIO(text))
            for entry, content in zip(entries, contents.values(), strict=True):
                archive.add(content, str(entry["path"]).lstrip("/"), recursive=False)
        out.chmod(0o600)  # it may hold the station's secret
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}; free some space") from error


# --- putting back ---


def _listed(archive: tarfile.TarFile, file: Path) -> dict[str, Any]:
    member = archive.extractfile(_LIST)
    if member is None:
        raise ValueError(f"no {_LIST}")
    listed: dict[str, Any] = json.load(member)
    if listed["format"] != FORMAT:
        raise BackupError(f"{file}: of format {listed['format']}, this version knows {FORMAT}; take that version")
    return listed


def _content(archive: tarfile.TarFile, entry: Mapping[str, Any], file: Path) -> bytes:
    member = archive.extractfile(entry["path"].lstrip("/"))
    content = b"" if member is None else member.read()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise BackupError(f"{file}: {entry['path']} is not what was saved; copy the backup again")
    return content


def _target(root: Path, path: str, file: Path) -> Path:
    """Where a file goes; BackupError for a path that leads elsewhere."""
    if not path.startswith("/") or ".." in Path(path).parts:
        raise BackupError(f"{file}: it holds {path!r}, which is no path of a station; refused")
    return _below(root, path)


def _put(target: Path, content: bytes, entry: Mapping[str, Any]) -> None:
    beside = target.with_name(target.name + ".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.touch(mode=0o600)
        beside.write_bytes(content)
        beside.chmod(int(entry["mode"]) & 0o777)
        beside.replace(target)
        if entry["is_services"]:
            _give_to_service(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}; run it as root, with room") from error


def _give_to_service(target: Path) -> None:
    """What was not root's belongs to the service's user, whatever his number is here."""
    with suppress(LookupError, PermissionError):
        shutil.chown(target, "edge-inspect", "edge-inspect")
        if instance.STATE.name in target.parent.parts:
            shutil.chown(target.parent, "edge-inspect", "edge-inspect")


_ROOT = click.option("--root", type=FOLDER, default="/", show_default=True, help="What all paths are below.")


@click.command("backup")
@click.argument("name", metavar="INSTANCE")
@click.option("--out", type=FILE, required=True, help="The file to write, such as line1.station; mode 0600.")
@click.option("--evidence", "with_evidence", is_flag=True, help="With the evidence, which may be gigabytes.")
@_ROOT
def backup_command(name: str, out: Path, with_evidence: bool, root: Path) -> None:
    """Save a station: settings, bundle, commissioning, keys and journal of the service edge-inspect@INSTANCE.

    Stop it first: its journal goes on on the other PC, and two may not go on with one history.

    \b
    systemctl stop edge-inspect@line1
    edge-deploy backup line1 --out line1.station
    """
    count = back_up(name, out, with_evidence, root)
    click.echo(f"{out}: {count} files of {name}, keys among them if it has some; keep it as you keep those")


@click.command("restore")
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@_ROOT
def restore_command(file: Path, force: bool, root: Path) -> None:
    """Put a saved station onto this PC, after deploy/install.sh; then look whether it is well, and start it.

    \b
    edge-deploy restore line1.station
    sudo -u edge-inspect edge-inspect --instance line1 --check
    """
    name, count = restore(file, root, force)
    user = "" if os.geteuid() == 0 else " (as you are not root, all of them are yours)"
    click.echo(f"{count} files of {name} are in place{user}; now: edge-inspect --instance {name} --check")
