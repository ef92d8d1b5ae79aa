"""Two real processes under torchrun train to what one process trains to, and take over each other's checkpoints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edge.core.errors import TrainingError
from trainer import processes
from trainer.networks import DescriptorNetwork
from trainer.teacher import TeacherConfig, save_teacher

STEPS = 4


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Twenty good parts and a teacher that was never trained: enough to compare weights with."""
    (tmp_path / "good").mkdir()
    rng = np.random.default_rng(0)
    for index in range(20):
        cv2.imwrite(str(tmp_path / "good" / f"{index}.png"), rng.integers(0, 255, (64, 64, 3), np.uint8))
    torch.manual_seed(0)
    (tmp_path / "teachers").mkdir()
    save_teacher(DescriptorNetwork(17), tmp_path / "teachers" / "p17.safetensors", TeacherConfig(), "nothing", 1.0)
    return tmp_path


def train(parts: Path, run: str, *launcher: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *launcher, "trainer.cli", "students", str(parts / "good"), "--run"]
    command += [str(parts / run), "--teachers", str(parts / "teachers"), "--patch-sizes", "17", "--steps", str(STEPS)]
    return subprocess.run(
        [*command, "--input-size", "64", "64"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


TWO = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--")


def test_two_processes_train_to_the_weights_of_one_and_one_goes_on_from_theirs(parts: Path) -> None:
    alone, both = train(parts, "alone"), train(parts, "both", *TWO)
    assert alone.returncode == 0, alone.stderr
    assert both.returncode == 0, both.stderr
    of_one, of_two = (load_file(parts / run / "students.safetensors") for run in ("alone", "both"))
    # bfloat16 rounds a shared batch otherwise, by up to .0003 here; without averaged gradients it would be .003.
    tolerance = 1e-3 if processes.has_bfloat16() else 1e-4
    for name, weights in of_one.items():
        torch.testing.assert_close(of_two[name], weights, rtol=1e-3, atol=tolerance)
    assert json.loads((parts / "both" / "run.json").read_text())["splits"]
    again = train(parts, "both")  # the checkpoint of two, taken over by one: nothing is left to do
    assert again.returncode == 0, again.stderr
    assert re.search(rf"resumed .*step={STEPS}\b", again.stderr)


@pytest.mark.parametrize("has_bf16", [True, False])
def test_bfloat16_is_taken_only_where_the_processor_computes_it(
    has_bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bf16})
    network, image = DescriptorNetwork(17), torch.zeros(1, 3, 17, 17)
    with processes.mixed_precision():
        assert network(image).dtype is (torch.bfloat16 if has_bf16 else torch.float32)
    assert all(weights.dtype is torch.float32 for weights in network.parameters())


def test_a_batch_that_cannot_be_shared_evenly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "processes", lambda: 2)
    monkeypatch.setattr(processes, "rank", lambda: 1)
    assert list(range(4))[processes.share(4)] == [1, 3]
    with pytest.raises(TrainingError, match="multiple of 2"):
        processes.share(3)
