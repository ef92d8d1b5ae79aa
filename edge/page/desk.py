"""What people have prepared at a station and not handed in: pictures they opened, parts they asked for, proposals.

One small file a station, beside the page's users, so that a restart of the page loses no look at a part.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from edge.page.users import write_private

MOST_PICTURES, MOST_PROPOSALS = 500, 20  # of a user; of a station

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """The next parts that somebody asked for. epoch, seq: of the newest record then; said: good, bad, unsure by part.

    allowed: how many good parts may lie above the threshold, fixed by n and rate when they were asked for.
    """

    n: int
    rate: float
    allowed: int
    by: str
    begun_ms: int
    epoch: str
    seq: int
    recipe: str
    commissioning: str
    said: dict[str, str]


@dataclass(frozen=True, slots=True)
class Proposed:
    """A threshold that somebody proposed: the file and its SHA-256, and what is read back before it is taken.

    rate, parts: the promise and its n; None: too few. outcome: open, done or refused; details: the station's words.
    """

    file: str
    sha256: str
    by: str
    created_ms: int
    recipe: str
    commissioning: str
    before: float
    threshold: float
    left_out: int
    accepted: int
    why: str
    rate: float | None
    parts: int
    outcome: str = "open"
    details: str = ""


class Desk:
    """Kept in `file`; from any thread. SettingsError where it cannot be written."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()
        self._opened: dict[str, list[str]] = {}
        self.asked: Asked | None = None
        self.proposals: tuple[Proposed, ...] = ()
        try:
            self._read(json.loads(file.read_text("utf-8")))
        except FileNotFoundError:
            pass  # nobody has prepared anything yet
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:  # whoever looked must look again
            log.warning("what people had prepared cannot be read", file=str(file), error=str(error))

    def opened(self, user: str) -> frozenset[str]:
        """The parts whose pictures this user has opened for a proposal."""
        with self._lock:
            return frozenset(self._opened.get(user, ()))

    def open(self, user: str, result_id: str) -> None:
        """They have had this part's picture."""
        with self._lock:
            known = self._opened.setdefault(user, [])
            if result_id not in known:
                known.append(result_id)
                del known[:-MOST_PICTURES]
                self._write()

    def ask(self, asked: Asked | None) -> None:
        """Begin with the next parts; None: it is over."""
        with self._lock:
            self.asked = asked
            self._write()

    def say(self, result_id: str, word: str | None) -> None:
        """What somebody said of one of the parts that were asked for; None: taken back."""
        with self._lock:
            if self.asked is not None:
                said = {about: one for about, one in self.asked.said.items() if about != result_id}
                self.asked = replace(self.asked, said=said if word is None else {**said, result_id: word})
                self._write()

    def propose(self, proposal: Proposed) -> None:
        """The newest one."""
        with self._lock:
            self.proposals = (proposal, *self.proposals)[:MOST_PROPOSALS]
            self._write()

    def proposal(self, file: str) -> Proposed | None:
        """The one of this name."""
        return next((one for one in self.proposals if one.file == file), None)

    def decide(self, file: str, outcome: str, details: str) -> None:
        """What became of it."""
        with self._lock:
            self.proposals = tuple(
                replace(one, outcome=outcome, details=details) if one.file == file else one for one in self.proposals
            )
            self._write()

    def _read(self, body: dict[str, Any]) -> None:
        opened = {str(user): _texts(ids) for user, ids in body["opened"].items()}
        asked = None if body["asked"] is None else Asked(**body["asked"])
        proposals = tuple(Proposed(**one) for one in body["proposals"])
        self._opened, self.asked, self.proposals = opened, asked, proposals

    def _write(self) -> None:
        asked = None if self.asked is None else asdict(self.asked)
        body = {"opened": self._opened, "asked": asked, "proposals": [asdict(one) for one in self.proposals]}
        write_private(self._file, json.dumps(body))


def _texts(ids: Iterable[Any]) -> list[str]:
    return [str(one) for one in ids]
