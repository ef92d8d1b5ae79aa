"""Labelled images for the one-vs-rest experiment: MNIST's IDX files, CIFAR-10's binary files, or image folders.

The Python version of CIFAR-10 is pickled and therefore refused: reading it may run any code.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.core.errors import TrainingError
from edge.core.images import read_image
from edge.core.types import Image
from trainer.data import list_images

CIFAR_SIDE = 32
CIFAR_ROW = 1 + 3 * CIFAR_SIDE**2
IDX_UNSIGNED_BYTE = 8


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """images: (n, h, w, 3) uint8 BGR; labels: (n,) int64, places in the list of classes."""

    images: Image
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder of one of the three formats, read when asked."""

    folder: Path
    format: str
    classes: tuple[str, ...]

    def part(self, name: str, only: int | None = None) -> Labelled:
        """`name` is "train" or "test"; `only` leaves out all other classes."""
        readers = {"idx": _read_idx_part, "cifar": _read_cifar_part}
        if self.format == "folders":
            return _read_folders(self, name, only)
        everything = readers[self.format](self.folder, name)
        return everything if only is None else _only(everything, only, self.folder)


def open_dataset(folder: Path) -> Dataset:
    """Which of the three formats it is; TrainingError where it is none of them."""
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return Dataset(folder, "folders", tuple(sorted(f.name for f in (folder / "train").iterdir() if f.is_dir())))
    if list(folder.glob("*-idx3-ubyte*")):
        return Dataset(folder, "idx", tuple(str(digit) for digit in range(10)))
    if (folder / "test_batch.bin").is_file():
        names = folder / "batches.meta.txt"
        text = names.read_text().split() if names.is_file() else [str(number) for number in range(10)]
        return Dataset(folder, "cifar", tuple(text))
    pickled = (folder / "test_batch").is_file()
    raise TrainingError(
        f"{folder}: "
        + ("this is CIFAR-10 pickled for Python, which may run any code; take its binary version" if pickled else
           "no images here: give the folder of MNIST's *-idx3-ubyte(.gz), of CIFAR-10's *_batch*.bin, or of "
           "train/<class> and test/<class>")
    )  # fmt: skip


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes, plain or gzipped (`path` or `path`.gz), in its own shape."""
    packed = path.with_name(path.name + ".gz")
    try:
        content = gzip.decompress(packed.read_bytes()) if packed.is_file() else path.read_bytes()
    except (OSError, EOFError) as error:  # gzip's own errors are OSError, a cut file is EOFError
        raise TrainingError(f"{path}(.gz): not readable ({error}); copy the file again") from error
    axes = content[3] if len(content) > 4 else 0
    if content[:3] != bytes([0, 0, IDX_UNSIGNED_BYTE]) or len(content) < 4 + 4 * axes:
        raise TrainingError(f"{path}(.gz): no IDX file of unsigned bytes; is it the right one?")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, offset=4))
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if values.size != int(np.prod(shape)):
        raise TrainingError(f"{path}(.gz): {values.size} values where its header promises {shape}; copy it again")
    return values.reshape(shape)


def read_cifar(path: Path) -> Labelled:
    """One of CIFAR-10's binary files: rows of a label and a 32×32 image, red, green and blue plane."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}; CIFAR-10's binary version has it") from error
    if content.size == 0 or content.size % CIFAR_ROW or content[::CIFAR_ROW].max() > 9:
        raise TrainingError(
            f"{path}: {content.size} bytes are no rows of {CIFAR_ROW} with labels 0 to 9; copy it again"
        )
    rows = content.reshape(-1, CIFAR_ROW)
    planes = rows[:, 1:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE)
    return Labelled(np.ascontiguousarray(planes[:, ::-1].transpose(0, 2, 3, 1)), rows[:, 0].astype(np.int64))


def _read_idx_part(folder: Path, name: str) -> Labelled:
    prefix = "train" if name == "train" else "t10k"
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte")
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte")
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise TrainingError(f"{folder}: {prefix} has images {images.shape} but labels {labels.shape}; copy both again")
    return Labelled(np.repeat(images[..., None], 3, axis=3), labels.astype(np.int64))


def _read_cifar_part(folder: Path, name: str) -> Labelled:
    files = [f"data_batch_{n}.bin" for n in range(1, 6)] if name == "train" else ["test_batch.bin"]
    parts = [read_cifar(folder / file) for file in files]
    return Labelled(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))


def _read_folders(dataset: Dataset, name: str, only: int | None) -> Labelled:
    images: list[Image] = []
    labels: list[int] = []
    for label, class_name in enumerate(dataset.classes):
        if only in (None, label):
            found = [read_image(path) for path in list_images(dataset.folder / name / class_name)]
            images += found
            labels += [label] * len(found)
    if len({image.shape for image in images}) != 1:
        raise TrainingError(f"{dataset.folder / name}: images of several sizes; the experiment wants them of one")
    return Labelled(np.stack(images), np.array(labels, np.int64))


def _only(everything: Labelled, label: int, folder: Path) -> Labelled:
    kept = everything.labels == label
    if not kept.any():
        raise TrainingError(f"{folder}: no training image of class {label}")
    return Labelled(everything.images[kept], everything.labels[kept])
