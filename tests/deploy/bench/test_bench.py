"""The benchmark measures what it says, checks budgets, says what it could not measure; how fast is nobody's test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.bench.budgets import DEFAULT, Budget, check, load_budgets
from deploy.bench.command import MEASUREMENTS
from deploy.bench.latency import latency
from deploy.bench.latency import rows as latency_rows
from deploy.bench.measurement import Bench
from deploy.bench.memory import rows as memory_rows
from deploy.bench.memory import write_smallest
from deploy.bench.parts import parts, write_parts
from deploy.bench.pipeline import Decided, Told
from deploy.bench.progress import Progress
from deploy.bench.rows import Row, number, table
from deploy.bench.throughput import rate
from deploy.bench.timing import WARM_UP, interleaved
from edge.core.bundle import load_bundle
from edge.core.errors import EdgeError, SettingsError
from edge.core.image_files import find_images
from edge.core.images import read_image
from edge.core.types import Timings
from edge.demo.run import BUNDLE
from edge.engines.macs import count_gmac
from tests.deploy.conftest import Run

MS = 1_000_000


# --- rows, rounds, progress ---


def test_a_table_has_a_column_for_every_figure_and_leaves_out_what_a_row_does_not_have() -> None:
    text = table("title", [Row("one", {"median_ms": 12.345}), Row("two", {"ratio": 0.5}, "a note")])
    assert text.splitlines() == [
        "title",
        "       median_ms  ratio",
        "  one       12.3",
        "  two             0.500  a note",
    ]


@pytest.mark.parametrize(("value", "text"), [(12345.6, "12,346"), (123.4, "123"), (1.234, "1.23"), (0.01234, "0.012")])
def test_numbers_are_written_out_and_short(value: float, text: str) -> None:
    assert number(value) == text


def test_work_is_done_in_turn_and_the_warm_up_is_not_counted() -> None:
    calls: list[str] = []
    told: list[tuple[int, int]] = []
    work = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    times = interleaved(work, 4, lambda done, whole: told.append((done, whole)))  # type: ignore[arg-type]
    assert calls == ["a", "b"] * (4 + WARM_UP)
    assert {name: len(values) for name, values in times.items()} == {"a": 4, "b": 4}
    assert told[-1] == (4 + WARM_UP, 4 + WARM_UP)


def test_time_left_follows_the_pace_so_far() -> None:
    said: list[str] = []
    now_s = 0.0
    progress = Progress({"short": 10.0, "long": 30.0}, said.append, lambda: now_s)
    progress.start("short")
    now_s = 20.0  # twice as slow as expected
    progress.start("long")
    now_s = 50.0
    progress.tell(1, 2)
    assert said[0] == "1/2 short: 0 %"
    assert said[1] == "2/2 long: 0 %, about 60 s left in all"
    assert said[2] == "2/2 long: 50 %, about 30 s left in all"


# --- graphs of our own making ---


def test_multiplications_are_counted_from_the_graph(bench: Bench) -> None:
    """Our p = 17 networks by hand: conv5/2-32, conv3/2-64, conv3-128 and 1×1-128 over 64×64 points, four of them."""
    (graph,) = bench.bundle.graph_set("fp32").graphs.values()
    first, second, rest = 134**2 * 75 * 32, 66**2 * 288 * 64, 64**2 * (576 * 128 + 128 * 128)
    assert count_gmac(graph, bench.bundle.golden.image) == pytest.approx(4 * (first + second + rest) / 1e9, rel=0.02)


# --- measurements ---


def test_stages_of_a_part_add_up_to_the_time_from_capture_to_received() -> None:
    timings = Timings(1.0, 100.0, 2.0, 3.0, 106.0)
    decided = [Decided(i * MS, timings, (i + 110) * MS) for i in range(30)]
    told = {i + 5: Told(i, (i + 115) * MS, (i + 116) * MS) for i in range(30)}
    found = {row.name: row.figures for row in latency_rows(decided, told, {i + 5: (i + 118) * MS for i in range(30)})}
    stages = [figures["p50_ms"] for name, figures in found.items() if not name.startswith(("from", "everything"))]
    assert sum(stages) == pytest.approx(118)
    assert found["from capture to received"] == pytest.approx(
        {"p50_ms": 118, "p95_ms": 118, "p99_ms": 118, "p99_over_p50": 1}
    )
    assert found["everything but the graphs"]["share_of_graphs"] == pytest.approx(0.18)
    with pytest.raises(EdgeError, match="1 of 25 results were not received"):
        latency_rows(decided, told, {i + 5: (i + 118) * MS for i in range(29)})


def test_every_part_of_a_real_pipeline_is_followed_to_a_subscriber_in_another_process(bench: Bench) -> None:
    found = {row.name: row.figures for row in latency(bench)}
    assert found["graphs"]["p50_ms"] > 0 and found["encode, and commit to the journal"]["p50_ms"] > 0
    assert found["from capture to received"]["p50_ms"] > found["everything but the graphs"]["p50_ms"] > 0


def test_parts_a_second_are_counted_while_all_cameras_work() -> None:
    one = [i * 100 * MS for i in range(50)]  # ten a second
    other = [2000 * MS + i * 50 * MS for i in range(50)]  # twenty, beginning later
    assert rate([one]) == pytest.approx(10)
    assert rate([one, other]) == pytest.approx(30, rel=0.03)
    with pytest.raises(EdgeError, match="before the other began"):
        rate([one, [at + 10**10 for at in one]])
    with pytest.raises(EdgeError, match="no results"):
        rate([one, []])


def test_memory_that_grows_is_seen_and_growth_while_warming_up_is_not() -> None:
    flat = [(done, 100.0 if done >= 100 else done) for done in range(0, 1000, 10)]
    leaking = [(done, 100.0 + done) for done in range(0, 1000, 10)]
    assert memory_rows(flat, 1000)[-1].figures["ratio"] == 1
    assert memory_rows(leaking, 1000)[-1].figures["ratio"] == pytest.approx(1045 / 245)
    with pytest.raises(EdgeError, match="too few samples"):
        memory_rows([(1, 1.0)], 1000)


def test_the_smallest_patch_size_alone_is_a_bundle_that_loads(tmp_path: Path) -> None:
    write_smallest(tmp_path / "small.bundle", load_bundle(BUNDLE))
    assert load_bundle(tmp_path / "small.bundle").manifest.patch_sizes == (9,)


def test_parts_have_the_frames_size_and_one_in_four_a_spot(bench: Bench, tmp_path: Path) -> None:
    write_parts(tmp_path / "parts", bench.bundle, 9)
    images = [read_image(path) for path in find_images(tmp_path / "parts").images]
    assert len(images) == 9 and len(parts(bench.bundle)) == 4
    assert images[0].shape[:2] == bench.bundle.manifest.geometry.frame_size
    differs = [bool((image != images[1]).any()) for image in images]
    assert differs == [i % 4 == 0 for i in range(9)]


# --- budgets ---

LATE = Budget("latency", "all", "p50_ms", 2.0, is_highest=True)
SLOW = Budget("engines", "ours", "times_faster", 6.0, is_highest=False)


def test_a_budget_that_is_exceeded_says_which_and_by_how_much() -> None:
    rows = {"latency": [Row("all", {"p50_ms": 3.0})], "engines": [Row("ours", {"times_faster": 5.0})]}
    checked = check([LATE, SLOW], rows)
    assert checked.over == (
        "latency, all: p50_ms is 3.00, at most 2.00 is allowed: over by 50 %",
        "engines, ours: times_faster is 5.00, at least 6.00 is allowed: over by 20 %",
    )
    assert not checked.kept and not checked.not_measured


def test_a_budget_that_is_just_kept_is_kept_and_one_nobody_measured_is_named() -> None:
    checked = check([LATE, SLOW], {"latency": [Row("all", {"p50_ms": 2.0})]})
    assert len(checked.kept) == 1 and not checked.over
    assert checked.not_measured == ("engines, ours: times_faster",)


def test_the_programs_own_budgets_are_of_measurements_there_are() -> None:
    assert {budget.measurement for budget in load_budgets(DEFAULT)} <= {one.name for one in MEASUREMENTS}


@pytest.mark.parametrize(
    "text", ["{}", '{"schema": "other/1", "budgets": []}', '{"schema": "edge-inspect.budgets/1", "budgets": [{}]}', "["]
)
def test_a_file_that_holds_no_budgets_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(SettingsError, match=r"mine\.json"):
        load_budgets(tmp_path / "mine.json")


# --- the command ---


def test_the_command_prints_ratios_to_the_bare_graphs_and_ends_with_1_where_a_budget_is_exceeded(
    edge_deploy: Run, bundle_file: Path, tmp_path: Path
) -> None:
    limit = {"measurement": "overhead", "row": "inspect, good part", "figure": "median_ms", "at_most": 1e-6}
    file, told = tmp_path / "strict.json", tmp_path / "report.json"
    file.write_text(json.dumps({"schema": "edge-inspect.budgets/1", "budgets": [limit]}))
    run = edge_deploy("bench", bundle_file, "--quick", "--only", "overhead", "--budgets", file, "--report", told)
    report = json.loads(told.read_text("utf-8"))
    figures = {row["name"]: row["figures"] for row in report["measured"]["overhead"]}
    assert set(figures) == {"bare graphs", "inspect, good part", "inspect, defects measured"}
    assert figures["bare graphs"]["ratio"] == 1.0 and all(one["median_ms"] > 0 for one in figures.values())
    assert report["machine"]["cores"] >= 1 and report["engine"].startswith("onnxruntime") and not report["failed"]
    assert run.exit_code == 1 and len(report["budgets"]["over"]) == 1
    assert "OVER  overhead, inspect, good part: median_ms is" in run.stdout


def test_a_measurement_that_fails_says_why_and_costs_only_itself(
    edge_deploy: Run, bundle_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(bench: Bench) -> list[Row]:
        raise EdgeError("the disk is gone")

    plan = [replace(one, run=fail) if one.name == "latency" else one for one in MEASUREMENTS]
    monkeypatch.setattr("deploy.bench.command.MEASUREMENTS", plan)
    only = "--only", "latency", "--only", "overhead"
    none = tmp_path / "none.json"  # on a busy machine no budget is kept for certain
    none.write_text('{"schema": "edge-inspect.budgets/1", "budgets": []}')
    run = edge_deploy("bench", bundle_file, "--quick", *only, "--budgets", none)
    assert run.exit_code == 1
    assert "the disk is gone" in run.stdout and "inspect, good part" in run.stdout
