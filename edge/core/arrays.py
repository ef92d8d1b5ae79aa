"""The array members of a bundle: the golden sample, and the score statistics of each place; npz, never pickle.

Sizes are bounded before anything is read, and whatever is wrong with an array is a BundleError that names it.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge.core.archive import MAX_MEMBER_BYTES
from edge.core.errors import BundleError
from edge.core.manifest import Manifest
from edge.core.scoring import LocalStats, ScoreStats
from edge.core.types import DrivenBy, Image, PatchMaps, Term

ADVICE = "re-export it"


@dataclass(frozen=True, slots=True, eq=False)
class GoldenSample:
    """One good image and what the reference engine made of it: a check of any engine on any machine.

    image: (h, w, 3) uint8 BGR of the input size. maps: by patch size. score: its image score.
    """

    image: Image
    maps: Mapping[int, PatchMaps]
    score: float


def write_golden(golden: GoldenSample) -> bytes:
    """The golden sample as a bundle keeps it: npz."""
    arrays: dict[str, Any] = {"image": golden.image, "score": golden.score}
    for maps in golden.maps.values():
        arrays |= {_name(key): values for key, values in maps.terms.items()}
    return _write_arrays(arrays)


def read_golden(raw: bytes, manifest: Manifest, where: str) -> GoldenSample:
    """What `write_golden` wrote, fitting the manifest; BundleError where it does not."""
    with _arrays(raw, f"bundle {where}: golden sample") as arrays:
        found = {key: np.asarray(arrays[_name(key)], np.float32) for key in manifest.terms}
        maps = {
            key.patch_size: PatchMaps(
                key.patch_size,
                manifest.strides[key.patch_size],
                error,
                found.get(DrivenBy(key.patch_size, Term.PREDICTIVE_UNCERTAINTY)),
                key.neighbours,
            )
            for key, error in found.items()
            if key.term is Term.REGRESSION_ERROR
        }
        golden = GoldenSample(np.asarray(arrays["image"], np.uint8), maps, float(arrays["score"]))
    if golden.image.shape != (*manifest.geometry.input_size, 3):
        raise BundleError(f"bundle {where}: golden image is {golden.image.shape}, not the input size; re-export it")
    return golden


def write_local_stats(stats: ScoreStats) -> bytes:
    """Mean and deviation of each place, of every term: npz."""
    arrays: dict[str, Any] = {}
    for key, term_stats in stats.items():
        assert term_stats.local is not None  # a local calibration has them for every term
        arrays[f"{_name(key)}.mean"] = term_stats.local.mean
        arrays[f"{_name(key)}.deviation"] = term_stats.local.deviation
    return _write_arrays(arrays)


def read_local_stats(
    raw: bytes, stats: ScoreStats, golden: GoldenSample, what: str, advice: str = ADVICE
) -> ScoreStats:
    """Each term's statistics with those of each place, which must fit the golden sample's maps.

    BundleError about `what` ends in `advice`.
    """
    completed = {}
    with _arrays(raw, what, advice) as arrays:
        for key, term_stats in stats.items():
            prefix = _name(key)
            local = LocalStats(
                np.asarray(arrays[f"{prefix}.mean"], np.float32), np.asarray(arrays[f"{prefix}.deviation"], np.float32)
            )
            if local.mean.shape != golden.maps[key.patch_size].terms[key].shape:
                raise BundleError(f"{what}: {prefix} is {local.mean.shape}, not the size of its map; {advice}")
            completed[key] = replace(term_stats, local=local)
    return completed


def _name(key: DrivenBy) -> str:
    """The array of one term; the patch size alone tells neighbours from students."""
    return f"p{key.patch_size}.{key.term.value}"


def _write_arrays(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@contextmanager
def _arrays(raw: bytes, what: str, advice: str = ADVICE) -> Iterator[Mapping[str, Any]]:
    """The arrays of an npz member; whatever goes wrong while they are read is a BundleError about `what`."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as inside:
            if sum(info.file_size for info in inside.infolist()) > MAX_MEMBER_BYTES:
                raise BundleError(f"{what} claims too many bytes; refused")
        with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
            yield arrays
    except (
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        OSError,
        EOFError,
        MemoryError,  # a shape that no machine has room for
        NotImplementedError,
        RuntimeError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise BundleError(f"{what} is damaged ({error}); {advice}") from error
