"""One self-contained HTML page per evaluation: what a person opens, prints or sends; no script, no outside resource.

What decides comes first (how many found, how many falsely rejected, with their bounds), then curves, then pictures
of the worst, then tables. Plain string templates: a template engine would be a dependency for one page.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from edge.core.binomial import binomial_upper_bound
from trainer.dataset import GOOD
from trainer.report.charts import Line, Point, line_chart, score_histogram
from trainer.report.inspected import Inspects, Record
from trainer.report.parts import chosen_parts, part_html, term_units
from trainer.report.results import CONFIDENCE, Report, TypeReport
from trainer.report.style import STYLE

OPERATING_POINTS = (0, 1, 2, 5, 10, 20)  # good test parts rejected


def html_report(inspector: Inspects, records: Sequence[Record], report: Report) -> str:
    """The page as text. `records` are those the report was made of, with their maps."""
    about = report.subject
    title = f"{about.product}: evaluation on {about.dataset}"
    body = [
        f"<h1>{escape(about.product)} <small>on {escape(about.dataset)}, {escape(about.date)}</small></h1>",
        _headline(report),
        f'<section class="charts">{_charts(report)}</section>',
        f"<h2>Operating points</h2>{_operating_points(report)}",
        f"<h2>By type of defect</h2>{_groups(report.types, report.overall, 'type')}",
        f"<h2>By size of defect</h2>{_groups(report.bands, report.overall, 'longer side')}",
        f"<h2>By map</h2>{_maps(report)}",
        _pictures(inspector, records, report.subject.unit),
        f"<h2>Where this comes from</h2>{_provenance(report, records)}",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{"".join(body)}</body></html>\n'
    )


def operating_points(report: Report) -> list[tuple[float, float, int, int, float]]:
    """(threshold, detection rate, good parts rejected, of how many, upper bound at 95 %), strictest last.

    Thresholds sit on the scores of good test parts, so that exactly so many of them are rejected; the calibrated one
    is not among them. An undecided defect is not detected.
    """
    good, defective = _scores(report)
    points = []
    for allowed in OPERATING_POINTS:
        if allowed < len(good):
            threshold = sorted(good)[len(good) - 1 - allowed]
            points.append(_point(report, good, defective, threshold))
    return points


def _point(
    report: Report, good: Sequence[float], defective: Sequence[float], threshold: float
) -> tuple[float, float, int, int, float]:
    rejected = sum(score > threshold for score in good)
    detected = sum(score > threshold for score in defective) / report.overall.images
    return threshold, detected, rejected, len(good), binomial_upper_bound(rejected, len(good), CONFIDENCE)


def _scores(report: Report) -> tuple[list[float], list[float]]:
    known = [image for image in report.images if image.score is not None]
    good = [float(image.score or 0.0) for image in known if image.defect_type == GOOD]
    return good, [float(image.score or 0.0) for image in known if image.defect_type != GOOD]


def _headline(report: Report) -> str:
    found, rejects, fused = report.overall, report.false_rejects, report.maps[0]
    low = 1 - binomial_upper_bound(found.images - found.detected, found.images, CONFIDENCE)
    undecided = found.undecided + rejects.undecided
    in_review = f"{found.review + rejects.review} left to review; " if report.review_threshold is not None else ""
    cards = [
        (f"{found.detected} of {found.images}", "defective parts found", f"at least {low:.0%} at {CONFIDENCE:.0%}"),
        (
            f"{rejects.rejected} of {rejects.decided}",
            "good parts falsely rejected",
            f"at most {rejects.upper_bound:.1%} at {CONFIDENCE:.0%}",
        ),
        (str(undecided), "parts undecided", f"{in_review}never counted as good"),
        (_figure(found.image_auroc), "image AUROC", "chance that a defect outranks a good part"),
        (_figure(fused.pro), "PRO", "regions found, up to 30 % false pixels"),
        (f"{report.latency_p50_ms:.0f} ms", "an image, median", f"p95 {report.latency_p95_ms:.0f} ms, this machine"),
    ]
    drawn = [f'<div class="card"><b>{a}</b><span>{b}</span><small>{c}</small></div>' for a, b, c in cards]
    promise = (
        f'<p class="promise">Calibrated: {escape(report.subject.calibration)}.</p>'
        if report.subject.calibration
        else ""
    )
    expected = f"<p>Expected beforehand: {escape(report.subject.forecast)}.</p>" if report.subject.forecast else ""
    notes = "".join(f"<p>Note: {escape(note)}.</p>" for note in report.notes)
    return f'<section class="cards">{"".join(drawn)}</section>{promise}{expected}{notes}'


def _charts(report: Report) -> str:
    good, defective = _scores(report)
    thresholds = [("image threshold", report.image_threshold)]
    if report.review_threshold is not None:
        thresholds.insert(0, ("review threshold", report.review_threshold))
    curves = [Line(m.name, m.pro_curve, f"c{i}") for i, m in enumerate(report.maps)]
    figures = [
        (
            "Scores of good and defective parts",
            score_histogram(good, defective, thresholds, f"image score, {report.subject.unit}"),
            '<span class="key good"></span>good <span class="key bad"></span>defective; right of the line: rejected'
            + ("; between the lines: left to a person" if report.review_threshold is not None else ""),
        )
    ]
    if good:
        at = _point(report, good, defective, report.image_threshold)
        mark = [("calibrated", (at[2] / at[3], at[1]))]
        roc = line_chart(
            [Line("fused", _roc(good, defective), "c0")], "good parts rejected", "defects found", 1.0, mark
        )
        figures.append(("ROC over parts", roc, "each step is one part; the dot is the calibrated threshold"))
    pro = line_chart(curves, "defect-free pixels above the threshold", "mean part of a region found", 0.3)
    figures.append(("PRO over pixels", pro, "single patch sizes: plain sum of both terms"))
    return "".join(
        f"<figure><h3>{name}</h3>{svg}<figcaption>{note}</figcaption></figure>" for name, svg, note in figures
    )


def _roc(good: Sequence[float], defective: Sequence[float]) -> list[Point]:
    """Corners from (0, 0) to (1, 1), thresholds descending; ties rise together."""
    values = np.unique([*good, *defective])[::-1]
    corners = [(float(np.mean(np.array(good) >= v)), float(np.mean(np.array(defective) >= v))) for v in values]
    return [(0.0, 0.0), *corners]


def _operating_points(report: Report) -> str:
    good, defective = _scores(report)
    rows = [(point, "") for point in operating_points(report)]
    if good:
        rows.append((_point(report, good, defective, report.image_threshold), "calibrated"))
    rows.sort(key=lambda row: -row[0][0])
    cells = [
        [f"{t:.2f}{' ← calibrated' if css else ''}", f"{d:.1%}", f"{k} of {n}", f"{k / n:.1%}", f"{bound:.1%}"]
        for (t, d, k, n, bound), css in rows
    ]
    head = ["image threshold", "defects found", "good parts rejected", "rate", f"at most, {CONFIDENCE:.0%}"]
    note = (
        "<p>Thresholds other than the calibrated one are read off these very test parts: they show what is possible, "
        "not what would be kept on new parts.</p>"
    )
    return _table(head, cells, [css for _, css in rows]) + note


def _groups(groups: Sequence[TypeReport], overall: TypeReport, name: str) -> str:
    rows = [
        [
            g.name,
            f"{g.detected} of {g.images}",
            _bar(g.detection_rate),
            str(g.undecided),
            _figure(g.pro),
            _figure(g.image_auroc),
        ]
        for g in (*groups, overall)
    ]
    return _table([name, "found", "", "undecided", "PRO", "image AUROC"], rows, [*[""] * len(groups), "total"])


def _bar(share: float) -> str:
    return f'<span class="meter"><i style="width:{100 * share:.0f}%"></i></span> {share:.0%}'


def _maps(report: Report) -> str:
    rows = [
        [
            m.name,
            *map(_figure, (m.pro, m.pixel_auroc, m.image_auroc)),
            *map(_figure, (m.image_auroc_regression_error, m.image_auroc_predictive_uncertainty)),
        ]
        for m in report.maps
    ]
    head = ["map", "PRO", "pixel AUROC", "image AUROC by maximum", "error alone", "uncertainty alone"]
    return _table(head, rows, ["total", *[""] * (len(rows) - 1)]) + _terms(report)


def _terms(report: Report) -> str:
    """Each term alone against all of them, by the rule that decides."""
    rows = [["fused", _figure(report.overall.image_auroc), _figure(report.pb2), ""]]
    rows += [[t.name, _figure(t.image_auroc), _figure(t.pb2), f"{t.weight:.2f}"] for t in report.terms]
    rows.append(["regret: best single − fused", _figure(report.regret.image_auroc), _figure(report.regret.pb2), ""])
    head = ["scored as deciding", "image AUROC", "found where 2 % of good are rejected (PB2)", "weight"]
    return _table(head, rows, ["total", *[""] * len(report.terms), "total"])


def _pictures(inspector: Inspects, records: Sequence[Record], unit: str) -> str:
    units = term_units(records)
    sections = []
    for heading, note, parts in chosen_parts(records):
        drawn = "".join(part_html(inspector, record, units) for record in parts) or "<p>None.</p>"
        sections.append(f"<h2>{escape(heading)}</h2><p>{escape(note)}</p>{drawn}")
    legend = (
        f'<p class="legend">Fused: heat from half (amber) to twice (red) the map threshold; white: reported; green: '
        "truth. Single terms: heat relative to what nine tenths of good parts stay below, the number its peak "
        f"({escape(unit)}); faded: the fusion gives it no weight.</p>"
    )
    return "".join(sections) + legend


def _provenance(report: Report, records: Sequence[Record]) -> str:
    about = report.subject
    stages = [r.inspection.timings for r in records if r.scored is not None]
    split = ", ".join(
        f"{name} {np.median([getattr(t, f'{name}_ms') for t in stages]):.1f} ms"
        for name in ("preprocess", "infer", "score", "defects")
    )
    facts = {
        "bundle": f"<code>{escape(about.bundle_digest)}</code>",
        "calibration": escape(about.calibration or "not known"),
        "thresholds": f"image {report.image_threshold:.4g} (decides), map {report.map_threshold:.4g} (only draws)"
        + (f", review {report.review_threshold:.4g}" if report.review_threshold is not None else ""),
        "data set": escape(
            f"{about.dataset}: {len(report.images) - report.overall.images} good, {report.overall.images} defective"
        ),
        "date": escape(about.date),
        "engine": escape(about.engine),
        "latency": f"p50 {report.latency_p50_ms:.1f} ms, p95 {report.latency_p95_ms:.1f} ms; medians by stage: {split}",
        "versions": escape(", ".join(f"{name} {version}" for name, version in about.software.items())),
    }
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts.items())}</dl>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], css: Sequence[str]) -> str:
    """Cells of the first column are text and escaped; the others are ours."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f'<tr class="{name}"><th>{escape(row[0])}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>'
        for row, name in zip(rows, css, strict=True)
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
