"""The paper's teacher and students as one exported module; `trainer.export` writes and checks its ONNX graph."""

from __future__ import annotations

from torch import Tensor, nn

from trainer.ensemble import Ensemble, error_and_uncertainty
from trainer.networks import pixels_to_network
from trainer.paper.networks import PaperNetwork, pad_for_paper


class PaperEnsemble(Ensemble):
    """As `Ensemble`, of the paper's networks, at the teacher's output stride."""

    def __init__(self, teacher: PaperNetwork, students: nn.ModuleList) -> None:
        super().__init__(teacher, students)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, 3) uint8 BGR -> two (N, h, w) float32 maps: regression error, predictive uncertainty.

        Map point (i, j) is centred on pixel (i·stride, j·stride), plus `centre_offset_px` for p = 33 and 65.
        """
        padded = pad_for_paper(self.patch_size, pixels_to_network(image))
        return error_and_uncertainty(self.teacher(padded), [student(padded) for student in self.students])


def paper_students(patch_size: int, count: int, stride: int = 1) -> nn.ModuleList:
    """`count` students with the paper's architecture and their own random start."""
    return nn.ModuleList(PaperNetwork(patch_size, stride) for _ in range(count))


def set_stride(ensemble: PaperEnsemble, stride: int) -> PaperEnsemble:
    """The same ensemble with its maps at another output stride; the values kept are the same."""
    ensemble.stride = stride
    for network in [ensemble.teacher, *ensemble.students]:
        network.stride = stride
    return ensemble
