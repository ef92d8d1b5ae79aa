"""What the machine must give a station, each looked at by itself: clock, addresses, folders, disk.

Every finding says what is wrong, where, and what to do. Rejected: asking systemd or ntpd (neither is on every
machine), and guessing from permission bits, where writing a byte is the proof.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path

import zmq

from edge.core.errors import EdgeError, SettingsError
from edge.core.processor import cpu_quota, thread_limit
from edge.history.database import open_database
from edge.security.station_keys import Role
from edge.sockets.endpoints import LOCAL, Access, BoundSocket
from edge.station.settings import Settings, SocketSettings

SYNCS = 9
SLOW_SYNC_MS = 250.0  # each verdict waits for one: a line of 4 parts a second is the most behind that
SPARE_BYTES = 64 << 20  # beyond what journal and evidence may grow to
CLOCK_LEEWAY = timedelta(days=1)  # the bundle's workstation may be in another time zone, or ahead


class Finding(EdgeError):
    """Something is wrong with the machine or how it is set up; not the program's error."""


def check_clock(now: datetime, bundle_created: str) -> str:
    """Finding where the UTC clock is behind the bundle: a device without a battery wakes up in the past."""
    try:
        created = datetime.fromisoformat(bundle_created)
    except ValueError:
        raise Finding(f"bundle: it says it was made {bundle_created!r}, which is no time; re-export it") from None
    created = created if created.tzinfo else created.replace(tzinfo=timezone.utc)
    if now < created - CLOCK_LEEWAY:
        raise Finding(
            f"clock: {now:%Y-%m-%d %H:%M} UTC is before the bundle was made ({created:%Y-%m-%d}), so records would "
            "carry wrong times; set it (timedatectl set-ntp true, or date -u -s …)"
        )
    return f"clock {now:%Y-%m-%d %H:%M} UTC"


def check_processor(threads: int) -> str:
    """How many of the machine's cores this process may use; a note where --threads asks for more."""
    limit, quota, cores = thread_limit(), cpu_quota(), os.cpu_count() or 1
    if limit is None:
        return f"processor: all of its {cores} cores may be used"
    share = "" if quota is None else f", and together no more than {quota:g} of them (a control group's quota)"
    told = f"processor: {len(os.sched_getaffinity(0))} of its {cores} cores may be used{share}"
    if threads > limit:
        return f"note  {told}; --threads {threads} makes them wait for each other: leave it out to have {limit}"
    return f"{told}; threads of a CPU engine: {threads or limit}"


def check_addresses(settings: SocketSettings, access: Access = LOCAL) -> str:
    """SettingsError where an address is taken, given twice, or open to the network and not by `access`."""
    # As the station's own: who is waiting for it may find this one, and would never come back from another kind.
    wanted = {
        "--publish": (zmq.XPUB, Role.READ, settings.publish),
        "--replay": (zmq.ROUTER, Role.REPLAY, settings.replay),
        "--control": (zmq.ROUTER, Role.CONTROL, settings.control),
        "--frames": (zmq.XPUB, Role.READ, settings.frames),
    }
    bound: list[str] = []
    if settings.control is not None:
        folder = Path(settings.control.removeprefix("ipc://")).parent
        if settings.control.startswith("ipc:///") and not folder.is_dir():
            raise SettingsError(f"--control {settings.control}: there is no folder {folder}; make it")
    with ExitStack() as stack:
        for flag, (kind, role, endpoint) in wanted.items():
            if endpoint is not None:
                stack.callback(BoundSocket(kind, flag, endpoint, role, access, LINGER=0).close)
                bound.append(endpoint)
    return f"addresses are free: {', '.join(bound)}"


def check_folders(settings: Settings) -> Iterator[Path]:
    """Write into each folder that the station writes to; Finding names the one that refuses."""
    wanted = {"--evidence": settings.pictures.evidence, "--overlays": settings.pictures.overlays}
    if settings.journal.path is not None:
        wanted["--journal"] = settings.journal.path.absolute().parent
    for flag, folder in wanted.items():
        if folder is None:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
        except OSError as error:
            raise Finding(
                f"{flag}: user {os.geteuid()} cannot write to {folder} ({error.strerror}); "
                f"make it a folder of this user: chown {os.geteuid()} {folder}"
            ) from error
        yield folder


def check_room(settings: Settings) -> str | None:
    """Finding where the disk could not hold what the limits let journal and evidence grow to; None without either."""
    needs: dict[Path, int] = {}
    if settings.journal.path is not None:
        needs[settings.journal.path.absolute().parent] = settings.journal.limits.max_bytes
    if settings.pictures.evidence is not None:
        needs[settings.pictures.evidence] = settings.pictures.evidence_limits.max_bytes
    by_disk: dict[int, tuple[Path, int]] = {}
    for folder, size in needs.items():
        device = folder.stat().st_dev
        by_disk[device] = folder, by_disk.get(device, (folder, 0))[1] + max(0, size - _size_of(folder))
    for folder, more in by_disk.values():
        if (free := shutil.disk_usage(folder).free) < more + SPARE_BYTES:
            raise Finding(
                f"disk: {folder} has {free >> 20} MB free, and journal and evidence may take {more >> 20} MB more; "
                "free some, or lower --journal-max-mb and --evidence-max-mb"
            )
    return "disk: " + ", ".join(f"{shutil.disk_usage(f).free >> 20} MB free at {f}" for f in needs) if needs else None


def check_journal(path: Path, slow_ms: float = SLOW_SYNC_MS) -> str:
    """Open it, and time a sync beside it; EdgeError where it is damaged or taken, Finding where its disk is slow."""
    open_database(path).close()
    median_ms = _sync_ms(path.absolute().parent)
    if median_ms > slow_ms:
        raise Finding(
            f"journal {path}: a sync takes {median_ms:.0f} ms, and each verdict waits for one; put it on another disk "
            "(a worn flash card?)"
        )
    return f"journal {path}: sound, nobody else has it, a sync takes {median_ms:.1f} ms"


def _sync_ms(folder: Path) -> float:
    took: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(1e3 * (time.perf_counter() - began))
    return statistics.median(took)


def _size_of(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in folder.rglob("*") if entry.is_file())
