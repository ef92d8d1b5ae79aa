"""The command `edge-train look`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from trainer.good_images import check_good_images
from trainer.look.record import look_first
from trainer.options import FILE, FOLDER, INPUT_SIZE, MIXED_SIZES, RESIZE, Polygon
from trainer.runs import Product


@click.command()
@click.argument("good_dir", type=FOLDER)
@click.option("--roi", type=Polygon(), default=(), help="Only look inside this polygon.")
@click.option("--ignore", type=Polygon(), multiple=True, help="Never look inside this polygon; may be repeated.")
@INPUT_SIZE
@MIXED_SIZES
@click.option("--out", type=FILE, default="look.png", show_default=True, help="The picture sheet to write.")
@click.option("--strict", is_flag=True, help="Exit with 1 where something is found.")
def look(
    good_dir: Path,
    roi: tuple[Any, ...],
    ignore: tuple[tuple[Any, ...], ...],
    input_size: tuple[int, int],
    mixed_sizes: str,
    out: Path,
    strict: bool,
) -> None:
    """Look at good images before training: copies, exposure, blur, and likely defects among them.

    Writes a picture sheet with names; half a minute to a minute for 300 images, and nothing is trained. Images are
    compared with each other, each left out of its own comparison, so the least alike are worth a look even when none
    is flagged. `fit` does the same by itself.
    """
    found, sheet = check_good_images(good_dir, 1, mixed_sizes == RESIZE), out.with_suffix(".png")
    product = Product(good_dir.name, input_size, roi, ignore=ignore)
    findings = look_first(found, product.geometry(found.frame_size), sheet, strict)
    for finding in findings:
        click.echo(finding)
    click.echo(f"{len(findings)} findings among {len(found.paths)} images; the least alike are on {sheet}")
