"""A bundle on a labelled test set, measured through the very code that ships.

The bundle runs in `edge.Inspector`, so figures include export, quantisation, geometry and thresholds. Rejected:
evaluating the training networks (exported scores that differ would go unnoticed).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

import cv2

import edge
from edge.core.bundle import load_bundle
from edge.core.files import require_room, write_whole
from edge.engines import EngineOptions, open_engine
from edge.inspector import Inspector
from trainer.dataset import Sample, folder_samples, list_samples
from trainer.report.figures import detection_on, report_on
from trainer.report.html import html_report
from trainer.report.inspected import Inspects, inspect_all
from trainer.report.results import Detection, Report, Subject
from trainer.report.sheet import evaluation_sheet

REPORT_BYTES = 32 << 20  # more than a page with its pictures takes
Found = TypeVar("Found")


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
    samples, name = list_samples(dataset), f"mvtec:{dataset.resolve().name}"

    def measure(inspector: Inspector, subject: Subject) -> Report:
        return evaluate_with(inspector, samples, subject, out, progress)

    return _with_bundle(bundle_path, name, engine, variant, out, measure)


def evaluate_folders(
    bundle_path: Path,
    good: Path,
    bad: Path,
    engine: str,
    out: Path,
    progress: Callable[[Sequence[Sample]], Iterable[Sample]] = iter,
    variant: str | None = None,
) -> Detection:
    """Detection alone, on two folders of images without masks; report.json is written into `out`. As `evaluate`."""
    samples, name = folder_samples(good, bad), f"{good.resolve().name} and {bad.resolve().name}"

    def measure(inspector: Inspector, subject: Subject) -> Detection:
        return detect_with(inspector, samples, subject, out, progress)

    return _with_bundle(bundle_path, name, engine, variant, out, measure)


def _with_bundle(
    bundle_path: Path,
    dataset: str,
    engine: str,
    variant: str | None,
    out: Path,
    measure: Callable[[Inspector, Subject], Found],
) -> Found:
    bundle = load_bundle(bundle_path)
    require_room(out, REPORT_BYTES, "the report")
    with closing(open_engine(engine, bundle, EngineOptions(variant=variant))) as opened:
        inspector = Inspector(bundle, opened)
        software = {"edge-inspect": edge.__version__, "python": platform.python_version(), "opencv": cv2.__version__}
        subject = Subject(
            bundle.digest,
            bundle.manifest.product,
            opened.name,
            dataset,
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
            {**software, opened.name: opened.version},
            str(bundle.manifest.calibration(opened.variant).bound),
            inspector.fusion.scale.unit,
        )
        expected = bundle.manifest.forecast
        subject = replace(subject, forecast="" if expected is None else expected.statement())
        return measure(inspector, subject)


def detect_with(
    inspector: Inspects,
    samples: Sequence[Sample],
    subject: Subject,
    out: Path,
    progress: Callable[[Sequence[Sample]], Iterable[Sample]] = iter,
) -> Detection:
    """`evaluate_folders` with an inspector already open."""
    report = detection_on(inspector, list(inspect_all(inspector, progress(samples))), subject)
    write_whole(out / "report.json", f"{report.to_json()}\n".encode())
    return report


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
    write_whole(out / "report.json", f"{report.to_json()}\n".encode())
    _, picture = cv2.imencode(".png", evaluation_sheet(inspector, records, report))
    write_whole(out / "sheet.png", picture.tobytes())
    write_whole(out / "report.html", html_report(inspector, records, report).encode())
    return report
