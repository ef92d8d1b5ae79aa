"""Who may do what on the page: names, roles and argon2id hashes in one file, which only the page's user may read.

There is no first password: the first user is made by `edge-page user add`. Rejected: the machine's own accounts (the
page would need root to check them), a central login (not offered; a plant that has one puts a proxy before the page).
"""

from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from pathlib import Path

import nacl.exceptions
import nacl.pwhash

from edge.core.errors import SettingsError

FILE = "users.json"  # in the page's folder
LEAST_PASSWORD, MOST_PASSWORD = 12, 128  # characters
MOST_USERS = 200
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,32}")
# 64 MiB and two passes: .12 s on a small device, and never two at a time, or the page's memory would be their victim.
_OPS, _MEMORY = nacl.pwhash.argon2id.OPSLIMIT_INTERACTIVE, nacl.pwhash.argon2id.MEMLIMIT_INTERACTIVE
_ONE_AT_A_TIME = threading.Lock()


class Role(IntEnum):
    """Each may what those below it may."""

    VIEWER = 1  # looks
    OPERATOR = 2  # says what became of a part
    TECHNICIAN = 3  # changes recipes, proposes thresholds
    ENGINEER = 4  # takes thresholds, and users

    @property
    def word(self) -> str:
        """In small letters."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class User:
    """One of them; last_use_s: Unix time, None for one that never came."""

    name: str
    role: Role
    hash: str
    last_use_s: float | None = None


class UserRefused(SettingsError):
    """A user cannot be made or changed so; the message says why."""


class Users:
    """The file of users; from any thread. `edge-page user` may change it meanwhile: it is looked at each time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._users: dict[str, User] = {}
        self._no_one: str | None = None  # what an unknown name is checked against

    def all(self) -> list[User]:
        """By name."""
        with self._lock:
            self._look()
            return sorted(self._users.values(), key=lambda user: user.name)

    def get(self, name: str) -> User | None:
        """The user of this name."""
        with self._lock:
            self._look()
            return self._users.get(name)

    def checked(self, name: str, password: str) -> User | None:
        """The user of this name, if that is the password; takes as long for a name that is not known."""
        user = self.get(name)
        if len(password) > MOST_PASSWORD:
            return None
        if self._no_one is None:
            self._no_one = hashed("nobody has this password")
        is_right = _is_right(self._no_one if user is None else user.hash, password)
        return user if is_right and user is not None else None

    def add(self, name: str, role: Role, password: str) -> None:
        """Make a user; UserRefused where the name is taken or cannot stand, or the password is too short."""
        if not _NAME.fullmatch(name):
            raise UserRefused(f"{name!r}: a name is 1 to 32 of the characters A-Z a-z 0-9 _ . -")
        self._require_length(password)
        digest = hashed(password)
        with self._lock:
            self._look()
            if name in self._users:
                raise UserRefused(f"{name}: there is one of this name; remove it first, or set its password")
            if len(self._users) >= MOST_USERS:
                raise UserRefused(f"there are {MOST_USERS} users; remove one first")
            self._write({**self._users, name: User(name, role, digest)})

    def change(self, name: str, *, role: Role | None = None, password: str | None = None) -> None:
        """Another role or password; UserRefused where there is no such user, or no engineer would be left."""
        if password is not None:
            self._require_length(password)
        digest = None if password is None else hashed(password)
        with self._lock:
            self._look()
            user = self._known(name)
            changed = replace(user, role=role or user.role, hash=digest or user.hash)
            self._write_if_engineers({**self._users, name: changed})

    def remove(self, name: str) -> None:
        """Take a user away; UserRefused as `change`."""
        with self._lock:
            self._look()
            self._known(name)
            self._write_if_engineers({other: user for other, user in self._users.items() if other != name})

    def used(self, name: str, now_s: float) -> None:
        """Somebody has logged in under this name."""
        with self._lock:
            self._look()
            if name in self._users:
                self._write({**self._users, name: replace(self._users[name], last_use_s=now_s)})

    def _known(self, name: str) -> User:
        if name not in self._users:
            raise UserRefused(f"there is no user {name!r}")
        return self._users[name]

    def _require_length(self, password: str) -> None:
        if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
            raise UserRefused(
                f"a password has {LEAST_PASSWORD} to {MOST_PASSWORD} characters; a short sentence is a good one"
            )

    def _write_if_engineers(self, users: dict[str, User]) -> None:
        if not any(user.role is Role.ENGINEER for user in users.values()):
            raise UserRefused("one engineer must stay, or nobody could change users here any more")
        self._write(users)

    def _look(self) -> None:
        try:
            status = self._file.stat()
        except FileNotFoundError:
            self._users, self._seen = {}, None
            return
        except OSError as error:
            raise SettingsError(
                f"{self._file}: cannot be read ({error.strerror}); it belongs to the page's user"
            ) from error
        seen = status.st_mtime_ns, status.st_size
        if seen == self._seen:
            return
        try:
            content = json.loads(self._file.read_text("utf-8"))
            self._users = {name: User(name, Role(one.pop("role")), **one) for name, one in content.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise SettingsError(f"{self._file}: cannot be read ({error}); put a copy back, or remove it") from error
        self._seen = seen

    def _write(self, users: dict[str, User]) -> None:
        content = {
            user.name: {name: value for name, value in asdict(user).items() if name != "name"}
            for user in users.values()
        }
        write_private(self._file, json.dumps(content, indent=1))
        self._users, self._seen = users, None


def hashed(password: str) -> str:
    """argon2id, with its salt and its cost in the text."""
    with _ONE_AT_A_TIME:
        return nacl.pwhash.argon2id.str(password.encode("utf-8"), _OPS, _MEMORY).decode("ascii")


def write_private(file: Path, text: str) -> None:
    """Write a file for its owner only, in one step; SettingsError where that cannot be."""
    beside = file.with_name(f"{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:
            written.write(text)
            if os.geteuid() == 0:  # `edge-page user add` by root: the page's own user must read it
                owner = file.parent.stat()
                os.fchown(written.fileno(), owner.st_uid, owner.st_gid)
        beside.replace(file)
    except OSError as error:
        raise SettingsError(f"{file}: cannot be written ({error.strerror}); check the folder and its owner") from error


def _is_right(digest: str, password: str) -> bool:
    with _ONE_AT_A_TIME:
        try:
            return nacl.pwhash.argon2id.verify(digest.encode("ascii"), password.encode("utf-8"))
        except nacl.exceptions.InvalidkeyError:
            return False
