"""One patch size's teacher and students as one module: image -> (regression error, predictive uncertainty).

This is what is exported, so everything from uint8 pixels to the two maps happens in here and nowhere else. The
teacher's normalisation (y − μ)/σ is folded into its last layer, so students learn, and the graph computes, the very
same numbers at no cost. Students share the teacher's first layers, frozen: what they would learn there the teacher
knows already (FIGURES.md).
"""

from __future__ import annotations

import copy
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.networks import DescriptorNetwork, pad_for, pixels_to_network


class Ensemble(nn.Module):
    """Teacher (normalised, frozen) and M students of one patch size.

    shared: leading convolutions of the teacher, frozen as it is, whose output the students read; the students have been
    made without them (`new_students`).
    """

    def __init__(self, teacher: DescriptorNetwork, students: nn.ModuleList, shared: int = 0) -> None:
        super().__init__()
        self.stem, self.teacher = teacher.split(shared)
        self.students = students
        self.patch_size, self.stride = teacher.patch_size, teacher.stride

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, 3) uint8 BGR -> two (N, h, w) float32 maps: regression error, predictive uncertainty."""
        return error_and_uncertainty(*self.describe(self.pad(pixels_to_network(image))))

    def describe(self, padded: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W), already padded -> the teacher's descriptors (N, d, h, w), and each student's."""
        common = self.stem(padded)
        return self.teacher(common), [student(common) for student in self.students]

    def pad(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) -> the same with a margin, so that a map covers the whole image."""
        return pad_for(self.patch_size, pixels)


class HalfEnsemble(nn.Module):
    """The same networks in half precision, with e and v still computed in float32: the variant fp16.

    Made here and not by a converter of ONNX files, which drops types and clamps small weights. Differences of
    descriptors are taken in float32, where students that nearly agree do not drown in rounding.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = copy.deepcopy(ensemble).half()
        self.patch_size, self.stride = ensemble.patch_size, ensemble.stride

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """As `Ensemble.forward`."""
        padded = self.ensemble.pad(pixels_to_network(image).half())
        target, predictions = self.ensemble.describe(padded)
        return error_and_uncertainty(target.float(), [prediction.float() for prediction in predictions])


def error_and_uncertainty(target: Tensor, predictions: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Regression error e and predictive uncertainty v per position (§3.3).

    target: normalised teacher descriptors (N, d, h, w); predictions: M of the same shape.
    e = ‖mean_i s_i − target‖², v = mean_i ‖s_i − mean‖², which is Σ_{i<j} ‖s_i − s_j‖² / M²: of two and three students
    fewer operations, and like the centred form not off by 60 % in half precision where students agree, as
    mean ‖s_i‖² − ‖mean‖² would be.
    """
    count = len(predictions)
    mean = sum(predictions[1:], predictions[0]) / count
    pairs = [(one - other).square() for one, other in combinations(predictions, 2)]
    apart = sum(pairs[1:], pairs[0]) if pairs else torch.zeros_like(target)
    return channel_sum((mean - target).square()), channel_sum(apart) / count**2


def channel_sum(values: Tensor) -> Tensor:
    """(N, d, h, w) -> (N, h, w), as a 1×1 convolution with ones.

    ONNX Runtime adds up channels slowly: with ReduceSum the head took .39 to .45 more than its whole time now, 9 % of a
    float32 frame at stride 4 (one thread, AVX2).
    """
    channels = int(values.shape[1])  # a number, or the exporter does not know the kernel
    return F.conv2d(values, values.new_ones(1, channels, 1, 1))[:, 0]


def normalised_teacher(teacher: DescriptorNetwork, mean: Tensor, deviation: Tensor) -> DescriptorNetwork:
    """A copy whose descriptors are (y − mean)/deviation, component-wise (§3.2); both (128,)."""
    folded = copy.deepcopy(teacher)
    last = folded.layers[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    with torch.no_grad():
        last.weight.div_(deviation[:, None, None, None])
        last.bias.sub_(mean).div_(deviation)
    return folded.eval().requires_grad_(False)


def new_students(teacher: DescriptorNetwork, count: int, shared: int = 0) -> nn.ModuleList:
    """`count` students of the teacher's architecture without its first `shared` layers, of random starts."""
    return nn.ModuleList(DescriptorNetwork(teacher.patch_size, shared, teacher.width) for _ in range(count))
