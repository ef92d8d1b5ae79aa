"""`python -m trainer.reference`: what `edge-deploy lab` needs of torch, in a process that it starts where torch is.

Random weights: only time is measured. Rejected: a command of `edge-train`, since nobody calls this by hand, and timings
kept in a file, which would compare two machines, or two hours of one.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click
import numpy as np
import torch

from edge.core.types import Image
from trainer.ensemble import Ensemble, new_students
from trainer.export import export_graphs
from trainer.networks import DescriptorNetwork
from trainer.paper.ensemble import PaperEnsemble, paper_students
from trainer.paper.networks import LAYERS, PaperNetwork

SIDE = 64  # of the image that an export is checked on


@click.group()
def cli() -> None:
    """Parts of the benchmark that need torch."""


@cli.command()
@click.option("--input-size", nargs=2, type=int, required=True)
@click.option("--students", type=int, required=True)
@click.option("--threads", type=int, required=True, help="0 means torch's own choice.")
def paper(input_size: tuple[int, int], students: int, threads: int) -> None:
    """For each line on stdin run one frame through the paper's networks, dense; print milliseconds by patch size."""
    if threads:
        torch.set_num_threads(threads)
    image = torch.from_numpy(_pixels(*input_size)[None])
    ensembles = {p: PaperEnsemble(PaperNetwork(p), paper_students(p, students)).eval() for p in LAYERS}
    for _ in sys.stdin:
        with torch.no_grad():
            click.echo(json.dumps({p: _milliseconds(ensemble, image) for p, ensemble in ensembles.items()}))


def _milliseconds(ensemble: PaperEnsemble, image: torch.Tensor) -> float:
    started = time.perf_counter()
    ensemble(image)
    return 1e3 * (time.perf_counter() - started)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--patch-size", "patch_sizes", type=int, multiple=True, required=True)
@click.option("--students", type=int, multiple=True, required=True)
def export(folder: Path, patch_sizes: tuple[int, ...], students: tuple[int, ...]) -> None:
    """Write FOLDER/p<size>.m<students>.onnx: our networks of these patch sizes, with these numbers of students."""
    side = max(SIDE, 2 * max(patch_sizes))
    sample = _pixels(side, side)
    for count in students:
        teachers = {p: DescriptorNetwork(p) for p in patch_sizes}
        ensembles = {p: Ensemble(teacher, new_students(teacher, count)).eval() for p, teacher in teachers.items()}
        for ensemble in ensembles.values():
            ensemble.requires_grad_(False)
        for p, graph in export_graphs(ensembles, sample).graphs.items():
            (folder / f"p{p}.m{count}.onnx").write_bytes(graph)


def _pixels(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


if __name__ == "__main__":
    cli()
