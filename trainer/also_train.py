"""Images that only learning gets: good parts that a line rejected, as `edge-deploy collect` brings them back.

Students and the neighbours' bank learn them; scale, threshold and estimates never see one: they are the highest scorers
among good parts, and a threshold that looked at them would promise for parts chosen by their score. What judges has
precedence: an image that sets a threshold, or a near copy of one, is not learned. Rejected: any folder (nobody was
shown what a stranger's image would teach), and a share of them for the threshold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge.core.collected import FALSE_REJECT, PAGE, CollectedPart, checked_images, read_collection
from edge.core.errors import TrainingError
from edge.core.images import read_image
from edge.core.preprocess import Size
from trainer.near_copies import groups_of_copies

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AlsoTrain:
    """What was asked for. folders: of `edge-deploy collect`. is_students_only: the bank leaves them alone.

    judging: folders of further images that set the threshold, which are not to be learned.
    """

    folders: tuple[Path, ...] = ()
    is_students_only: bool = False
    judging: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class AlsoTrained:
    """What a run learns besides its training images: absolute paths, and whether the bank leaves them alone."""

    images: tuple[str, ...] = ()
    is_students_only: bool = False

    @property
    def paths(self) -> list[Path]:
        """Of the images."""
        return [Path(image) for image in self.images]

    @property
    def of_bank(self) -> list[Path]:
        """Of those that the neighbours' bank gets."""
        return [] if self.is_students_only else self.paths

    def parts(self) -> Iterator[tuple[Path, CollectedPart | None]]:
        """Each image with what was collected of it; None where its folder no longer says it."""
        known: dict[Path, dict[str, CollectedPart]] = {}
        for path in self.paths:
            if path.parent not in known:
                found = read_collection(path.parent)
                known[path.parent] = {} if found is None else {part.image: part for part in found.parts}
            yield path, known[path.parent].get(path.name)


def choose(also: AlsoTrain, unused: Sequence[Path], frame_size: Size, is_mixed: bool) -> AlsoTrained:
    """The images to learn besides, each once, without copies of `unused` ones, which judge; says what to look at.

    TrainingError for a folder that is no collection of false rejects, or of images of another size than (height,
    width); CollectionError where its images are not what was collected.
    """
    images: dict[str, Path] = {}
    for folder in also.folders:
        for path in _false_rejects(folder):
            height, width = read_image(path).shape[:2]
            if (height, width) != frame_size and not is_mixed:
                raise TrainingError(
                    f"{path}: {width}×{height} pixels, the good images have {frame_size[1]}×{frame_size[0]}: is it of "
                    "another product or camera? Collect with --product"
                )
            images.setdefault(path.name, path.resolve())
    chosen = _without_copies(list(images.values()), unused)
    if also.folders and not chosen:
        raise TrainingError("--also-train: nothing is left to learn; every image judges, or is a copy of one that does")
    _tell(chosen)
    return AlsoTrained(tuple(map(str, chosen)), also.is_students_only and bool(chosen))


def _false_rejects(folder: Path) -> list[Path]:
    found = read_collection(folder)
    if found is None:
        raise TrainingError(
            f"--also-train {folder}: edge-deploy collect did not write it, so nobody was shown what it would teach; "
            f"good images of any other kind belong among the good ones"
        )
    if found.is_sample:
        raise TrainingError(f"--also-train {folder}: drawn before the verdict, so it may judge: --more-good {folder}")
    if found.label != FALSE_REJECT:
        raise TrainingError(f"--also-train {folder}: labelled {found.label}, not {FALSE_REJECT}; not to be learned")
    return checked_images(folder, found)


def _without_copies(images: Sequence[Path], unused: Sequence[Path]) -> list[Path]:
    if not images:
        return []
    first = groups_of_copies([*unused, *images])[len(unused) :]
    chosen = []
    for path, group in zip(images, first, strict=True):
        if group < len(unused):
            log.warning("not learned: a copy of an image that judges", image=str(path), of=str(unused[group]))
        else:
            chosen.append(path)
    return chosen


def _tell(images: Sequence[Path]) -> None:
    for folder, count in Counter(path.parent for path in images).items():
        log.warning(
            "look at each of these first",
            page=str(folder / PAGE),
            images=count,
            why="what is learned as good is not found any more: a wrong click hides that very defect",
        )
