"""`edge-deploy verify BUNDLE`: proof that an engine gives the reference's verdicts, on the golden sample and on images.

The reference is ONNX Runtime in float32, which the bundle was calibrated and evaluated with. Both engines go through
the daemon's own inspector. The report is kept beside the engines, so that a device can show what it was released on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

import edge
from deploy.drift import ImageDrift, Summary, drift_of, summarise
from deploy.terminal import FILE, FOLDER, ProgressLine
from edge.core.bundle import VARIANTS, Bundle, load_bundle
from edge.core.errors import SettingsError
from edge.core.image_files import IMAGE_SUFFIXES, Found, find_images
from edge.core.images import read_image
from edge.core.types import Frame, Image
from edge.engines import ENGINE_NAMES, Engine, EngineOptions, open_engine
from edge.engines.choice import VERIFICATION_SCHEMA, verification_file
from edge.engines.tensorrt_file import default_folder, private_folder
from edge.inspector import Inspector
from edge.station.golden import check_golden

GOLDEN = "golden sample"


def compare(bundle: Bundle, reference: Engine, other: Engine, images: Sequence[tuple[str, Path]]) -> list[ImageDrift]:
    """The golden sample and every image through both engines; SourceError where an image cannot be read."""
    inspectors = [Inspector(bundle, engine) for engine in (reference, other)]
    drifts = []
    with click.progressbar(list(_frames(bundle, images)), label="comparing", file=sys.stderr) as bar:
        for name, read in bar:
            frame = Frame(read(), 1, 0, datetime.now(timezone.utc), part_id=name)
            drifts.append(drift_of(name, *[inspector.inspect(frame) for inspector in inspectors]))
    return drifts


def _frames(bundle: Bundle, images: Sequence[tuple[str, Path]]) -> Iterator[tuple[str, Any]]:
    yield GOLDEN, lambda: bundle.golden.image
    for name, path in images:

        def read(path: Path = path) -> Image:
            return read_image(path)

        yield name, read


def images_of(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """Name and path of every image below the folders; SettingsError where a folder holds none."""
    found = []
    for folder in folders:
        here = find_images(folder) if folder.is_dir() else Found([], [])
        if not here.images:
            raise SettingsError(
                f"--images {folder}: no image in it ({', '.join(IMAGE_SUFFIXES)}); is it the right one?"
            )
        if here.warning:
            click.echo(f"{folder}: {here.warning}", err=True)
        found += [(str(path.relative_to(folder.parent)), path) for path in here.images]
    return found


def report_of(bundle: Bundle, reference: Engine, engine: Engine, golden: float, summary: Summary) -> dict[str, Any]:
    """What was compared with what, and what came out."""
    return {
        "schema": VERIFICATION_SCHEMA,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "software": edge.__version__,
        "bundle": bundle.digest,
        "product": bundle.manifest.product,
        "reference": f"{reference.name} {reference.version} ({reference.variant})",
        "engine": f"{engine.name} {engine.version} ({engine.variant})",
        "golden_drift": golden,
        **summary.as_json(),
    }


@click.command()
@click.argument("bundle", type=FILE)
@click.option("--engine", type=click.Choice(ENGINE_NAMES), default="auto", show_default=True)
@click.option("--variant", type=click.Choice(VARIANTS.split("|")), help="Precision.  [default: the engine's own]")
@click.option("--images", type=FOLDER, multiple=True, help="Folder of images, good and defective; may be repeated.")
@click.option("--engines", "folder", type=FOLDER, help="Where TensorRT's engines are.  [default: as edge-inspect]")
@click.option("--threads", default=0, show_default=True, help="Threads of a CPU engine; 0 means one a core.")
@click.option("--json", "as_json", is_flag=True, help="Print the report itself.")
def verify(
    bundle: Path,
    engine: str,
    variant: str | None,
    images: tuple[Path, ...],
    folder: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Compare an engine with the reference on BUNDLE's golden sample and on images; exit 1 where a verdict differs.

    float32 and half precision may flip no verdict at all; INT8 none farther from the threshold than its own drift
    (its 99.9th percentile, printed), and nearer ones on 2 % of the images at most.
    """
    loaded, found, line = load_bundle(bundle), images_of(images), ProgressLine()
    kept = private_folder(folder or default_folder())
    with ExitStack() as stack:
        reference = open_engine("onnxruntime", loaded, EngineOptions(threads=threads))
        stack.callback(reference.close)
        options = EngineOptions(
            threads=threads,
            variant=variant,
            folder=folder,
            only_counted=True,
            report=line,
            say=lambda text: click.echo(text, err=True),
        )
        other = open_engine(engine, loaded, options)
        stack.callback(other.close)
        golden = check_golden(loaded, other)
        summary = summarise(compare(loaded, reference, other, found), other.variant)
        report = report_of(loaded, reference, other, golden, summary)
    file = verification_file(kept, loaded.digest, other.name, other.variant)
    file.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")
    click.echo(json.dumps(report, indent=1) if as_json else _text(report, summary))
    click.echo(f"report: {file}", err=True)
    if not summary.passed:
        sys.exit(1)


def _text(report: dict[str, Any], summary: Summary) -> str:
    """The report for a person."""
    lines = [
        f"{report['engine']} against {report['reference']}, golden sample and {summary.images - 1} images",
        f"map drift      {summary.map_drift_max:.2e} standard deviations at most",
        f"score drift    {summary.score_drift_max:.2e} at most, {summary.score_drift_p999:.2e} at p99.9",
        f"of the margin  {100 * summary.fraction_max:.2f} % of a part's distance to the threshold at most",
        f"verdict flips  {len(summary.flips)}" + (f", band {summary.band:.2e}" if summary.band else ""),
        *[f"in the band    {flip}" for flip in summary.flips if str(flip) not in summary.reasons],
        *summary.reasons,
    ]
    if summary.passed:
        how = "no verdict changes but in the band" if summary.flips else "no verdict changes"
        alone = "on the golden sample alone; give --images for a proof"
        lines.append(f"PASSED: {alone if summary.images == 1 else how}")
    else:
        lines.append("NOT PASSED: do not use this engine with this bundle; try --variant fp32, or commission again")
    return "\n".join(lines)
