"""What may pass by itself is tried again for ever, and said once a minute (row 34)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from edge.core.errors import BundleError, EdgeError, SettingsError, SourceLost, Unavailable, refusal
from edge.history.database import JournalError, JournalInUse
from edge.history.journal import Journal
from edge.sockets.endpoints import AddressInUse
from edge.station import daemon, refusals
from edge.station.refusals import is_news
from edge.station.settings import settings_of
from tests.edge.history.disks import Disk, mounted
from tests.edge.history.records import write
from tests.faults import MULTIPLIER

SETTINGS = settings_of(source="folder:/parts", bundle="part.bundle")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JournalInUse("another has it"), 75),
        (AddressInUse("another has it"), 75),
        (JournalError("full"), 75),
        (SourceLost("unplugged"), 75),
        (refusal(errno.EROFS, "read-only"), 75),
        (refusal(errno.ENOSPC, "full"), 75),
        (refusal(errno.EACCES, "not yours"), 78),
        (refusal(errno.ENOTDIR, "a file"), 78),
        (SettingsError("no such camera"), 78),
        (BundleError("cut short"), 78),
    ],
)
def test_what_may_pass_by_itself_is_tried_again_and_what_a_person_must_change_is_not(
    error: EdgeError, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_nothing(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(daemon, "open_station", open_nothing)
    assert daemon.serve(SETTINGS) == code


@pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.BusyError])
@pytest.mark.parametrize("is_new", [True, False])
def test_whatever_operation_of_a_start_fails_passes_by_itself_and_a_later_start_goes_on(
    tmp_path: Path, error: type[apsw.Error], is_new: bool
) -> None:
    for number in range(1, 100, max(1, 5 // MULTIPLIER)):
        path = tmp_path / f"{number}.db"
        if not is_new:
            with closing(Journal(path)) as journal:
                write(journal, 3)
        disk = Disk(error, range(number, 10**9))
        with mounted(disk) as vfs, suppress(Unavailable, JournalError):
            Journal(path, vfs=vfs).close()
        with closing(Journal(path)) as journal:
            assert (journal.head, journal.losses) == (0 if is_new else 3, [])
        if disk.count < number:
            return
    raise AssertionError("a start does fewer operations than that")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EIO])
def test_a_folder_that_cannot_be_made_on_such_a_disk_passes_by_itself(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "mkdir", failing(number))
    with pytest.raises(Unavailable, match="--journal"):
        Journal(tmp_path / "state" / "journal.db")


def test_a_folder_that_may_not_be_made_needs_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "mkdir", failing(errno.EACCES))
    with pytest.raises(SettingsError, match="--journal"):
        Journal(tmp_path / "state" / "journal.db")


def failing(number: int) -> Callable[..., Any]:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, "no")

    return fail


def test_what_keeps_a_station_from_starting_is_said_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    now_ns = [0]
    monkeypatch.setattr(refusals.time, "monotonic_ns", lambda: now_ns[0])
    said = []
    for second in range(0, 180, 2):  # as often as systemd starts it
        now_ns[0] = second * 1_000_000_000
        said += [second] * is_news("disk full")
    assert said == [0, 60, 120]
    assert is_news("the address is in use") and not is_news("the address is in use")
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert is_news("disk full") and is_news("disk full")  # a person sees every answer
