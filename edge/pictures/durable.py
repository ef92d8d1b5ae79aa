"""A folder that pictures are written to: whole or not at all, on disk where that is asked for, never through a link.

Whoever may write into the folder can plant a link where the next file will be. So every name is opened relative to its
folder's descriptor, made anew and never followed; only the way to the folder itself, which an operator gave, may lead
over links. A rename alone only promises that readers see the whole file or none; after a power cut the name may be
there with nothing in it. Contents are synced before they get their names, all at once: syncs that wait together share
a commit of the file system, and three files take half as long as one after the other. Rejected: `syncfs`, which waits
for whatever else is written to that disk; asking whether a name is a link before opening it (it may become one).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath

from edge.core.errors import SinkError, refusal

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a planted pipe must not hold us up


class PictureFolder:
    """Files in the folder `path`, by their names in it; a name may have one folder before it (`9f/9f86….png`).

    is_durable: what is written is on disk when `write` returns. Where it cannot be written to: Unavailable, if that may
    pass by itself, or else SettingsError; both name `flag`.
    """

    def __init__(self, path: Path, flag: str, *, is_durable: bool) -> None:
        self.path = path
        self._pool = ThreadPoolExecutor(3, thread_name_prefix="sync") if is_durable else None
        try:
            path.mkdir(parents=True, exist_ok=True)
            with self._opened() as folder:
                os.close(_create(folder, ".writable"))
                os.unlink(".writable", dir_fd=folder)
        except OSError as error:
            why = f"{flag} {path}: cannot be written to: {error}; choose another folder, or change its owner"
            raise refusal(error.errno, why) from error

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Each name holds its bytes, readers see all of a file or none; SinkError or OSError when that cannot be."""
        with ExitStack() as opened:
            root = opened.enter_context(self._opened())
            places = {name: opened.enter_context(self._inside(root, name, is_made=True)) for name in contents}
            files = []
            for name, (folder, file) in places.items():
                files.append(_create(folder, _beside(file)))
                opened.callback(_remove, folder, _beside(file))  # gone by then, unless something fails
                with os.fdopen(opened.enter_context(_kept(files[-1])), "wb", closefd=False) as out:
                    out.write(contents[name])
            self._sync(files)
            for folder, file in places.values():
                os.replace(_beside(file), file, src_dir_fd=folder, dst_dir_fd=folder)
            self._sync({root, *(folder for folder, _ in places.values())})

    def remove(self, name: str) -> None:
        """No such file afterwards; one that a link leads to stays. OSError when it cannot be removed."""
        with suppress(FileNotFoundError, SinkError), self._opened() as root, self._inside(root, name) as (folder, file):
            _remove(folder, file)

    def head(self, name: str, nbytes: int) -> bytes | None:
        """The first bytes of a file; None where there is none. SinkError where something else has its name."""
        with self._opened() as root:
            try:
                with self._inside(root, name) as (folder, file), _kept(os.open(file, _OLD, dir_fd=folder)) as opened:
                    return os.read(opened, nbytes)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise SinkError(f"{self.path / name}: is no file that can be read ({error.strerror})") from error

    def close(self) -> None:
        """Nothing is written afterwards."""
        if self._pool is not None:
            self._pool.shutdown()

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The folder's descriptor; opened each time, since a folder may be replaced or mounted over."""
        with _kept(os.open(self.path, _FOLDER)) as root:
            yield root

    @contextmanager
    def _inside(self, root: int, name: str, *, is_made: bool = False) -> Iterator[tuple[int, str]]:
        """The descriptor of the folder that `name` lies in, made if need be, and its name in there."""
        *folders, file = PurePosixPath(name).parts
        if not folders:
            yield root, file
            return
        (folder,) = folders
        if is_made:
            with suppress(FileExistsError):
                os.mkdir(folder, dir_fd=root)
        try:
            descriptor = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=root)
        except NotADirectoryError as error:
            raise SinkError(f"{self.path / folder}: is a link or no folder; remove it") from error
        with _kept(descriptor) as opened:
            yield opened, file

    def _sync(self, descriptors: Iterable[int]) -> None:
        if self._pool is not None:
            list(self._pool.map(os.fsync, descriptors))  # a list, so that errors are raised here


def _create(folder: int, name: str) -> int:
    """A new file's descriptor; whatever had the name, a link too, gives way to it."""
    _remove(folder, name)
    return os.open(name, _NEW, 0o666, dir_fd=folder)


def _remove(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _beside(name: str) -> str:
    return f".{name}.part"


@contextmanager
def _kept(descriptor: int) -> Iterator[int]:
    """Open until the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)
