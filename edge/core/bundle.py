"""One bundle, one zip: graphs, statistics, thresholds, ROI, golden sample; loaded from bytes, never extracted.

The zip's names come from an allow-list, its members' sizes are bounded before they are read, and each
digest in the manifest is checked, so a damaged or foreign file is refused before any of it is used.
Rejected: tar (paths, links), pickle (code), a folder (half-copied folders look whole).
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.core.arrays import (
    MAX_MEMBER_BYTES,
    GoldenSample,
    read_golden,
    read_local_stats,
    write_golden,
    write_local_stats,
)
from edge.core.errors import BundleError
from edge.core.image_health import HealthBands
from edge.core.manifest import Calibration, Manifest, manifest_from_json, manifest_to_json

if TYPE_CHECKING:  # it reads bundles itself
    from edge.core.commissioning import Commissioning

MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
VARIANTS = "fp32|fp16|int8-cpu|int8-trt"
ALLOWED = re.compile(rf"manifest\.json|golden\.npz|p\d{{1,4}}\.({VARIANTS})\.onnx|local-stats\.({VARIANTS})\.npz")
MAX_BUNDLE_BYTES = 1 << 30
FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # equal contents give an equal digest


def graph_name(patch_size: int, variant: str) -> str:
    """The member that holds one patch size's graph."""
    return f"p{patch_size}.{variant}.onnx"


def local_stats_name(variant: str) -> str:
    """The member that holds one variant's statistics of each place."""
    return f"local-stats.{variant}.npz"


@dataclass(frozen=True, slots=True, eq=False)
class GraphSet:
    """The graphs an engine runs: one ONNX file per patch size, all of one variant."""

    variant: str
    graphs: Mapping[int, bytes]
    strides: Mapping[int, int]
    where: str


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A verified bundle in memory. `digest` is the SHA-256 of the whole file.

    commissioning: what was re-fitted at the line, see `edge.core.commissioning`; None for the bundle as it was made.
    """

    manifest: Manifest
    graphs: Mapping[str, bytes]
    golden: GoldenSample
    digest: str
    where: str
    commissioning: Commissioning | None = None

    def calibration(self, variant: str) -> Calibration:
        """What decides on this device: the commissioning's calibration where there is one, else the manifest's.

        BundleError where `variant` is not calibrated, or was not the one that was commissioned.
        """
        if self.commissioning is None:
            return self.manifest.calibration(variant)
        return self.commissioning.calibration_of(variant)

    @property
    def health(self) -> HealthBands | None:
        """What pictures worth inspecting look like on this device; None where nothing says it."""
        there = None if self.commissioning is None else self.commissioning.health
        return there or self.manifest.health

    def graph_set(self, variant: str) -> GraphSet:
        """The graphs of one variant; BundleError says what the bundle holds."""
        names = {size: graph_name(size, variant) for size in self.manifest.patch_sizes}
        if missing := [name for name in names.values() if name not in self.graphs]:
            have = ", ".join(sorted(self.graphs))
            raise BundleError(f"bundle {self.where}: no {', '.join(missing)} in it (there are: {have})")
        graphs = {size: self.graphs[name] for size, name in names.items()}
        return GraphSet(variant, graphs, self.manifest.strides, self.where)


def load_bundle(path: Path) -> Bundle:
    """Read and verify a bundle; BundleError says what is wrong, where, and what to do."""
    try:
        if path.stat().st_size > MAX_BUNDLE_BYTES:
            raise BundleError(f"bundle {path}: larger than {MAX_BUNDLE_BYTES >> 20} MiB; this is not one of ours")
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {path}: cannot be read ({error.strerror}); check --bundle") from error
    return parse_bundle(raw, str(path))


def parse_bundle(raw: bytes, where: str) -> Bundle:
    """Verify a bundle from its bytes; `where` names it in messages."""
    members = _read_members(raw, where)
    for required in (MANIFEST, GOLDEN):
        if required not in members:
            raise BundleError(f"bundle {where}: {required} is missing; export it again with edge-train")
    manifest = manifest_from_json(members.pop(MANIFEST), where)
    for name, digest in manifest.digests.items():
        if name not in members:
            raise BundleError(f"bundle {where}: {name} is missing; copy it again or re-export")
        if hashlib.sha256(members[name]).hexdigest() != digest:
            raise BundleError(f"bundle {where}: {name} digest differs from manifest; copy it again or re-export")
    if extra := sorted(set(members) - set(manifest.digests)):
        raise BundleError(f"bundle {where}: {', '.join(extra)} not named in the manifest; re-export it")
    for size in manifest.patch_sizes:
        if graph_name(size, manifest.reference_variant) not in members:
            raise BundleError(f"bundle {where}: no graph for patch size {size}; re-export it")
    golden = read_golden(members.pop(GOLDEN), manifest, where)
    manifest = _with_local_stats(manifest, members, golden, where)
    return Bundle(manifest, members, golden, hashlib.sha256(raw).hexdigest(), where)


def save_bundle(path: Path, manifest: Manifest, graphs: Mapping[str, bytes], golden: GoldenSample) -> str:
    """Write a bundle atomically; fills in the manifest's digests; returns the file's SHA-256."""
    members = {**graphs, GOLDEN: write_golden(golden)}
    for variant, calibration in manifest.calibrations.items():
        if calibration.is_local:
            members[local_stats_name(variant)] = write_local_stats(calibration.stats)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(members.items())}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {MANIFEST: manifest_to_json(manifest, digests), **members}.items():
            archive.writestr(zipfile.ZipInfo(name, FIXED_DATE), content, zipfile.ZIP_DEFLATED)
    parse_bundle(buffer.getvalue(), str(path))  # never leave a bundle behind that would be refused
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial")
    beside.write_bytes(buffer.getvalue())
    beside.replace(path)
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def _read_members(raw: bytes, where: str) -> dict[str, bytes]:
    """All members by name, each checked against the allow-list and the size bound before it is read."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            infos = archive.infolist()
            for info in infos:
                if not ALLOWED.fullmatch(info.filename):
                    raise BundleError(f"bundle {where}: foreign member {info.filename!r}; this is not one of ours")
                if info.file_size > MAX_MEMBER_BYTES:
                    raise BundleError(f"bundle {where}: {info.filename} claims {info.file_size} bytes; refused")
            if len({info.filename for info in infos}) != len(infos):
                raise BundleError(f"bundle {where}: a name occurs twice; re-export it")
            if sum(info.file_size for info in infos) > MAX_BUNDLE_BYTES:
                raise BundleError(f"bundle {where}: its members claim more than {MAX_BUNDLE_BYTES >> 20} MiB; refused")
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise BundleError(f"bundle {where}: not a whole zip file ({error}); copy it again or re-export") from error


def _with_local_stats(manifest: Manifest, members: dict[str, bytes], golden: GoldenSample, where: str) -> Manifest:
    """The manifest whose calibrations hold the statistics of each place that are among `members`, and leave them."""
    calibrations = dict(manifest.calibrations)
    for variant, calibration in manifest.calibrations.items():
        if (raw := members.pop(local_stats_name(variant), None)) is not None:
            what = f"bundle {where}: {local_stats_name(variant)}"
            calibrations[variant] = replace(calibration, stats=read_local_stats(raw, calibration.stats, golden, what))
    return replace(manifest, calibrations=calibrations)
