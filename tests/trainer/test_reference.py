"""What the benchmark takes from the trainer, in a process of its own: the paper's networks, and graphs to time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner

from deploy.lab.workstation import has_trainer, paper_networks
from edge.core.bundle import GraphSet
from edge.engines.onnxruntime import OnnxRuntimeEngine
from trainer.reference import cli


def test_a_frame_goes_through_the_papers_three_patch_sizes_each_time_it_is_asked_for() -> None:
    assert has_trainer()
    with paper_networks((36, 36), students=1, threads=1) as networks:
        for milliseconds in (networks.run(), networks.run()):
            assert set(milliseconds) == {17, 33, 65} and min(milliseconds.values()) > 0


def test_graphs_are_written_for_every_patch_size_with_every_number_of_students(tmp_path: Path) -> None:
    command = ["export", str(tmp_path), "--patch-size", "9", "--patch-size", "17", "--students", "1", "--students", "2"]
    run = CliRunner().invoke(cli, command)
    assert run.exit_code == 0, run.output
    assert {file.name for file in tmp_path.iterdir()} == {f"p{p}.m{m}.onnx" for p in (9, 17) for m in (1, 2)}
    graphs = GraphSet("fp32", {17: (tmp_path / "p17.m2.onnx").read_bytes()}, {17: 4}, "a test")
    maps = OnnxRuntimeEngine(graphs, 1).infer(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    assert maps[17].predictive_uncertainty.max() > 0
