"""The paper's dense graphs go through NVIDIA's parser and compiler in every precision, with sizes left open."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge.core.bundle import GraphSet
from edge.engines.tensorrt_build import build_plan
from tests.edge.engines.test_tensorrt_rtx import rtx_or_skip
from trainer.export import export_graphs, quantise_graphs
from trainer.paper.ensemble import PaperEnsemble
from trainer.paper.networks import Dense, PaperNetwork

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 44, 3), np.uint8)
SIZES_LEFT_OPEN = [(1, 40, 44, 3), (1, 64, 64, 3), (2, 96, 128, 3)]


def a_paper_ensemble(patch_size: int, dense: Dense = "dilated") -> PaperEnsemble:
    torch.manual_seed(0)
    networks = [PaperNetwork(patch_size, dense=dense) for _ in range(2)]
    ensemble = PaperEnsemble(networks[0], torch.nn.ModuleList(networks[1:]))
    return ensemble.eval().requires_grad_(False)


def in_variant(ensemble: PaperEnsemble, variant: str) -> GraphSet:
    ensembles = {ensemble.patch_size: ensemble}
    if variant == "int8-trt":
        return quantise_graphs(ensembles, export_graphs(ensembles, IMAGE), [IMAGE], variant)
    return export_graphs(ensembles, IMAGE, variant)


@pytest.mark.parametrize(
    ("patch_size", "variant"), [(17, "fp32"), (33, "fp32"), (33, "fp16"), (33, "int8-trt"), (65, "fp32")]
)
def test_nvidias_compiler_builds_the_dense_networks(
    patch_size: int, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtx = rtx_or_skip()
    monkeypatch.setattr("trainer.convolutions.MOST_INPUTS", 0)  # how weights are rounded is nothing to a compiler
    graphs = in_variant(a_paper_ensemble(patch_size), variant)
    assert build_plan(rtx, graphs.graphs[patch_size], SIZES_LEFT_OPEN)[0]


def test_nvidias_compiler_builds_the_networks_that_pool_at_every_shift() -> None:
    rtx = rtx_or_skip()
    graphs = export_graphs({33: a_paper_ensemble(33, "multi-pooled")}, IMAGE)
    assert build_plan(rtx, graphs.graphs[33], SIZES_LEFT_OPEN)[0]
