"""`python -m edge.demo.render`: the conveyor as a folder of images, laid out as MVTec AD lays out a product.

Training and test parts come from index ranges the stream never reaches, so whoever trains on the folder has
seen no part of the demonstration. Rejected: a layout of our own, which no public evaluation code could read.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np

from edge.core.errors import EdgeError
from edge.core.types import Image
from edge.demo.parts import MATERIALS, TEST_DOMAIN, TRAIN_DOMAIN, DemoPart, render_part

Truth = dict[str, dict[str, str | float | None]]
_OURS = ("train", "test", "ground_truth", "truth.json")


def write_folder(out: Path, material: str, seed: int, good: int, test: int) -> Iterator[Path]:
    """Write `good` training parts and `test` test parts (three in ten defective) to `out`; yields each image's path.

    Raises EdgeError where an image cannot be written. truth.json says complete only once all were written.
    """
    document: dict[str, object] = {
        "material": material,
        "seed": seed,
        "good": good,
        "test": test,
        "complete": False,
        "images": {},
    }
    _write_truth(out, document)
    for index in range(good):
        part = render_part(material, seed, TRAIN_DOMAIN + index, defective=False)
        yield _write(out / "train" / "good" / f"{index:04d}.png", part.image)
    truth: Truth = {}
    numbers: Counter[str] = Counter()
    for index in range(test):
        part = render_part(material, seed, TEST_DOMAIN + index)
        path = _write_test(out, part, numbers)
        truth[path.relative_to(out).as_posix()] = _truth(part)
        yield path
    _write_truth(out, {**document, "complete": True, "images": truth})


def _write_truth(out: Path, document: dict[str, object]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "truth.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _write_test(out: Path, part: DemoPart, numbers: Counter[str]) -> Path:
    kind = part.defect.kind if part.defect else "good"
    name = f"{numbers[kind]:03d}"
    numbers[kind] += 1
    if part.defect:
        mask = part.defect.mask.astype(np.uint8) * np.uint8(255)
        _write(out / "ground_truth" / kind / f"{name}_mask.png", mask)
    return _write(out / "test" / kind / f"{name}.png", part.image)


def _truth(part: DemoPart) -> dict[str, str | float | None]:
    if part.defect is None:
        return {"kind": "good", "size_px": None, "contrast": None}
    return {
        "kind": part.defect.kind,
        "size_px": round(part.defect.size_px, 2),
        "contrast": round(part.defect.contrast, 3),
    }


def _write(path: Path, image: Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise EdgeError(f"{path}: cannot be written; check the folder's permissions and the disk's space")
    return path


def _clear(out: Path, overwrite: bool) -> None:
    """Make room in `out`; with `overwrite` only what an earlier run wrote is removed."""
    if not out.exists() or not any(out.iterdir()):
        return
    if not overwrite:
        raise click.UsageError(f"{out} is not empty; choose another folder, or pass --overwrite to replace its images")
    if not (out / "truth.json").is_file():  # somebody's real product images may lie in the same layout
        raise click.UsageError(f"{out} has no truth.json, so an earlier run did not write it; choose another folder")
    for name in _OURS:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@click.command(context_settings={"show_default": True})
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--material", type=click.Choice(MATERIALS), default=MATERIALS[0], help="What the conveyor carries.")
@click.option("--seed", type=click.IntRange(0, 10**9), default=7, help="Same seed, same images, on any day.")
@click.option("--good", type=click.IntRange(0, 10**6), default=1300, help="Good parts for training.")
@click.option("--test", type=click.IntRange(0, 10**6), default=300, help="Test parts; three in ten have a defect.")
@click.option("--overwrite", is_flag=True, help="Replace the images of an earlier run in OUT.")
def main(out: Path, material: str, seed: int, good: int, test: int, overwrite: bool) -> None:
    """Write parts with known defects to the folder OUT, to try training and evaluation without a camera.

    \b
    OUT/train/good/0000.png              good parts, to train on
    OUT/test/good/000.png                good parts, to test with
    OUT/test/KIND/000.png                parts with a defect of that kind
    OUT/ground_truth/KIND/000_mask.png   white where that defect is
    OUT/truth.json                       kind, longest extent (px) and contrast of every test part

    Contrast is the brightness change over the defect, in standard deviations of the good texture around it: 1.5
    is barely visible, 3 is plain to a careful eye. `--source demo:machined` shows other parts of the same
    product, never one of these.

    \b
    Example:
      python -m edge.demo.render --material machined --good 1300 --test 300 parts/machined
    """
    _clear(out, overwrite)
    try:
        images = write_folder(out, material, seed, good, test)
        with click.progressbar(images, length=good + test, label=str(out)) as bar:
            for _ in bar:
                pass
    except (EdgeError, OSError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
