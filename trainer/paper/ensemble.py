"""The paper's teacher and students as one exported module; `trainer.export` writes and checks its ONNX graph."""

from __future__ import annotations

from torch import Tensor, nn

from trainer.ensemble import Ensemble
from trainer.paper.networks import PaperNetwork, pad_for_paper


class PaperEnsemble(Ensemble):
    """As `Ensemble`, of the paper's networks, at the teacher's output stride."""

    def __init__(self, teacher: PaperNetwork, students: nn.ModuleList) -> None:
        super().__init__(teacher, students)

    def pad(self, pixels: Tensor) -> Tensor:
        """As `Ensemble.pad`; map point (i, j) is centred on pixel (i·stride, j·stride), plus `centre_offset_px` for
        p = 33 and 65."""
        return pad_for_paper(self.patch_size, pixels)


def paper_students(patch_size: int, count: int, stride: int = 1) -> nn.ModuleList:
    """`count` students with the paper's architecture and their own random start."""
    return nn.ModuleList(PaperNetwork(patch_size, stride) for _ in range(count))


def set_stride(ensemble: PaperEnsemble, stride: int) -> PaperEnsemble:
    """The same ensemble with its maps at another output stride; the values kept are the same."""
    ensemble.stride = stride
    for network in [ensemble.teacher, *ensemble.students]:
        network.stride = stride
    return ensemble
