"""Who is logged in, and who has tried too often.

A session is 32 random bytes in a cookie, of which only the SHA-256 is kept; the token in every form is made of it, so
that no second secret has to be stored. Rejected: signed cookies, which cannot be ended before their time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edge.page.users import Role, User, write_private

ABSOLUTE_S, IDLE_S = 12 * 3600.0, 30 * 60.0
FREE_TRIES, LONGEST_S = 5, 300.0
_MOST = 1000  # sessions, and names and addresses that failed
_SEEN_S = 60.0  # how old the file's word for when one was last seen may be


@dataclass(frozen=True, slots=True)
class Session:
    """One login; Unix times."""

    name: str
    began_s: float
    seen_s: float


class Sessions:
    """Kept in a file, so that a restart of the page logs nobody out. clock_s: Unix time. From any thread.

    is_loopback: only this machine's own screen can be the browser: a viewer's session there has no end.
    """

    def __init__(self, file: Path, *, is_loopback: bool, clock_s: Callable[[], float] = time.time) -> None:
        self._file, self._is_loopback, self._clock_s = file, is_loopback, clock_s
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        with suppress(OSError, ValueError, TypeError):  # a damaged file: everybody logs in again
            self._sessions = {key: Session(**one) for key, one in json.loads(file.read_text("utf-8")).items()}

    def begin(self, name: str) -> str:
        """A new session of this user, under a token nobody has had before."""
        token, now_s = secrets.token_urlsafe(32), self._clock_s()
        with self._lock:
            while len(self._sessions) >= _MOST:
                del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].seen_s)]
            self._sessions[_digest(token)] = Session(name, now_s, now_s)
            self._write()
        return token

    def name_of(self, token: str, role_of: Callable[[str], Role | None], *, is_use: bool = True) -> str | None:
        """Whose session this is, if it has not ended. is_use: somebody is there; a feed that runs by itself is not."""
        key, now_s = _digest(token), self._clock_s()
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            role = role_of(session.name)
            if role is None or self._is_over(session, role, now_s):
                del self._sessions[key]
                self._write()
                return None
            if is_use:
                self._sessions[key] = replace(session, seen_s=now_s)
                if now_s - session.seen_s > _SEEN_S:
                    self._write()
            return session.name

    def end(self, token: str) -> None:
        """Log out."""
        with self._lock:
            self._sessions.pop(_digest(token), None)
            self._write()

    def end_all_of(self, name: str) -> None:
        """What a user had open ends: another password, another role, or gone."""
        with self._lock:
            self._sessions = {key: one for key, one in self._sessions.items() if one.name != name}
            self._write()

    def _is_over(self, session: Session, role: Role, now_s: float) -> bool:
        if role is Role.VIEWER and self._is_loopback:
            return False
        is_idle = role >= Role.TECHNICIAN and now_s - session.seen_s > IDLE_S
        return is_idle or now_s - session.began_s > ABSOLUTE_S

    def _write(self) -> None:
        write_private(self._file, json.dumps({key: asdict(one) for key, one in self._sessions.items()}))


def form_token(token: str) -> str:
    """What every form of this session carries."""
    return hashlib.sha256(b"form:" + token.encode("utf-8")).hexdigest()


def is_form_token(given: str, token: str) -> bool:
    """Whether a form was made for this session."""
    return hmac.compare_digest(given.encode("utf-8"), form_token(token).encode("ascii"))


class Tries:
    """How long a name or an address has to wait after failed logins: nothing for five, then 1 s · 2ⁿ up to 5 min."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._failed: dict[str, tuple[int, float]] = {}  # count, when last

    def wait_s(self, *keys: str) -> float:
        """Seconds until one of these may try again; 0: now."""
        with self._lock:
            return max(self._left_s(key) for key in keys)

    def failed(self, *keys: str) -> None:
        """A wrong password."""
        with self._lock:
            for key in keys:
                while len(self._failed) >= _MOST and key not in self._failed:
                    del self._failed[min(self._failed, key=lambda one: self._failed[one][1])]
                self._failed[key] = self._failed.get(key, (0, 0.0))[0] + 1, self._clock_s()

    def succeeded(self, *keys: str) -> None:
        """The right one."""
        with self._lock:
            for key in keys:
                self._failed.pop(key, None)

    def _left_s(self, key: str) -> float:
        count, last_s = self._failed.get(key, (0, 0.0))
        if count < FREE_TRIES:
            return 0.0
        return max(0.0, last_s + min(LONGEST_S, 2.0 ** (count - FREE_TRIES)) - self._clock_s())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def role_in(user: User | None) -> Role | None:
    """The role of a user that may be gone."""
    return None if user is None else user.role
