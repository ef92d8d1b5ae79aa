"""Accuracy of an exported bundle on a labelled test set, measured through the very code that ships.

The bundle runs in `edge.Inspector`, so figures include export, quantisation, geometry and thresholds. Rejected:
evaluating the training networks (exported scores that differ would go unnoticed). UNDECIDED images are counted by
name and never as good; rates are stated against us: an undecided defect is not detected, and an undecided good
part does not dilute the false rejects.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import click
import cv2
import numpy as np

import edge
from edge.core.bundle import load_bundle
from edge.core.errors import TrainingError
from edge.core.images import read_image
from edge.core.types import AnomalyMap, Frame, Image, Inspection, Map, Term, Verdict
from edge.engines import open_engine
from edge.inspector import Inspector
from trainer.data import list_images
from trainer.metrics import Mask, PixelScores, binomial_upper_bound, roc_auc
from trainer.report import CONFIDENCE, FalseRejects, ImageReport, MapReport, Report, Subject, TypeReport, format_table
from trainer.sheet import COLUMNS, Cell, draw_sheet, worst_median_best

GOOD = "good"
MAX_FPR = 0.3
Size = tuple[int, int]  # height, width


class Inspects(Protocol):
    """What evaluation needs of `edge.inspector.Inspector`."""

    @property
    def image_threshold(self) -> float: ...
    @property
    def map_threshold(self) -> float: ...
    def inspect(self, frame: Frame, /) -> tuple[Inspection, AnomalyMap | None]: ...
    def to_frame(self, scores: Map, stride: int, frame_shape: Size, /) -> Map: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One test image; `mask_path` is None exactly for good parts."""

    path: Path
    defect_type: str
    mask_path: Path | None

    @property
    def name(self) -> str:
        return f"{self.defect_type}/{self.path.stem}"


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """An image's score (standard deviations above normal), its maps, and its mask, (h, w) bool."""

    sample: Sample
    score: float
    anomaly_map: AnomalyMap
    mask: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One image's inspection; `scored` is None where it gave no finite score and map."""

    sample: Sample
    inspection: Inspection
    scored: Scored | None


def list_samples(dataset: Path) -> tuple[Sample, ...]:
    """Every image below test/ with its mask, good ones last; TrainingError names what is missing."""
    folders = sorted(folder for folder in (dataset / "test").glob("*") if folder.is_dir() and folder.name != GOOD)
    if not folders:
        raise TrainingError(f"{dataset}: no test/<defect type> folder; give the folder of one MVTec-AD-style category")
    samples = []
    for folder in folders:
        masks = dataset / "ground_truth" / folder.name
        samples += [Sample(path, folder.name, masks / f"{path.stem}_mask.png") for path in list_images(folder)]
    for sample in samples:
        if sample.mask_path is not None and not sample.mask_path.is_file():
            raise TrainingError(f"{sample.mask_path}: missing, the ground truth of {sample.path}; add it")
    return (*samples, *(Sample(path, GOOD, None) for path in list_images(dataset / "test" / GOOD)))


def read_mask(path: Path, image_size: Size) -> Mask:
    """(h, w) bool; TrainingError where nothing is marked or the mask's sides are not in the image's proportion."""
    mask = read_image(path).any(axis=2)
    if abs(mask.shape[0] - image_size[0] * mask.shape[1] / image_size[1]) > 1.0:
        raise TrainingError(f"{path}: {mask.shape} does not fit its image of {image_size} (height, width); replace it")
    if not mask.any():
        raise TrainingError(f"{path}: nothing is marked in it; mark the defect, or move the image to test/{GOOD}")
    return np.asarray(mask, np.bool_)


def inspect_all(inspector: Inspects, samples: Iterable[Sample]) -> Iterator[Record]:
    """Inspect each image once, as one part. Defective images come before good ones (see `list_samples`), since a
    good image takes the mask size of defective ones of its size: all must weigh the same among the pixels."""
    mask_sizes: dict[Size, Size] = {}
    for number, sample in enumerate(samples):
        image = read_image(sample.path)
        size: Size = (image.shape[0], image.shape[1])
        if sample.mask_path is None:
            mask = np.zeros(mask_sizes.get(size, size), np.bool_)
        else:
            mask = read_mask(sample.mask_path, size)
            mask_sizes.setdefault(size, (mask.shape[0], mask.shape[1]))
        frame = Frame(image, number, time.monotonic_ns(), datetime.now(timezone.utc), part_id=sample.name)
        inspection, anomaly_map = inspector.inspect(frame)
        yield Record(sample, inspection, _scored(sample, inspection, anomaly_map, mask))


def _scored(sample: Sample, inspection: Inspection, anomaly_map: AnomalyMap | None, mask: Mask) -> Scored | None:
    score = inspection.score
    if score is None or anomaly_map is None or not np.isfinite(score) or not np.isfinite(anomaly_map.scores).all():
        return None
    return Scored(sample, score, anomaly_map, mask)


def report_on(inspector: Inspects, records: Sequence[Record], subject: Subject) -> Report:
    """All figures from inspections already made; TrainingError where no defective image has a score."""
    scored = [record.scored for record in records if record.scored is not None]
    if not any(one.sample.defect_type != GOOD for one in scored):
        details = "; ".join(sorted({record.inspection.detail or "no detail" for record in records}))
        raise TrainingError(f"no defective image of {subject.dataset} could be scored: {details}")
    fused = PixelScores.gather(_maps(inspector, scored, None, None), [one.mask for one in scored])
    sizes = sorted({key.patch_size for one in scored for key in one.anomaly_map.deviations})
    milliseconds = [record.inspection.timings.total_ms for record in records if record.scored is not None]
    p50, p95 = np.percentile(milliseconds, [50, 95])
    types = dict.fromkeys(r.sample.defect_type for r in records if r.sample.defect_type != GOOD)
    return Report(
        subject,
        inspector.image_threshold,
        inspector.map_threshold,
        _type_report("all", list(types), records, fused),
        (_map_report(inspector, scored, None, fused), *(_map_report(inspector, scored, size) for size in sizes)),
        tuple(_type_report(name, [name], records, fused) for name in types),
        _false_rejects([r.inspection.verdict for r in records if r.sample.defect_type == GOOD]),
        float(p50),
        float(p95),
        tuple(_image_report(record) for record in records),
    )


def _maps(inspector: Inspects, scored: Sequence[Scored], patch_size: int | None, term: Term | None) -> Iterator[Map]:
    """Each image's map at its mask's size, one at a time: the fused scores, or (of one patch size or one term) the
    plain sum of its normalised terms, whatever the bundle weighs them with."""
    for one in scored:
        whole = one.anomaly_map
        chosen = [
            deviations
            for key, deviations in whole.deviations.items()
            if patch_size in (None, key.patch_size) and term in (None, key.term)
        ]
        part = whole.scores if patch_size is None and term is None else np.asarray(np.sum(chosen, axis=0), np.float32)
        yield inspector.to_frame(part, whole.stride, (one.mask.shape[0], one.mask.shape[1]))


def _map_report(
    inspector: Inspects, scored: Sequence[Scored], patch_size: int | None, pixels: PixelScores | None = None
) -> MapReport:
    if pixels is None:
        pixels = PixelScores.gather(_maps(inspector, scored, patch_size, None), [one.mask for one in scored])
    defective = [one.sample.defect_type != GOOD for one in scored]

    def by_maximum(term: Term | None) -> float | None:
        return _auroc([float(part.max()) for part in _maps(inspector, scored, patch_size, term)], defective)

    return MapReport(
        "fused" if patch_size is None else f"p{patch_size}",
        pixels.au_pro(MAX_FPR),
        pixels.auroc(),
        by_maximum(None),
        by_maximum(Term.REGRESSION_ERROR),
        by_maximum(Term.PREDICTIVE_UNCERTAINTY),
    )


def _type_report(name: str, types: Sequence[str], records: Sequence[Record], fused: PixelScores) -> TypeReport:
    of_type = [record for record in records if record.sample.defect_type in types]
    scored = [record.scored for record in records if record.scored is not None]
    places = [place for place, one in enumerate(scored) if one.sample.defect_type in types]
    against_good = [one for one in scored if one.sample.defect_type in (*types, GOOD)]
    verdicts = [record.inspection.verdict for record in of_type]
    detected = verdicts.count(Verdict.DEFECTIVE)
    return TypeReport(
        name,
        len(of_type),
        detected,
        verdicts.count(Verdict.UNDECIDED),
        detected / len(of_type),
        fused.of_images(places).au_pro(MAX_FPR) if places else None,
        _auroc([one.score for one in against_good], [one.sample.defect_type != GOOD for one in against_good]),
    )


def _auroc(scores: Sequence[float], defective: Sequence[bool]) -> float | None:
    return roc_auc(scores, defective) if len(set(defective)) == 2 else None


def _false_rejects(verdicts: Sequence[Verdict]) -> FalseRejects:
    rejected, undecided = verdicts.count(Verdict.DEFECTIVE), verdicts.count(Verdict.UNDECIDED)
    decided = len(verdicts) - undecided
    bound = binomial_upper_bound(rejected, decided, CONFIDENCE)
    return FalseRejects(rejected, decided, undecided, rejected / decided if decided else None, bound)


def _image_report(record: Record) -> ImageReport:
    found = record.inspection
    score = None if record.scored is None else record.scored.score
    reason = None if found.reason is None else found.reason.value
    return ImageReport(record.sample.name, record.sample.defect_type, score, found.verdict.value, reason)


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
) -> Report:
    """Inspect every test image of an MVTec-AD-style category folder; write report.json and sheet.png into `out`.

    progress: wraps the list of images, to show how far it is. Errors: BundleError, EngineError, TrainingError.
    """
    samples, bundle = list_samples(dataset), load_bundle(bundle_path)
    with closing(open_engine(engine, bundle)) as opened:
        inspector = Inspector(bundle, opened)
        software = {"edge-inspect": edge.__version__, "python": platform.python_version(), "opencv": cv2.__version__}
        subject = Subject(
            bundle.digest,
            bundle.manifest.product,
            opened.name,
            f"mvtec:{dataset.resolve().name}",
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
            {**software, opened.name: opened.version},
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
    return report


def _progress(samples: Sequence[Sample]) -> Iterator[Sample]:
    with click.progressbar(samples, label="inspecting", file=sys.stderr) as bar:
        yield from bar


def _dataset(context: click.Context, parameter: click.Parameter, value: str) -> Path:
    scheme, _, path = value.partition(":")
    if scheme != "mvtec" or not path:
        raise click.BadParameter(f"{value!r} is not mvtec:PATH, where PATH holds test/good, test/<type>, ground_truth")
    return Path(path)


@click.command("evaluate")
@click.option("--bundle", "bundle_path", required=True, type=click.Path(path_type=Path), help="Exported bundle.")
@click.option("--dataset", required=True, callback=_dataset, help="mvtec:PATH of one MVTec-AD-style category.")
@click.option("--engine", default="auto", show_default=True, help="Runtime to run the bundle with.")
@click.option("--out", default="evaluation", show_default=True, type=click.Path(path_type=Path), help="Results folder.")
@click.option("--json", "as_json", is_flag=True, help="Print report.json instead of the table.")
def evaluate_command(bundle_path: Path, dataset: Path, engine: str, out: Path, as_json: bool) -> None:
    """Measure a bundle on a labelled test set: PRO, AUROC, detection, false rejects, and a sheet of pictures."""
    report = evaluate(bundle_path, dataset, engine, out, _progress)
    click.echo(report.to_json() if as_json else format_table(report))
    click.echo(f"{out / 'report.json'} and {out / 'sheet.png'} written", err=True)
