"""The page of an evaluation: self-contained, well-formed, and its figures those of the report."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.binomial import binomial_upper_bound
from tests.trainer.report.test_evaluate import PARTS, PixelInspector, run
from trainer.report.charts import BOTTOM, HEIGHT, TOP, Line, line_chart, score_histogram
from trainer.report.html import operating_points
from trainer.report.parts import chosen_parts

VOID = {"meta", "img", "br"}


class Nesting(HTMLParser):
    """Fails where a tag is closed that is not the last one opened; collects what is referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing stays open."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("set")
    run(root)
    return (root / "out" / "report.html").read_text("utf-8")


def test_the_page_is_well_formed_and_needs_nothing_from_outside(page: str) -> None:
    parser = Nesting()
    parser.feed(page)
    assert parser.open == [] and parser.references
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in parser.references)
    assert "<script" not in page and "url(" not in page and "@import" not in page


def test_a_review_zone_is_drawn_and_counted(tmp_path: Path) -> None:
    inspector = PixelInspector()
    inspector.review_threshold = 3.0  # the nick of score 4 lies between the two
    report = run(tmp_path, inspector=inspector)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert report.overall.review == 1 and report.review_threshold == 3.0
    assert "parts undecided</span><small>1 left to review; never counted as good" in page
    assert "review threshold 3.00" in page and "between the lines: left to a person" in page


def test_its_figures_are_those_of_the_report(page: str) -> None:
    assert "<b>2 of 4</b><span>defective parts found" in page
    assert "<b>1 of 3</b><span>good parts falsely rejected" in page
    assert "<b>2</b><span>parts undecided" in page
    assert "13 ms" in page


def test_every_miss_and_every_false_reject_is_shown_with_each_scale_and_term(page: str) -> None:
    shown = re.findall(r"<h4><code>([^<]+)</code> <span class=\"(wrong|right)\">", page)
    assert ("nick/000", "wrong") in shown and ("good/002", "wrong") in shown and ("nick/001", "right") in shown
    (first, *_) = re.findall(r'<div class="part">.*?</div></div>', page, re.DOTALL)
    assert re.findall(r"<figcaption>(p\d+ \w+)", first) == [
        "p17 error",
        "p17 uncertainty",
        "p33 error",
        "p33 uncertainty",
    ]
    picture = base64.b64decode(re.findall(r"base64,([^\"]+)", first)[0])
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape[2] == 3


def test_operating_points_reject_so_many_good_parts_and_say_the_bound(tmp_path: Path) -> None:
    report = run(tmp_path)
    # good 1, 2, 6; defective 4, 9, 8 and one undecided, which no threshold finds
    assert operating_points(report) == [
        (pytest.approx(6.0), 2 / 4, 0, 3, binomial_upper_bound(0, 3)),
        (pytest.approx(2.0), 3 / 4, 1, 3, binomial_upper_bound(1, 3)),
        (pytest.approx(1.0), 3 / 4, 2, 3, binomial_upper_bound(2, 3)),
    ]


def test_names_from_outside_cannot_write_into_the_page(tmp_path: Path) -> None:
    parts = [part._replace(name=part.name.replace("nick/", "<b>nick&/")) for part in PARTS]
    run(tmp_path, parts)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "&lt;b&gt;nick&amp;" in page and "<b>nick" not in page


def test_a_set_without_a_decided_good_part_still_gives_a_page(tmp_path: Path) -> None:
    run(tmp_path, [part._replace(undecided=True) if part.name.startswith("good") else part for part in PARTS])
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "ROC over parts" not in page and "PRO over pixels" in page


def test_chosen_parts_show_nothing_twice_among_the_right_ones(tmp_path: Path) -> None:
    from tests.trainer.report.test_evaluate import write_parts
    from trainer.dataset import list_samples
    from trainer.report.inspected import inspect_all

    records = list(inspect_all(PixelInspector(), list_samples(write_parts(tmp_path))))
    (_, _, missed), (_, _, rejected), (_, _, right) = chosen_parts(records)
    assert [r.sample.name for r in missed] == ["nick/000"] and [r.sample.name for r in rejected] == ["good/002"]
    assert len({r.sample.name for r in right}) == len(right) == 3


def test_a_curve_is_drawn_where_its_points_are() -> None:
    drawn = line_chart([Line("a", [(0.0, 0.0), (0.5, 1.0)], "c0")], "x", "y")
    (points,) = re.findall(r'points="([^"]+)"', drawn)
    (x0, y0), (x1, y1) = [tuple(map(float, pair.split(","))) for pair in points.split()]
    assert (y0, y1) == (HEIGHT - BOTTOM, TOP) and x1 > x0


@pytest.mark.parametrize("scores", [([1.0, 1.0], [1.0]), ([-3.0, 2.0], [400.0]), ([0.01], [900.0])])
def test_a_histogram_counts_every_part_once_whatever_the_range(scores: tuple[list[float], list[float]]) -> None:
    drawn = score_histogram(*scores, [("threshold", 2.0)], "score")
    assert 1 <= drawn.count('class="bar good"') <= len(scores[0]) and drawn.count('class="bar bad"') == 1
    assert "nan" not in drawn and "inf" not in drawn
