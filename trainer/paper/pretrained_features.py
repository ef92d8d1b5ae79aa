"""The pretrained network P on whole patches (§3.1, knowledge distillation): one vector for each patch.

EfficientNet-Lite0 comes as a wheel: the patch enlarged to 96×96 px, blocks 10 and 15 pooled, 432 values. Measured
on CIFAR-10 *training* images of the classes 3 to 9 (one-vs-rest by Mahalanobis distance): blocks 10 + 15 .812, block
4 .745, the 1280 values before the classifier .690; at 64 px .775, .739, .685. The paper's ResNet-18 (512 values) is
used on request where torchvision and its weights are present; nothing is ever downloaded.
"""

from __future__ import annotations

import io
import warnings
from typing import Literal

import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge.core.errors import TrainingError
from trainer.backbones import EfficientNetLite0Features

PatchBackbone = Literal["efficientnet-lite0", "resnet18"]
SIDES = {"efficientnet-lite0": 96, "resnet18": 224}  # pixels a patch is enlarged to
POOLED_BLOCKS = (10, 15)


class PooledEfficientNet(nn.Module):
    """(N, 3, h, w) float32 RGB about -1..1 -> (N, 432): blocks 10 and 15, pooled over the patch."""

    channels = 112 + 320

    def __init__(self) -> None:
        super().__init__()
        network = EfficientNetLite0Features(POOLED_BLOCKS)
        self.stem, self.blocks = network.stem, network.blocks

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        x, pooled = self.stem(image), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in POOLED_BLOCKS:
                pooled.append(x.mean((2, 3)))
        return torch.cat(pooled, dim=1)


class PooledResNet(nn.Module):
    """(N, 3, h, w) float32 RGB about -1..1 -> (N, 512), as in the paper; wants torchvision and its weights."""

    channels = 512
    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        try:
            from torchvision.models import ResNet18_Weights, resnet18  # type: ignore[import-not-found,unused-ignore]
        except (ImportError, RuntimeError) as error:  # RuntimeError: one built for another torch
            raise TrainingError(
                f"--backbone resnet18: torchvision does not import here ({error}); install the one built for torch "
                f"{torch.__version__}, or take --backbone efficientnet-lite0"
            ) from error
        name = ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
        path = torch.hub.get_dir() + "/checkpoints/" + name
        try:
            weights = torch.load(path, weights_only=True)
        except OSError as error:
            raise TrainingError(
                f"{path}: {error.strerror}; put torchvision's ResNet-18 weights there (they are not downloaded), or "
                "take --backbone efficientnet-lite0"
            ) from error
        network = resnet18()
        network.load_state_dict(weights)
        network.fc = nn.Identity()
        self.network = network
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.network(((image * 128 + 127) / 255 - self.mean) / self.deviation)
        return out


class PatchFeatures:
    """P of whole patches, frozen. Run by ONNX Runtime: torch took 25 ms a patch where it takes 5.5."""

    def __init__(self, name: PatchBackbone) -> None:
        """TrainingError says what is missing for `name`."""
        self.name, self.side = name, SIDES[name]
        network = PooledEfficientNet() if name == "efficientnet-lite0" else PooledResNet()
        self.channels = network.channels
        buffer, shape = io.BytesIO(), (1, 3, self.side, self.side)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # see `trainer.export`: the exporter is announced to go
            torch.onnx.export(
                network.eval(),
                (torch.zeros(shape),),
                buffer,  # type: ignore[arg-type]  # as in `trainer.export`
                input_names=["patches"],
                opset_version=17,
                dynamo=False,
                dynamic_axes={"patches": {0: "batch"}},
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])

    def __call__(self, patches: Tensor) -> Tensor:
        """(N, 3, p, p) float32 BGR from `pixels_to_network` -> (N, channels) float32, P of each enlarged patch."""
        enlarged = F.interpolate(patches.flip(1), (self.side, self.side), mode="bicubic", align_corners=False)
        return torch.from_numpy(self.session.run(None, {"patches": enlarged.numpy()})[0])
