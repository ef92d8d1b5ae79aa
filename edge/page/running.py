"""What runs behind the screens: for each station its live feed, its book and its frames, and what all screens share."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

from edge.client import ask
from edge.commands.follow import Verified, verify
from edge.core.bundle import load_bundle
from edge.core.errors import EdgeError
from edge.core.image_health import HealthBands
from edge.page.audit import Audit
from edge.page.book import Book
from edge.page.desk import Desk
from edge.page.frames import Frames
from edge.page.live import Live
from edge.page.model.questions import Questions
from edge.page.model.schema import open_model
from edge.page.sessions import Sessions, Tries
from edge.page.stations import StationSettings
from edge.page.users import FILE, Users

MODEL, SESSIONS, AUDIT = "page.db", "sessions.json", "audit.jsonl"  # in the page's folder, beside the users


@dataclass(frozen=True, slots=True)
class PageSettings:
    """state: the folder for all that the page keeps. is_loopback: served to this machine alone, without TLS."""

    state: Path
    stations: tuple[StationSettings, ...]
    shifts: tuple[time_of_day, ...]
    is_loopback: bool = True
    is_hsts: bool = False


class Station:
    """One station, as the screens see it. changed: called in any thread when there is something new to show."""

    def __init__(self, settings: StationSettings, model: Path) -> None:
        self.settings, self.name = settings, settings.name
        self.changed: Callable[[], None] = lambda: None
        self.live = Live(settings, lambda: self.changed())
        self.book = Book(settings, model, lambda: self.changed())
        self.frames = Frames(settings, self.live.outlines_of)
        self.proof: tuple[int, Future[Verified]] | None = None  # when it was asked for (ms since 1970), what was found
        self.desk = Desk(model.with_name(f"desk-{settings.name}.json"))
        self._bands: tuple[Path, float, HealthBands | None] | None = None

    def start(self) -> None:
        """Listen."""
        for thread in (self.live, self.book, self.frames):
            thread.start()

    def close(self) -> None:
        """Listen no more."""
        for thread in (self.live, self.book, self.frames):
            thread.close()

    def ask(self, verb: str, facts: dict[str, Any], timeout_s: float) -> tuple[str, Any]:
        """One command, over a connection of its own: requests are answered in many threads. Errors as `Control`."""
        return ask(self.settings.control, verb, facts, timeout_s, self.settings.keys)

    def prove(self) -> None:
        """Have all of the journal read, and what does not hold told in `proof`; what is under way goes on."""
        if self.proof is None or self.proof[1].done():
            self.proof = round(1000 * time.time()), self.book.errand(verify)

    def bands(self) -> HealthBands | None:
        """What the bundle calls a healthy picture; None where none is named or it has none; EdgeError as loading."""
        path = self.settings.bundle
        if path is None:
            return None
        try:
            changed_s = path.stat().st_mtime
        except OSError as error:
            raise EdgeError(f"{path}: {error.strerror}; see `bundle` in the page's file of stations") from error
        if self._bands is None or self._bands[:2] != (path, changed_s):
            self._bands = path, changed_s, load_bundle(path).health
        return self._bands[2]


class Page:
    """All that the screens share; `open` before it serves, `close` at its end."""

    def __init__(self, settings: PageSettings) -> None:
        self.settings = settings
        state = settings.state
        open_model(state / MODEL).close()
        self.questions = Questions(state / MODEL)
        self.users, self.audit = Users(state / FILE), Audit(state / AUDIT)
        self.sessions = Sessions(state / SESSIONS, is_loopback=settings.is_loopback)
        self.tries = Tries()
        self.stations = {one.name: Station(one, state / MODEL) for one in settings.stations}

    def open(self) -> None:
        """Begin to listen to the stations."""
        for station in self.stations.values():
            station.start()

    def close(self) -> None:
        """Listen no more; what was read is on disk."""
        for station in self.stations.values():
            station.close()
