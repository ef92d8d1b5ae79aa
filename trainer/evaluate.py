"""`edge-train evaluate`: a bundle on a labelled test set, measured through the very code that ships.

The bundle runs in `edge.Inspector`, so figures include export, quantisation, geometry and thresholds. Rejected:
evaluating the training networks (exported scores that differ would go unnoticed).
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import click
import cv2

import edge
from edge.core.bundle import VARIANTS, load_bundle
from edge.core.images import read_image
from edge.core.types import Image, Verdict
from edge.engines import EngineOptions, open_engine
from edge.inspector import Inspector
from trainer.dataset import GOOD, Sample, list_samples, parse_dataset
from trainer.report.figures import report_on
from trainer.report.html import html_report
from trainer.report.inspected import Inspects, Record, Scored, inspect_all
from trainer.report.report import Report, Subject, format_table
from trainer.report.sheet import COLUMNS, Cell, draw_sheet, worst_median_best


def sheet_of(inspector: Inspects, records: Sequence[Record], report: Report) -> Image:
    """The picture sheet: worst, median and best defective images, then the good ones with the highest scores."""
    verdicts = {record.sample: record.inspection for record in records}

    def cell(one: Scored) -> Cell:
        image, found = read_image(one.sample.path), verdicts[one.sample]
        scores = inspector.to_frame(one.anomaly_map.scores, one.anomaly_map.stride, (image.shape[0], image.shape[1]))
        is_good = one.sample.defect_type == GOOD
        wrong = found.verdict is (Verdict.DEFECTIVE if is_good else Verdict.GOOD)
        caption = f"{one.sample.name}   score {one.score:.2f}   {found.verdict.value.upper()}"
        return Cell(image, scores, None if is_good else one.mask, found.defects, caption, wrong)

    ascending = sorted((r.scored for r in records if r.scored is not None), key=lambda one: one.score)
    worst, median, best = worst_median_best([one for one in ascending if one.sample.defect_type != GOOD])
    alarming = [one for one in reversed(ascending) if one.sample.defect_type == GOOD][:COLUMNS]
    missed = report.overall.images - report.overall.detected - report.overall.undecided
    rejects = report.false_rejects
    rows = [
        (f"worst: defective images with the lowest scores ({missed} of {report.overall.images} missed)", worst),
        ("median defective images", median),
        ("best: defective images with the highest scores", best),
        (f"good images with the highest scores ({rejects.rejected} of {rejects.decided} falsely rejected)", alarming),
    ]
    about = report.subject
    title = f"{about.product}   bundle {about.bundle_digest[:12]}   {about.engine}   "
    title += f"image threshold {report.image_threshold:.2f}   map threshold {report.map_threshold:.2f}"
    return draw_sheet(title, [(name, [cell(one) for one in row]) for name, row in rows], report.map_threshold)


def evaluate(
    bundle_path: Path,
    dataset: Path,
    engine: str,
    out: Path,
    progress: Callable[[Sequence[Sample]], Iterable[Sample]] = iter,
    variant: str | None = None,
) -> Report:
    """Inspect every test image of an MVTec-AD-style category folder; write the report into `out`.

    It is report.html (for people), report.json and sheet.png. variant: None for the engine's own. progress: wraps the
    list of images, to show how far it is. Errors: BundleError, EngineError, TrainingError.
    """
    samples, bundle = list_samples(dataset), load_bundle(bundle_path)
    with closing(open_engine(engine, bundle, EngineOptions(variant=variant))) as opened:
        inspector = Inspector(bundle, opened)
        software = {"edge-inspect": edge.__version__, "python": platform.python_version(), "opencv": cv2.__version__}
        subject = Subject(
            bundle.digest,
            bundle.manifest.product,
            opened.name,
            f"mvtec:{dataset.resolve().name}",
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
            {**software, opened.name: opened.version},
            str(bundle.manifest.calibration(opened.variant).bound),
        )
        return evaluate_with(inspector, samples, subject, out, progress)


def evaluate_with(
    inspector: Inspects,
    samples: Sequence[Sample],
    subject: Subject,
    out: Path,
    progress: Callable[[Sequence[Sample]], Iterable[Sample]] = iter,
) -> Report:
    """The same with an inspector already open."""
    records = list(inspect_all(inspector, progress(samples)))
    report = report_on(inspector, records, subject)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(report.to_json() + "\n", encoding="utf-8")
    _, picture = cv2.imencode(".png", sheet_of(inspector, records, report))
    (out / "sheet.png").write_bytes(picture.tobytes())
    (out / "report.html").write_text(html_report(inspector, records, report), encoding="utf-8")
    return report


def _progress(samples: Sequence[Sample]) -> Iterator[Sample]:
    with click.progressbar(samples, label="inspecting", file=sys.stderr) as bar:
        yield from bar


@click.command("evaluate")
@click.option("--bundle", "bundle_path", required=True, type=click.Path(path_type=Path), help="Exported bundle.")
@click.option("--dataset", required=True, callback=parse_dataset, help="mvtec:PATH of one MVTec-AD-style category.")
@click.option("--engine", default="auto", show_default=True, help="Runtime to run the bundle with.")
@click.option("--variant", type=click.Choice(VARIANTS.split("|")), help="Precision.  [default: the engine's own]")
@click.option("--out", default="evaluation", show_default=True, type=click.Path(path_type=Path), help="Results folder.")
@click.option("--json", "as_json", is_flag=True, help="Print report.json instead of the table.")
def evaluate_command(
    bundle_path: Path, dataset: Path, engine: str, variant: str | None, out: Path, as_json: bool
) -> None:
    """Measure a bundle on a labelled test set: PRO, AUROC, detection, false rejects; a page to read, print or send."""
    report = evaluate(bundle_path, dataset, engine, out, _progress, variant)
    click.echo(report.to_json() if as_json else format_table(report))
    click.echo(f"{out / 'report.html'}, report.json and sheet.png written", err=True)
