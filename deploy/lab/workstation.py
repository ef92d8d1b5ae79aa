"""What needs torch and the trainer, as processes of their own: they are not on a device, and never imported here."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from deploy.bench.processes import python
from edge.core.errors import EdgeError
from edge.core.preprocess import Size

MODULE = "trainer.reference"
MISSING = "not measured: it needs the trainer (pip install 'edge-inspect[train]')"


def has_trainer() -> bool:
    """Whether this Python has what MODULE needs."""
    return all(find_spec(name) is not None for name in ("trainer", "torch", "onnx"))


def export_random(folder: Path, patch_sizes: Sequence[int], students: Sequence[int]) -> None:
    """Write p<size>.m<students>.onnx for all of both: our networks with random weights."""
    command = python("-m", MODULE, "export", folder)
    command += [f"--patch-size={size}" for size in patch_sizes] + [f"--students={count}" for count in students]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgeError(f"the trainer could not export graphs: {done.stderr.strip()[-500:]}")


class PaperNetworks:
    """The paper's networks in torch, in a process; `run` is one frame."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self) -> dict[int, float]:
        """Milliseconds of one frame by patch size."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None and answers is not None
        requests.write("\n")
        requests.flush()
        if not (answer := answers.readline()):
            raise EdgeError("paper: the process with the paper's networks has ended; it may have had too little memory")
        return {int(size): float(ms) for size, ms in json.loads(answer).items()}


@contextmanager
def paper_networks(input_size: Size, students: int, threads: int) -> Iterator[PaperNetworks]:
    """Teacher and students of each of the paper's patch sizes, dense, ready to run."""
    sides = [str(side) for side in input_size]
    command = python(
        "-m", MODULE, "paper", "--input-size", *sides, "--students", str(students), "--threads", str(threads)
    )
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield PaperNetworks(process)
    finally:
        process.terminate()
        process.communicate()
