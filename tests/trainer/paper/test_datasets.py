"""The experiment's three formats, written here byte by byte, and what is said of files that are none of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.errors import TrainingError
from trainer.paper.datasets import open_dataset, read_cifar, read_idx


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.astype(np.uint8).tobytes()


def write_mnist(folder: Path, packed: bool) -> tuple[np.ndarray, np.ndarray]:
    images = np.arange(6 * 4 * 3).reshape(6, 4, 3) % 251
    labels = np.array([3, 1, 3, 0, 9, 3])
    for prefix in ("train", "t10k"):
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            path, content = folder / f"{prefix}-{kind}-ubyte", idx_bytes(values)
            if packed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
            else:
                path.write_bytes(content)
    return images, labels


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_is_read_plain_and_gzipped_as_grey_in_three_channels(tmp_path: Path, packed: bool) -> None:
    images, labels = write_mnist(tmp_path, packed)
    dataset = open_dataset(tmp_path)
    test = dataset.part("test")
    assert dataset.classes == tuple("0123456789")
    np.testing.assert_array_equal(test.images, np.stack([images] * 3, axis=3))
    assert test.labels.tolist() == labels.tolist()
    threes = dataset.part("train", only=3)
    np.testing.assert_array_equal(threes.images[..., 0], images[labels == 3])
    with pytest.raises(TrainingError, match="class 5"):
        dataset.part("train", only=5)


def test_cifar_binary_files_are_rows_of_a_label_and_red_green_blue_planes(tmp_path: Path) -> None:
    planes = np.zeros((2, 3, 32, 32), np.uint8)
    planes[0, 0, 1, 2], planes[1, 2, 31, 0] = 200, 90  # red of the first image, blue of the second
    rows = np.concatenate([np.array([[7], [2]], np.uint8), planes.reshape(2, -1)], axis=1)
    for name in ("test_batch.bin", *(f"data_batch_{n}.bin" for n in range(1, 6))):
        (tmp_path / name).write_bytes(rows.tobytes())
    (tmp_path / "batches.meta.txt").write_text("\n".join(f"name{n}" for n in range(10)) + "\n\n")
    dataset = open_dataset(tmp_path)
    test = dataset.part("test")
    assert dataset.classes[7] == "name7" and test.labels.tolist() == [7, 2]
    assert test.images[0, 1, 2].tolist() == [0, 0, 200] and test.images[1, 31, 0].tolist() == [90, 0, 0]
    assert len(dataset.part("train", only=2).images) == 5


def test_image_folders_are_read_class_by_class(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for value, name in ((10, "bird"), (20, "airplane")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                cv2.imwrite(str(tmp_path / part / name / f"{number}.png"), np.full((8, 8, 3), value + number, np.uint8))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("airplane", "bird")
    assert dataset.part("train", only=1).images[:, 0, 0, 0].tolist() == [10, 11, 12]
    assert dataset.part("test").labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="give the folder of MNIST"):
        open_dataset(tmp_path)
    (tmp_path / "test_batch").write_bytes(b"\x80\x04")
    with pytest.raises(TrainingError, match="pickled"):
        open_dataset(tmp_path)
    whole = idx_bytes(np.zeros((2, 3, 3)))
    for content, complaint in ((whole[:-1], "17 values"), (b"\x89PNG\r\n", "no IDX file"), (b"", "no IDX file")):
        (tmp_path / "images").write_bytes(content)
        with pytest.raises(TrainingError, match=complaint):
            read_idx(tmp_path / "images")
    (tmp_path / "packed.gz").write_bytes(gzip.compress(whole)[:-9])
    with pytest.raises(TrainingError, match="copy the file again"):
        read_idx(tmp_path / "packed")
    (tmp_path / "cut.bin").write_bytes(bytes(3072))
    with pytest.raises(TrainingError, match="3072 bytes"):
        read_cifar(tmp_path / "cut.bin")


@pytest.mark.real_data
def test_the_real_mnist_is_read(test_data: Path) -> None:
    test = open_dataset(test_data / "mnist").part("test")
    assert test.images.shape == (10000, 28, 28, 3)
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
