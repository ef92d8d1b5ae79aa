"""Another bundle, or another threshold, while the line runs: made beside it, taken at a frame boundary, kept for going
back.

Loading takes seconds, so a thread does it; the loop looks between two frames whether one is ready and swaps it in one
assignment. What is refused changes nothing. Rejected: restarting the daemon (parts pass meanwhile), and swapping engine
and thresholds one after the other (a result in between would name neither bundle).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import structlog

from edge.core.bundle import Bundle
from edge.core.errors import BundleError
from edge.core.types import Inspection
from edge.inspector import Inspector
from edge.security.trust import Trust
from edge.station.prove import Prover
from edge.station.thresholds import Thresholds

MOST_REJECTS = 256  # between a check and the frame boundary after it there are one or two
CLOSE_S = 1.0  # a thread that hangs in a library is left behind then
OpenBundle = Callable[[Bundle], Inspector]
_Found = TypeVar("_Found")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """What a threshold's change was checked against: what ran, and the frame id of the last part that was told.

    says: what whoever asked is told when it is taken.
    """

    basis: Inspector
    told_id: int
    says: str


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """An inspector that is ready, and the promise to tell when it was taken.

    move: where only the threshold is another one, on the engine that runs.
    """

    inspector: Inspector
    told: Future[str]
    move: Move | None = None

    def drop(self, why: str) -> None:
        """It is not taken."""
        if self.move is None:
            self.inspector.engine.close()
        self.told.set_exception(BundleError(why))


class Recipes:
    """Changes the bundle of a running station.

    open_bundle: an inspector that has passed its golden sample; called in a thread of its own. current: what runs.
    trust: the door that every bundle comes through; one that ran comes back through ROLLBACK all the same.
    commission: gives a bundle its commissioning; one that is gone back to keeps what it had. Frames of another size
    than the current bundle's are refused when `is_live`: that camera was set up for it. prover: for what has not run
    here yet; None where nothing is proved. thresholds: what stands, and may not rise in passing. previous: what
    ran before, where a start knows it.
    """

    def __init__(
        self,
        current: Inspector,
        open_bundle: OpenBundle,
        trust: Trust,
        *,
        is_live: bool,
        prover: Prover | None = None,
        commission: Callable[[Bundle], Bundle] = lambda bundle: bundle,
        thresholds: Thresholds | None = None,
        previous: Bundle | None = None,
    ) -> None:
        self._open_bundle, self._trust, self._is_live = open_bundle, trust, is_live
        self._commission, self._prover = commission, prover
        self._thresholds = thresholds or Thresholds()
        self._rejects: deque[tuple[int, float]] = deque(maxlen=MOST_REJECTS)  # the loop's last: frame id and score
        self._current = current
        self._previous = previous
        self._ready: Change | None = None
        self.is_ready = False  # whether `due` has a change to make
        self._lock = threading.Lock()
        self._is_closing = False
        self._changing = 0  # commands that are not answered yet
        self._tasks: SimpleQueue[tuple[Callable[[], None], Future[Any]] | None] = SimpleQueue()
        self._loader = threading.Thread(target=self._work, name="recipe", daemon=True)
        self._loader.start()

    @property
    def runs(self) -> str:
        """The hash of the bundle that judges parts now."""
        return self._current.bundle.digest

    @property
    def why_busy(self) -> str | None:
        """Why no part can be promised a recipe now; None when one can."""
        return "a recipe is being changed" if self._changing else None

    @property
    def current(self) -> Inspector:
        """What judges parts now."""
        return self._current

    def change(self, path: Path, digest: str | None = None) -> Future[str]:
        """Load this bundle; done once a frame boundary has taken it. BundleError or EngineError: nothing changed.

        digest: what it must be, where it is a line of the recipe table.
        """
        return self._prepare(partial(self._load, path, digest))

    def roll_back(self) -> Future[str]:
        """Take the bundle from before the last change, as it was then, whatever became of its file."""
        return self._prepare(self._require_previous)

    @property
    def previous(self) -> Bundle | None:
        """What ran before the last change, as it was then; None where that is not known."""
        return self._previous

    def move(self, bundle: Bundle, move: Move) -> Future[str]:
        """What `move` is based on, as `bundle`, which is the same but for its threshold; done as `change` is."""
        told = self._asked()
        with ExitStack() as failing:
            failing.push(partial(_tell_failure, told))
            inspector = move.basis.rejudged(bundle)
            self._offer(Change(inspector, told, move))
        return told

    def rejected(self, inspection: Inspection) -> None:
        """A part was, and is to be told: from the inspection loop."""
        if inspection.score is not None and not inspection.is_simulated:
            self._rejects.append((inspection.frame_id, inspection.score))

    def due(self) -> Change | None:
        """The change to make now, at most once each; from the inspection loop."""
        with self._lock:
            change, self._ready, self.is_ready = self._ready, None, False
        if change is None:
            return None
        try:
            self._require_sound(change)
        except BundleError as error:  # by what has been since it was made ready
            change.drop(str(error))
            return None
        return change

    def _require_sound(self, change: Change) -> None:
        move, threshold = change.move, change.inspector.image_threshold
        if move is None:
            self._thresholds.require_kept(change.inspector)
            return
        if move.basis is not self._current:
            raise BundleError("another change came before this one was taken")
        since = [(part, score) for part, score in self._rejects if part > move.told_id]
        if threshold > move.basis.image_threshold and (
            len(since) == MOST_REJECTS or any(score <= threshold for _, score in since)
        ):
            raise BundleError("a part was rejected meanwhile that would pass; look at it, and propose it again")

    def taken(self, change: Change) -> Inspector:
        """The loop runs it from the next frame on; gives the old inspector, whose engine the loader closes."""
        old, self._current = self._current, change.inspector
        self._previous = old.bundle
        self._trust.ran(change.inspector.bundle)
        manifest = change.inspector.bundle.manifest
        says = f"{manifest.product} version {manifest.version} from the next frame on"
        change.told.set_result(says if change.move is None else change.move.says)
        if change.move is None:
            self._tasks.put((old.engine.close, Future()))
        return old

    def close(self) -> None:
        """Forget what is not taken yet; old engines are closed, unless that takes more than CLOSE_S."""
        self._is_closing = True
        if self._prover is not None:
            self._prover.close()
        self._tasks.put(None)
        self._loader.join(CLOSE_S)
        if self._loader.is_alive():
            log.error("a bundle is still being loaded; it is left behind", waited_s=CLOSE_S)
        change = self.due()
        if change is not None:
            change.drop("the station stopped before the bundle was taken")

    def work(self, task: Callable[[], _Found]) -> Future[_Found]:
        """Have the loader's thread do what takes long; what it gives, or what was raised."""
        told: Future[_Found] = Future()
        self._tasks.put((lambda: told.set_result(task()), told))
        return told

    def _asked(self) -> Future[str]:
        told: Future[str] = Future()
        with self._lock:
            self._changing += 1
        told.add_done_callback(self._note_answered)
        return told

    def _offer(self, change: Change) -> None:
        with self._lock:
            overtaken, self._ready, self.is_ready = self._ready, change, True
        if overtaken is not None:
            overtaken.drop("another change came before this one was taken")

    def _prepare(self, find: Callable[[], Bundle]) -> Future[str]:
        told = self._asked()

        def load() -> None:
            if self._is_closing:
                raise BundleError("the station stops; ask again after its next start")
            bundle = find()
            self._require_same_frames(bundle)
            self._offer(Change(self._open_bundle(bundle), told))

        self._tasks.put((load, told))
        return told

    def _load(self, path: Path, digest: str | None) -> Bundle:
        """One that has been proved: in this process a hostile graph could not be stopped."""
        bundle = self._commission(self._trust.load(path))
        if digest not in (None, bundle.digest):
            raise BundleError(
                f"bundle {path}: the recipe table says {digest[:12]}…, and the file is {bundle.digest[:12]}…; if this "
                "file is meant, give it its number again (edge-deploy recipes)"
            )
        self._require_same_frames(bundle)
        if self._prover is not None:
            self._prover.prove(bundle)
        return bundle

    def _work(self) -> None:
        """The loader's thread: a thread of our own, because the interpreter waits for those of a pool when it ends."""
        while (task := self._tasks.get()) is not None:
            work, told = task
            with ExitStack() as failing:
                failing.push(partial(_tell_failure, told))
                work()

    def _note_answered(self, told: Future[str]) -> None:
        with self._lock:
            self._changing -= 1

    def _require_same_frames(self, bundle: Bundle) -> None:
        wanted, given = bundle.manifest.geometry.frame_size, self._current.geometry.frame_size
        if self._is_live and wanted != given:
            raise BundleError(
                f"bundle {bundle.where}: made for frames of {wanted[1]}×{wanted[0]} px, this camera gives "
                f"{given[1]}×{given[0]}; restart with the camera set to that, or fit a bundle on its images"
            )

    def _require_previous(self) -> Bundle:
        if self._previous is None:
            raise BundleError("there is no bundle to go back to: it has not been changed since the start")
        return self._previous


def _tell_failure(told: Future[Any], kind: object, error: BaseException | None, trace: object) -> bool:
    """Whatever it was, whoever asked hears of it, and the next task is begun."""
    if error is not None:
        told.set_exception(error)
    return error is not None
