"""Which bundle a start runs, and why: what ran before it, as long as --bundle names what it named then; else that.

A RECIPE is an order for the line, so a power cut must not undo it; and whoever changes the flag, or the file that it
names, wants that one. What ran and cannot run now stops the start: never another product in silence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from edge.core.archive import read_file
from edge.core.bundle import Bundle
from edge.core.errors import BuildStopped, BundleError, EngineError, SettingsError
from edge.history.last_recipe import Before, LastRecipe, before_start
from edge.station.settings import Settings
from edge.station.thresholds import Thresholds
from edge.wire.facts import RecipeChoice

BY_COMMAND = "a command changed it"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The settings whose bundle is the one to run, and what is told and remembered of that choice."""

    settings: Settings
    recipe: RecipeChoice
    thresholds: Thresholds

    @property
    def is_last(self) -> bool:
        """Whether another bundle runs than the one that --bundle names."""
        return self.recipe.path != self.recipe.flag_path

    @contextmanager
    def or_say_why(self) -> Iterator[None]:
        """What fails in here keeps the bundle from running: BundleError says that it ran last, and what to do."""
        try:
            yield
        except BuildStopped:
            raise
        except (BundleError, EngineError, SettingsError) as error:
            if not self.is_last:
                raise
            raise BundleError(
                f"--recipe last: {self.recipe.path} ran before this start and cannot run now: {error}; put that right, "
                f"or start with --recipe start to run --bundle {self.recipe.flag_path}"
            ) from error

    def changed_to(self, bundle: Bundle) -> RecipeChoice:
        """The choice when a command has changed the bundle."""
        return replace(self.recipe, path=_absolute(Path(bundle.where)), why=BY_COMMAND)


def choose(settings: Settings, may_salvage: bool = True, *, reads_journal: bool = True) -> Chosen:
    """Look at the flags and the journal; logs the choice. BundleError where what ran last is another file now.

    may_salvage and other errors: as `before_start`. reads_journal: False beside a station that has it.
    """
    flag, journal = settings.bundle.path, settings.journal.path
    named = _absolute(flag), _digest(flag)
    before = before_start(journal, may_salvage) if journal is not None and reads_journal else Before()
    last = None if settings.bundle.recipe == "start" else before.recipe
    path, why = _choice(settings.bundle.recipe, named, last)
    chosen = Chosen(replace(settings, bundle=replace(settings.bundle, path=path or flag)), RecipeChoice(
        path=named[0] if path is None else str(path), why=why, flag_path=named[0], flag_digest=named[1]
    ), Thresholds(before.fits))  # fmt: skip
    log.info("recipe", bundle=chosen.recipe.path, why=why)
    if path is not None and last is not None:
        with chosen.or_say_why():
            _require_same(path, last.digest)
    return chosen


def _choice(recipe: str, named: tuple[str, str], last: LastRecipe | None) -> tuple[Path | None, str]:
    """What to run in place of what --bundle names, if anything; and why."""
    if recipe == "start":
        return None, "--bundle names it, and --recipe is start"
    if last is None:
        return None, "--bundle names it, and nothing is remembered of an earlier run"
    if named != (last.flag_path, last.flag_digest):
        return None, "--bundle names it, and named another file at the last start"
    if last.path == named[0]:
        return None, "--bundle names it, and it ran before this start"
    return Path(last.path), "a command changed to it before this start, and --bundle names the same file as then"


def _require_same(path: Path, digest: str) -> None:
    if (now := hashlib.sha256(read_file(path)).hexdigest()) != digest:
        raise BundleError(f"bundle {path}: the file has changed since: it was {digest[:12]}…, and is {now[:12]}…")


def _digest(path: Path) -> str:
    """Of the file; none where it cannot be read: loading it says why, if it is to run."""
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except BundleError:
        return ""


def _absolute(path: Path) -> str:
    return str(path.absolute())
