"""Files appear whole or not at all, and what cannot be written is said in one line that names it."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from edge.core.errors import OutputError
from edge.core.files import require_room, write_whole


def test_a_file_and_its_folders_are_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b.bin", b"123")
    assert (tmp_path / "a" / "b.bin").read_bytes() == b"123" and [*(tmp_path / "a").iterdir()] == [tmp_path / "a/b.bin"]


def test_what_stood_there_stays_whole_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "b.bin"
    write_whole(file, b"old")

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as of a write, which names no file

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=rf"{file}: cannot be written: No space left on device; free some space"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"


def test_room_is_taken_and_given_back(tmp_path: Path) -> None:
    require_room(tmp_path / "new", 1 << 20)
    assert [*(tmp_path / "new").iterdir()] == []


def test_a_limit_is_found_before_the_work(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(OutputError, match=rf"{tmp_path}: cannot be written: File too large; the run needs 2 MB"):
            require_room(tmp_path, 2 << 20, "the run")
        require_room(tmp_path, 1 << 16, "the run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match="taken: cannot be written: File exists"):
        require_room(tmp_path / "taken", 1)
