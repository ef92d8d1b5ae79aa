"""The good images of one product: found, checked by name, and read at input size.

What is wrong with a folder is said before hours of training, with the names of the files: damaged
images, a category's root in place of its good images, sizes or colours that do not belong together,
exact copies (a copy in two splits would break the calibration's promise).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import structlog

from edge.core import image_files
from edge.core.collected import labelled_below
from edge.core.errors import TrainingError
from edge.core.image_measures import Sketch, sketch
from edge.core.images import read_image
from edge.core.preprocess import Geometry, Size
from edge.core.types import Image
from trainer.data import list_images
from trainer.folder_names import says_bad, says_good, says_structure
from trainer.progress import counted

log = structlog.get_logger()

KEPT_BYTES = 256 << 20
MINIMUM = 20
WANTED = 100
MEANT_ADVICE = "if it is good all the same, say so: --yes-good NAME"


@dataclass(frozen=True, slots=True)
class GoodImages:
    """Distinct good images, and the copies that were left out, each with its original.

    frame_size: (height, width) of all of them, or of most where sizes are mixed. left_out: what is said of files beside
    them that are not read; None where there are none.
    """

    paths: tuple[Path, ...]
    frame_size: Size
    copies: tuple[tuple[Path, Path], ...]
    left_out: str | None = None


def check_good_images(
    folder: Path, minimum: int = MINIMUM, *, is_mixed: bool = False, meant: Collection[str] = ()
) -> GoodImages:
    """The folder's good images, each once; TrainingError names what does not belong.

    is_mixed: images of several sizes do belong, as crops of parts come; each is resized. meant: names of folders that
    hold good images whatever they seem to say.
    """
    paths = list_images(folder)
    _refuse_labelled(folder)
    _refuse_structure(folder, paths, meant)
    sizes: list[Size] = []
    grey: list[bool] = []
    digests: dict[str, Path] = {}
    kept: list[Path] = []
    copies: list[tuple[Path, Path]] = []
    for path in counted(paths, "reading good images", len(paths)):
        image = read_image(path)
        digest = _digest(image)
        if digest in digests:
            copies.append((path, digests[digest]))
            continue
        digests[digest] = path
        kept.append(path)
        sizes.append((image.shape[0], image.shape[1]))
        grey.append(bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all()))
    if not is_mixed:
        advice = "sort them out, or resize them all: --mixed-sizes resize"
        _refuse_minority(folder, kept, [f"{w}×{h}" for h, w in sizes], "pixels", advice)
    _refuse_minority(folder, kept, ["grey" if g else "colour" for g in grey], "images")
    if len(kept) < minimum:
        raise TrainingError(
            f"{folder}: {len(kept)} distinct images; {MINIMUM} good ones are the least that can be fitted and "
            f"calibrated, {WANTED} or more are wanted, 1,495 promise 1 % false rejects (299 of them unused)"
        )
    if len(kept) < WANTED and minimum == MINIMUM:
        log.warning("few good images", have=len(kept), wanted=WANTED)
    return GoodImages(
        tuple(kept), Counter(sizes).most_common(1)[0][0], tuple(copies), image_files.find_images(folder).warning
    )


def _refuse_labelled(folder: Path) -> None:
    if (labelled := labelled_below(folder)) is not None:
        raise TrainingError(
            f"{labelled[0]}: images that people labelled {labelled[1]}, chosen by how they scored: they would void the "
            "promise; what learns may have them (--also-train), and a threshold only edge-deploy collect --sample"
        )


def image_digest(path: Path) -> str:
    """SHA-256 of an image's pixels: the same for a copy under another name or in another format."""
    return _digest(read_image(path))


def _digest(image: Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def _refuse_structure(folder: Path, paths: Sequence[Path], meant: Collection[str]) -> None:
    """Refuse a folder whose sub-folders say that more than good images are in it; any other is a capture session.

    Names are looked at at every depth; "good" is refused only beside other sub-folders, which are then most likely
    kinds of defects.
    """
    inside = [path.relative_to(folder).parts[:-1] for path in paths]
    wrong = {
        "/".join(parts[: i + 1])
        for parts in inside
        for i, name in enumerate(parts)
        if says_structure(name) or says_bad(name)
    }
    first = {parts[0] for parts in inside if parts}
    if len(first) > 1 and (beside := {name for name in first if says_good(name)}):
        wrong |= first - beside
    if says_bad(own := folder.resolve().name) and not any(map(says_good, first)):
        wrong.add(own)
    wrong = {name for name in wrong if not set(name.split("/")) & set(meant)}
    if not wrong:
        return
    named = [folder / "train" / "good", *sorted(folder / name for name in first if says_good(name))]
    good = next((path for path in named if path.is_dir()), None)
    advice = f"did you mean {good}?" if good else "give a folder of good images only; sub-folders are capture sessions"
    named_wrong = ", ".join(sorted(wrong))
    raise TrainingError(f"{folder}: it holds {named_wrong}, not only good images; {advice}; {MEANT_ADVICE}")


def _refuse_minority(
    folder: Path, paths: Sequence[Path], kinds: Sequence[str], what: str, advice: str = "sort them out"
) -> None:
    """Refuse images of several kinds; names those of the rarer ones."""
    common, _ = Counter(kinds).most_common(1)[0]
    odd = [f"{path.relative_to(folder)} ({kind})" for path, kind in zip(paths, kinds, strict=True) if kind != common]
    if odd:
        shown = ", ".join(odd[:8]) + (f" and {len(odd) - 8} more" if len(odd) > 8 else "")
        raise TrainingError(f"{folder}: most images are {common} {what}, but not {shown}; {advice}")


class InputImages(Sequence[Image]):
    """Images cropped to the ROI and resized as the daemon does: (h, w, 3) uint8 BGR each, read when asked for.

    The first KEPT_BYTES of them stay in memory, which are all unless they are large. Rejected: the newest instead of
    the first (training goes through all of them in turn, so none would still be there).
    """

    def __init__(self, paths: Sequence[Path], geometry: Geometry) -> None:
        self._paths, self._geometry = paths, geometry
        self._kept: dict[int, Image] = {}
        self._room = KEPT_BYTES

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> list[Image]: ...
    def __getitem__(self, index: int | slice) -> Image | list[Image]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]  # IndexError beyond the end, as of any sequence
        if place in self._kept:
            return self._kept[place]
        frame = read_image(self._paths[place])
        image = self._geometry.for_frame((frame.shape[0], frame.shape[1])).to_input(frame)
        if image.nbytes <= self._room:
            self._room -= image.nbytes
            self._kept[place] = image
        return image

    def sketches(self) -> Iterator[Sketch]:
        """What the health gate measures of each, of its frame's own rows too; read anew."""
        for path in counted(self._paths, "light of unused images", len(self._paths)):
            frame = read_image(path)
            yield sketch(*self._geometry.for_frame((frame.shape[0], frame.shape[1])).views(frame))
