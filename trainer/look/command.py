"""The command `edge-train look`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge.core.files import require_room
from trainer.good_images import check_good_images
from trainer.look.record import look_first
from trainer.options import FILE, FOLDER, INPUT_SIZE, MIXED_SIZES, RESIZE, YES_GOOD, Polygon
from trainer.progress import say
from trainer.resizing import SQUARE
from trainer.runs import Product

SHEET_BYTES = 32 << 20  # more than the sheet and the page take


@click.command()
@click.argument("good_dir", type=FOLDER)
@click.option("--roi", type=Polygon(), default=(), help="Only look inside this polygon.")
@click.option("--ignore", type=Polygon(), multiple=True, help="Never look inside this polygon; may be repeated.")
@INPUT_SIZE
@MIXED_SIZES
@click.option("--out", type=FILE, default="look.png", show_default=True, help="The picture sheet to write.")
@click.option("--strict", is_flag=True, help="Exit with 1 where something is found.")
@YES_GOOD
def look(
    good_dir: Path,
    roi: tuple[Any, ...],
    ignore: tuple[tuple[Any, ...], ...],
    input_size: tuple[int, int] | None,
    mixed_sizes: str,
    out: Path,
    strict: bool,
    meant: tuple[str, ...],
) -> None:
    """Look at good images before training: copies, exposure, blur, and likely defects among them.

    Writes a picture sheet with names, and a page on which a region is drawn with the mouse and its --roi or --ignore
    copied; half a minute to a minute for 300 images, and nothing is trained. Images are compared with each other, each
    left out of its own comparison, so the least alike are worth a look even when none is flagged. `fit` does the same
    by itself.
    """
    sheet = out.with_suffix(".png")
    require_room(sheet.parent, SHEET_BYTES, "the sheet")
    found = check_good_images(good_dir, 1, is_mixed=mixed_sizes == RESIZE, meant=meant)
    asked = Product(good_dir.name, input_size or SQUARE, roi, ignore=ignore, is_usual_size=input_size is None)
    product = asked.for_frames(found.frame_size)
    told = look_first(found, product.geometry(found.frame_size), sheet, strict=strict, meant=meant)
    say(f"{len(told)} kinds of findings among {len(found.paths)} images; the least alike are on {sheet}")
    say(f"draw the region to inspect on {sheet.with_suffix('.html')}")
