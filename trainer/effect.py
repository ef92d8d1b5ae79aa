"""What learning the false rejects of a line did: to each one's score, and to how many planted defects are found.

Whoever teaches a bundle to accept something teaches it to be blind to it. So the very same defects are planted on the
same unused images for the bundle before and the one after, and what only the one before found is said. A score after
is of an image that was learned: it says that the lesson took, and nothing of other parts. Rejected: a fit without them
to compare with (twice the time; the bundle that rejected them is there).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.core.archive import read_file
from edge.core.bundle import Bundle, load_bundle
from edge.core.calibration import Calibration
from edge.core.collected import CollectedPart
from edge.core.errors import BundleError
from edge.core.files import write_whole
from edge.core.images import read_image
from edge.core.preprocess import Geometry
from edge.core.scoring import scores_of
from edge.core.types import Image
from edge.engines import Engine
from trainer.calibrate import Calibrated, opened
from trainer.forecast import planted_cells
from trainer.runs import Run

BEFORE = "before.bundle"


@dataclass(frozen=True, slots=True)
class PartEffect:
    """One learned image. part: what was collected of it, with score and threshold on the line; None where not known."""

    image: Path
    part: CollectedPart | None
    score: float
    threshold: float

    @property
    def is_accepted(self) -> bool:
        """Whether the new bundle passes it."""
        return self.score <= self.threshold

    @property
    def name(self) -> str:
        """For people."""
        return self.image.name if self.part is None else self.part.name


@dataclass(frozen=True, slots=True)
class Planted:
    """The same defects before and after. planted: how many; lost: found before only; gained: after only."""

    planted: int
    before: int
    after: int
    lost: int
    gained: int


@dataclass(frozen=True, slots=True)
class Effect:
    """before: of the bundle that is compared with, its file's SHA-256; None without, and why_not says it."""

    parts: tuple[PartEffect, ...]
    is_students_only: bool
    planted: Planted | None
    before: str | None
    why_not: str | None = None

    def lines(self) -> list[str]:
        """For people."""
        passed = sum(one.is_accepted for one in self.parts)
        who = "students" if self.is_students_only else "students and neighbours"
        told = [f"{who} also learned {len(self.parts)} false rejects: {passed} of them pass now"]
        if self.planted is None:
            return [*told, f"planted defects before and after: not compared: {self.why_not}"]
        one = self.planted
        changed = f"{one.lost} lost, {one.gained} gained"
        return [*told, f"of {one.planted} planted defects {one.before} were found before, {one.after} now: {changed}"]

    def provenance(self) -> dict[str, Any]:
        """For the manifest."""
        ids = [one.image.stem if one.part is None else one.part.result_id for one in self.parts]
        return {
            "images": len(self.parts),
            "students_only": self.is_students_only,
            "accepted": sum(one.is_accepted for one in self.parts),
            "before": self.before,
            "planted": None if self.planted is None else asdict(self.planted),
            "result_ids": ids,
        }


def kept_bundle(run: Run, said: Path | None, bundle: Path) -> Bundle | None:
    """The bundle that was said, BundleError where it is none; else the one that is there before the new is written.

    Copied into the run, so that a step that is repeated compares with the same; None where there never was one.
    """
    kept = run.folder / BEFORE
    if said is not None:
        write_whole(kept, read_file(said))
    elif not kept.exists() and bundle.exists():
        write_whole(kept, read_file(bundle))
    try:
        return load_bundle(kept) if kept.exists() else None
    except BundleError:
        if said is not None:
            raise
        return None


def effect_of(run: Run, calibrated: Calibrated, before: Bundle | None) -> Effect:
    """Score what was learned, and plant the same defects for both bundles; both are run in the reference engine."""
    graphs, now = calibrated.graphs[0], calibrated.reference
    images, geometry, seed = calibrated.images.judging, run.geometry, run.students.seed
    with closing(opened(graphs, geometry)) as engine:
        parts = tuple(_part(run, engine, now, path, part) for path, part in run.also.parts())
        if why_not := _why_not(before, geometry):
            digest = None if before is None else before.digest
            return Effect(parts, run.also.is_students_only, None, digest, why_not)
        after = _found(engine, now, images, geometry, seed)
    assert before is not None  # or there was a reason
    then = before.manifest.calibration(before.manifest.reference_variant)
    with closing(opened(before.graph_set(before.manifest.reference_variant), geometry)) as engine:
        earlier = _found(engine, then, images, geometry, seed)
    pairs = list(zip(earlier, after, strict=True))
    lost, gained = (sum(pair == one for pair in pairs) for one in ((True, False), (False, True)))
    planted = Planted(len(pairs), sum(earlier), sum(after), lost, gained)
    return Effect(parts, run.also.is_students_only, planted, before.digest)


def _why_not(before: Bundle | None, geometry: Geometry) -> str | None:
    if before is None:
        return "no bundle to compare with; name the one that rejected them: --before BUNDLE"
    if before.manifest.geometry != geometry:
        return f"{before.manifest.product} version {before.manifest.version} looks at another region or in another size"
    return None


def _part(run: Run, engine: Engine, now: Calibration, path: Path, part: CollectedPart | None) -> PartEffect:
    frame = read_image(path)
    here = run.geometry.for_frame((frame.shape[0], frame.shape[1]))
    score = scores_of(engine.infer(here.to_input(frame)), now.stats, now.fusion, run.geometry)[0]
    return PartEffect(path, part, score, now.image_threshold)


def _found(
    engine: Engine, calibration: Calibration, images: Sequence[Image], geometry: Geometry, seed: int
) -> list[bool]:
    """Of each planted defect, in the order of planting, whether it is found."""
    found: list[bool] = []

    def judge(image: Image) -> bool:
        score = scores_of(engine.infer(image), calibration.stats, calibration.fusion, geometry)[0]
        found.append(score > calibration.image_threshold)
        return found[-1]

    planted_cells(images, geometry, judge, seed)
    return found
