"""Images of parts that came back from a line, and where each comes from: what `edge-deploy collect` writes.

A folder holds the images, each named by its content, and one file that says of each which record it is of, what the
station said of it and who said what afterwards. Chosen by what people said, they are for learning only: the highest
scorers among good parts would move every threshold. Drawn before the verdict they may set one. The file says which.
Rejected: names of folders for that (they are changed by whoever copies them), and a file beside each image.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.core.errors import EdgeError

FILE, PAGE = "collected.json", "collected.html"
FALSE_REJECT = "false_reject"  # the label of good parts that were rejected
FORMAT = 1
_IMAGE = re.compile(r"[0-9a-f]{64}\.png")


class CollectionError(EdgeError):
    """A folder that is no sound collection, or none for this use; the message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Region:
    """What was reported on a part, in pixels of its image: x, y, width, height, and the outline's points."""

    box_px: tuple[int, int, int, int]
    polygon_px: tuple[tuple[int, int], ...]
    score: float
    area_px: float
    driven_by: str


@dataclass(frozen=True, slots=True)
class CollectedPart:
    """One image and its provenance. image: its file's name, the content's SHA-256; regions: the strongest first.

    score, threshold: by the recipe that inspected it, whose bundle and commissioning the hashes name. actor, said: who
    labelled it, and when; None where nobody did.
    """

    image: str
    result_id: str
    created: str
    part_id: str | None
    verdict: str
    score: float
    threshold: float
    regions: tuple[Region, ...]
    recipe: str
    recipe_version: str
    recipe_hash: str
    commissioning_hash: str | None = None
    actor: str | None = None
    said: str | None = None

    @property
    def name(self) -> str:
        """For people: the part's id, or its record's."""
        return self.part_id or self.result_id


@dataclass(frozen=True, slots=True)
class Collection:
    """A folder of them. label: by which they were chosen, None for a sample drawn before the verdict.

    share: of all parts in that sample. station: site/line/station; since: of a sample, from when on it is complete.
    """

    label: str | None
    share: float | None
    station: str
    collected: str
    parts: tuple[CollectedPart, ...]
    since: str | None = None

    @property
    def is_sample(self) -> bool:
        """Whether it may judge: nothing of it was chosen by how it scored."""
        return self.label is None


def write_collection(collection: Collection) -> bytes:
    """As the file's content."""
    return f"{json.dumps({'format': FORMAT, **asdict(collection)}, indent=1, allow_nan=False)}\n".encode()


def read_collection(folder: Path) -> Collection | None:
    """What the folder's file says; None where there is none; CollectionError where it is damaged."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return _parsed(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CollectionError(f"{file}: damaged ({error!r}); collect it again into another folder") from error


def labelled_below(folder: Path) -> tuple[Path, str] | None:
    """The first folder, this one or one below, whose images were chosen by a label, and the label; None without."""
    for file in sorted(folder.rglob(FILE)):
        found = read_collection(file.parent)
        if found is not None and found.label is not None:
            return file.parent, found.label
    return None


def checked_images(folder: Path, collection: Collection) -> list[Path]:
    """The files of its parts, each of the content that its name says; CollectionError names the first that is not."""
    paths = [folder / part.image for part in collection.parts]
    for path in paths:
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise CollectionError(f"{path}: {error.strerror}; collect it again into another folder") from error
        if digest != path.stem:
            raise CollectionError(f"{path}: not what was collected (its SHA-256 is {digest}); collect it again")
    return paths


def _parsed(body: Mapping[str, Any]) -> Collection:
    if body["format"] != FORMAT:
        raise ValueError(f"format {body['format']!r}; this version knows {FORMAT}")
    facts = {name: value for name, value in body.items() if name not in ("format", "parts")}
    return Collection(**facts, parts=tuple(_part(one) for one in body["parts"]))


def _part(body: Mapping[str, Any]) -> CollectedPart:
    part = CollectedPart(**{**body, "regions": tuple(_region(one) for one in body["regions"])})
    if not _IMAGE.fullmatch(part.image):
        raise ValueError(f"image {part.image!r}")
    if not (math.isfinite(part.score) and math.isfinite(part.threshold)):
        raise ValueError(f"score {part.score!r}, threshold {part.threshold!r}")
    return part


def _region(body: Mapping[str, Any]) -> Region:
    x, y, width, height = body["box_px"]
    polygon = tuple((int(px), int(py)) for px, py in body["polygon_px"])
    box = (int(x), int(y), int(width), int(height))
    return Region(box, polygon, float(body["score"]), float(body["area_px"]), str(body["driven_by"]))
