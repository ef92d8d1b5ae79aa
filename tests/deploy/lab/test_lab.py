"""What we compare ourselves with is what it says, and what could not be measured is said; how fast is nobody's test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from deploy.bench.budgets import load_budgets
from deploy.bench.measurement import Bench
from deploy.bench.rows import Row
from deploy.lab import workstation
from deploy.lab.area import area, forget_peak, memory_mib
from deploy.lab.command import BUDGETS, MEASUREMENTS
from deploy.lab.efficientad import faster
from deploy.lab.efficientad_networks import VARIANTS, efficientad_bundle, efficientad_graph
from deploy.lab.handling import handling
from deploy.lab.onnx_file import GraphWriter
from deploy.lab.paper import paper
from deploy.lab.scales import scales
from edge.core.types import Neighbours
from edge.engines.macs import count_gmac
from tests.deploy.conftest import Run


def test_a_written_graph_computes_what_its_nodes_say() -> None:
    writer = GraphWriter()
    pixels = writer.node("Transpose", writer.node("Cast", "image", to=1), perm=[0, 3, 1, 2])
    weights = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    convolved = writer.node("Conv", pixels, writer.constant(weights), pads=[0, 0, 0, 0])
    writer.node("LeakyRelu", convolved, name="out", alpha=0.5)
    graph = writer.to_bytes(("image", "uint8", (1, "h", "w", 3)), [("out", "float32", (1, 2, "y", "x"))])
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    (out,) = ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"image": image[None]})
    patch = image[2:4, 1:3].transpose(2, 0, 1).astype(np.float32)
    assert out.shape == (1, 2, 4, 3)
    assert out[0, :, 2, 1] == pytest.approx([(weights[0] * patch).sum(), (weights[1] * patch).sum()])


@pytest.mark.parametrize("variant", VARIANTS)
def test_efficientad_runs_on_our_engine_and_costs_what_its_layers_cost(bench: Bench, variant: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    bundle = efficientad_bundle(bench.bundle, variant)
    with bench.opened(bundle, variant=variant) as engine:
        (maps,) = engine.infer(image).values()
    assert maps.regression_error.shape == maps.predictive_uncertainty.shape == (16, 16)
    assert np.isfinite(maps.regression_error).all() and maps.regression_error.std() > 0
    (graph,) = bundle.graph_set(variant).graphs.values()
    shared = 67**2 * 48 * 128 + 37**2 * 2048 * 256 + 19**2 * 2304 * 256
    assert count_gmac(graph, image) == pytest.approx((2 * shared + 16**2 * 4096 * (384 + 768)) / 1e9, rel=0.001)


def test_efficientad_takes_the_place_of_neighbours_too(bench: Bench) -> None:
    manifest = bench.bundle.manifest
    strides = {**manifest.strides, 507: 16}
    with_neighbours = replace(
        bench.bundle, manifest=replace(manifest, strides=strides, neighbours={Neighbours.DEEP: 507})
    )
    with bench.opened(efficientad_bundle(with_neighbours, "fp32"), variant="fp32") as engine:
        assert len(engine.infer(np.zeros((64, 64, 3), np.uint8))) == 1


def test_efficientad_in_int8_is_really_computed_in_int8_so_that_the_comparison_is_fair(tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(efficientad_graph("int8-cpu"), options, providers=["CPUExecutionProvider"])
    written = (tmp_path / "optimised.onnx").read_bytes()
    assert written.count(b"QLinearConv") == 8 and written.count(b"QLinearAveragePool") == 4


def test_cost_is_set_against_area_and_what_memory_does_not_allow_is_left_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.lab.area.SIZES", [(64, 64), (96, 128)])
    monkeypatch.setattr("deploy.lab.area.REFERENCE", (64, 64))
    first, second = area(bench)
    assert second.name == "128×96" and second.figures["median_ms"] > 0
    assert second.figures["ratio"] == pytest.approx(3 * second.figures["per_area_ratio"])
    monkeypatch.setattr("deploy.lab.area.available_bytes", lambda: 6 << 20)
    first, second = area(bench)
    assert first.figures and not second.figures and "left out: it may take 17 MiB" in second.note


def test_what_a_part_costs_beside_its_graphs_is_measured_without_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.lab.handling.PARTS", 5)
    monkeypatch.setattr("edge.engines.onnxruntime.OnnxRuntimeEngine.infer", None)  # it would be noticed
    (row,) = handling(bench)
    assert 0 < row.figures["median_ms"] < 1000


def test_the_peak_of_memory_is_that_since_it_was_forgotten() -> None:
    forget_peak()
    before = memory_mib("VmHWM")
    # Above 32 MiB the C library always takes fresh memory, and gives it back; more than the system may meanwhile have
    # taken from this process, whose libraries are files that it can read again.
    block = np.ones(512 << 20, np.uint8)
    with_block = memory_mib("VmHWM")
    del block
    forget_peak()
    assert with_block - before > 50 and memory_mib("VmHWM") < with_block - 50


def test_without_the_trainer_the_rows_say_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workstation, "find_spec", lambda name: None)
    for measure in (paper, scales):
        (row,) = measure(bench)
        assert not row.figures and "needs the trainer" in row.note


def test_how_many_times_faster_is_told_of_ours_on_the_same_runtime_in_the_same_precision() -> None:
    rows = [
        Row("ours on cpu, fp32", {"median_ms": 2.0}),
        Row("EfficientAd-S on cpu, fp32", {"median_ms": 8.0}),
        Row("ours on cpu, odd", {"median_ms": 1.0}),
        Row("gpu, fp32", note="not here"),
    ]
    assert [row.figures.get("times_faster") for row in faster(rows)] == [4.0, None, None, None]
    assert faster(rows)[3] == rows[3]


def test_the_labs_own_budgets_are_of_measurements_there_are() -> None:
    assert {budget.measurement for budget in load_budgets(BUDGETS)} <= {one.name for one in MEASUREMENTS}


def test_the_command_sets_every_engine_beside_the_reference(
    edge_deploy: Run, bundle_file: Path, tmp_path: Path
) -> None:
    none = tmp_path / "none.json"  # on a busy machine no budget is kept for certain
    none.write_text('{"schema": "edge-inspect.budgets/1", "budgets": []}')
    run = edge_deploy("lab", bundle_file, "--quick", "--only", "efficientad", "--budgets", none)
    assert run.exit_code == 0, run.output
    assert "ours on onnxruntime, fp32" in run.stdout and "EfficientAd-S on onnxruntime, fp32" in run.stdout
    assert "times_faster" in run.stdout


def test_a_users_benchmark_says_where_the_others_are(edge_deploy: Run) -> None:
    assert "edge-deploy lab" in edge_deploy("bench", "--help").stdout
    assert edge_deploy("bench", "--only", "paper").exit_code == 2
