"""The station's own key, and who may come in: a folder with one public key file for each consumer.

    FOLDER/device.key_secret      this station's; systemd's $CREDENTIALS_DIRECTORY/device.key_secret is taken before it
    FOLDER/consumers/mes.key      a consumer called mes, and its roles

The folder of consumers is looked at every second: a file that is gone, damaged or has lost a role is a key revoked,
and a folder that cannot be read revokes all. Rejected: reading it on SIGHUP only, which somebody would forget to send.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

import structlog

from edge.core.errors import SettingsError
from edge.security.certificates import PUBLIC_SUFFIX, SECRET_SUFFIX, Certificate, read_certificate
from edge.security.files import credentials_folder

DEVICE, CONSUMERS = "device", "consumers"
REFUSED_S = 600.0  # so long whoever flooded a socket is not let in again
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")

log = structlog.get_logger(__name__)


class Role(str, Enum):
    """What a consumer may do: listen to the live feed, fetch from the journal, and command.

    CONTROL commands everything; TRIGGER says that a part is there; OPERATE says what an operator knows. DELEGATE: in
    the name of a user, whom the key's owner has seen log in.
    """

    READ = "read"
    REPLAY = "replay"
    CONTROL = "control"
    TRIGGER = "trigger"
    OPERATE = "operate"
    DELEGATE = "delegate"

    @property
    def let_in(self) -> frozenset[Role]:
        """The roles that let in at this role's socket: whoever may command anything comes to control's."""
        return COMMANDS if self is Role.CONTROL else frozenset({self})


COMMANDS = frozenset({Role.CONTROL, Role.TRIGGER, Role.OPERATE})


class StationKeys:
    """Used from one thread at a time. SettingsError from the constructor; `refresh` raises nothing."""

    def __init__(self, folder: Path, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._folder = folder / CONSUMERS
        self.own = read_certificate(_secret_file(folder), is_secret=True)
        self._seen: tuple[object, ...] | None = None
        self._refused_until_s: dict[str, float] = {}  # by name; monotonic
        self._consumers: Mapping[bytes, tuple[str, Certificate]] = {}
        if not self._folder.is_dir():
            raise SettingsError(f"--keys {folder}: no folder {CONSUMERS} in it; see edge-deploy keys device --help")
        self.refresh()

    def name_of(self, public: bytes, any_of: frozenset[Role]) -> str | None:
        """Whose key these 32 bytes are, if it is known now and has one of these roles."""
        name, certificate = self._consumers.get(public, ("", None))
        return name if certificate is not None and any_of & self._roles(name, certificate) else None

    def roles_of(self, name: str | None) -> frozenset[Role]:
        """What a consumer of this name may do now; nothing where there is none."""
        found = (self._roles(known, one) for known, one in self._consumers.values() if known == name)
        return frozenset().union(*found)

    def refuse(self, name: str) -> None:
        """This consumer is a nuisance: its key is as good as revoked for REFUSED_S."""
        log.warning("a consumer's key is refused for a while", consumer=name, seconds=REFUSED_S)
        self._refused_until_s[name] = self._clock_s() + REFUSED_S

    def _roles(self, name: str, certificate: Certificate) -> frozenset[Role]:
        is_refused = self._clock_s() < self._refused_until_s.get(name, 0.0)
        return frozenset() if is_refused else frozenset(map(Role, certificate.roles))

    def refresh(self) -> None:
        """Look at the folder again; what is wrong with a file is logged, and its key is no longer known."""
        try:
            files = sorted(path for path in self._folder.iterdir() if path.suffix == PUBLIC_SUFFIX)
            statuses = [(path, path.stat()) for path in files]
            seen: tuple[object, ...] = tuple((path.name, one.st_mtime_ns, one.st_size) for path, one in statuses)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                return  # what we lack says nothing of the keys; they are looked at again in a second
            files, seen = [], (str(error),)
        if seen == self._seen:
            return
        self._consumers = _read_consumers(files)
        self._seen = seen  # not before: another thread would take the old ones for these
        log.info("consumers", known=sorted(name for name, _ in self._consumers.values()), folder=str(self._folder))


def _read_consumers(files: Sequence[Path]) -> dict[bytes, tuple[str, Certificate]]:
    consumers: dict[bytes, tuple[str, Certificate]] = {}
    for path in files:
        with _told():
            public, certificate = _read_consumer(path)
            if public in consumers:
                raise SettingsError(f"{path}: has the same key as {consumers[public][0]}; give each its own")
            consumers[public] = path.stem, certificate
    return consumers


@contextmanager
def _told() -> Iterator[None]:
    """A file that is wrong is somebody who does not get in, and nobody else's trouble."""
    try:
        yield
    except SettingsError as error:
        log.error("a consumer's key is not taken", error=str(error))


def _read_consumer(path: Path) -> tuple[bytes, Certificate]:
    if not _NAME.fullmatch(path.stem):
        raise SettingsError(f"{path}: name it with 1 to 32 of the characters A-Z a-z 0-9 _ -")
    certificate = read_certificate(path, is_secret=False)
    if unknown := certificate.roles - {role.value for role in Role}:
        raise SettingsError(f"{path}: there is no role {', '.join(sorted(unknown))}")
    return certificate.public_bytes, certificate


def _secret_file(folder: Path) -> Path:
    credentials = credentials_folder()
    name = f"{DEVICE}{SECRET_SUFFIX}"
    if credentials is not None and (credentials / name).exists():
        return credentials / name
    return folder / name
