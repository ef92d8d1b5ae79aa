"""What a teacher's training needs, in one small folder: for a machine that has a GPU and no network.

Natural images are re-encoded as WebP (.4 of their bytes), and P's weights leave out the blocks that nobody asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
from safetensors.torch import save_file

from edge.core.images import read_image
from trainer.backbones import EfficientNetLite0Features
from trainer.data import list_images
from trainer.progress import counted
from trainer.teacher import TARGET_BLOCKS

WEIGHTS = "backbone.safetensors"
IMAGES = "images"
SHORT_SIDE = 320  # px: crops are 256
QUALITY = 70  # of 100; 3,500 images in 38 MB


def pack(folders: Sequence[Path], out: Path) -> int:
    """Write `out/images/*.webp` and `out/backbone.safetensors`; the number of images.

    `edge-train lab teacher out/images --backbone out/backbone.safetensors` trains on them.
    """
    paths = [path for folder in folders for path in list_images(folder)]
    (out / IMAGES).mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(counted(paths, "packing", len(paths))):
        image = read_image(path)
        scale = min(1.0, SHORT_SIDE / min(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(out / IMAGES / f"{number:06}.webp"), small, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    backbone = EfficientNetLite0Features(TARGET_BLOCKS)
    save_file(backbone.network_weights(), out / WEIGHTS)
    return len(paths)
