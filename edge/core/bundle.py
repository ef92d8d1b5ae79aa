"""One bundle, one zip: graphs, statistics, thresholds, ROI, golden sample; loaded from bytes, never extracted.

Each patch size is a graph of its own, and so are the distances to neighbours, whose two maps share a network. A variant
without a graph of neighbours takes the reference's, in float32.

The manifest comes first: its signature is checked before it is parsed, and it names the digest of every other member,
so nothing is used that it does not vouch for. What the zip may look like is in `edge.core.archive`. Patch sizes that
the fusion gives no weight need not be computed (`graph_set`): they change no score, and the map keeps the grid it was
calibrated on; evaluation and commissioning run all, for they show, and re-fit, every term. Rejected: signing the whole
file, for which all of it would have to be read before anything is known of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge.core.archive import GOLDEN, MANIFEST, NOTICE, SIGNATURE, VARIANTS, Archive, pack_archive, read_file
from edge.core.arrays import GoldenSample, read_golden, read_local_stats, write_golden, write_local_stats
from edge.core.calibration import Calibration
from edge.core.errors import BundleError
from edge.core.files import write_whole
from edge.core.graph_file import require_self_contained
from edge.core.image_health import HealthBands
from edge.core.manifest import REFERENCE_VARIANT, Manifest, manifest_from_json, manifest_to_json
from edge.core.types import Neighbours, PatchMaps

if TYPE_CHECKING:  # it reads bundles itself
    from edge.core.commissioning import Commissioning

__all__ = [
    "INPUT",
    "NEIGHBOURS",
    "OUTPUTS",
    "VARIANTS",
    "Bundle",
    "GraphSet",
    "Layout",
    "Outputs",
    "graph_name",
    "load_bundle",
    "parse_bundle",
    "save_bundle",
]

# Of every graph: one uint8 image (N, H, W, 3) BGR, two float32 maps (N, h, w).
INPUT, OUTPUTS = "image", ("regression_error", "predictive_uncertainty")
NEIGHBOURS = 0  # among graphs, which go by their patch size: the one of distances to neighbours, which has two

# (the manifest's bytes, the signature member or None, where) -> who signed; BundleError refuses
CheckSignature = Callable[[bytes, bytes | None, str], str]


def graph_name(patch_size: int, variant: str) -> str:
    """The member that holds one patch size's graph, or that of NEIGHBOURS."""
    return f"neighbours.{variant}.onnx" if patch_size == NEIGHBOURS else f"p{patch_size}.{variant}.onnx"


def graph_names(
    patch_sizes: Iterable[int], has_neighbours: bool, variant: str, there: Container[str]
) -> dict[int, str]:
    """The members of one variant; neighbours without a graph of that variant among `there` run the reference's."""
    names = {size: graph_name(size, variant) for size in patch_sizes}
    if has_neighbours:
        own = graph_name(NEIGHBOURS, variant)
        names[NEIGHBOURS] = own if own in there else graph_name(NEIGHBOURS, REFERENCE_VARIANT)
    return names


def local_stats_name(variant: str) -> str:
    """The member that holds one variant's statistics of each place."""
    return f"local-stats.{variant}.npz"


class Part(NamedTuple):
    """Which of a graph's outputs are maps of one patch size, and what makes them its maps."""

    patch_size: int
    outputs: slice
    make: Callable[..., PatchMaps]


class Outputs(NamedTuple):
    """The names of a graph's outputs, and what they are, in this order."""

    names: tuple[str, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """How what graphs give lies on the image: strides by patch size, and the patch size of each map of neighbours."""

    strides: Mapping[int, int]
    neighbours: Mapping[Neighbours, int] = field(default_factory=dict)

    def outputs(self, graph: int) -> Outputs:
        """What one graph gives, of a patch size or of NEIGHBOURS; engines ask once."""
        if graph != NEIGHBOURS:
            return Outputs(OUTPUTS, (Part(graph, slice(None), partial(PatchMaps, graph, self.strides[graph])),))
        parts = [
            Part(size, slice(place, place + 1), partial(PatchMaps, size, self.strides[size], neighbours=one))
            for place, (one, size) in enumerate(self.neighbours.items())
        ]
        return Outputs(tuple(one.value for one in self.neighbours), tuple(parts))


@dataclass(frozen=True, slots=True, eq=False)
class GraphSet:
    """The graphs an engine runs: one ONNX file per patch size and one of NEIGHBOURS, all of one variant.

    strides, neighbours: see `Layout`.
    """

    variant: str
    graphs: Mapping[int, bytes]
    strides: Mapping[int, int]
    where: str
    neighbours: Mapping[Neighbours, int] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """How their outputs lie on the image."""
        return Layout(self.strides, self.neighbours)

    def only(self, patches: bool) -> GraphSet:
        """Those of the patch sizes, or that of neighbours."""
        return replace(self, graphs={size: g for size, g in self.graphs.items() if (size != NEIGHBOURS) is patches})


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A verified bundle in memory. `digest`: SHA-256 of the whole file; `signer`: the trusted key's name, if any.

    commissioning: what was re-fitted at the line, see `edge.core.commissioning`; None for the bundle as it was made.
    notice: what the licences of others' work in it ask to be said; empty where none is.
    """

    manifest: Manifest
    graphs: Mapping[str, bytes]
    golden: GoldenSample
    digest: str
    where: str
    signer: str | None = None
    commissioning: Commissioning | None = None
    notice: str = ""

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

    def graph_set(self, variant: str, only_counted: bool = False) -> GraphSet:
        """The graphs of one variant; BundleError says what the bundle holds.

        only_counted: leave out the patch sizes that can change no score (`Calibration.idle_sizes`).
        """
        idle = self.calibration(variant).idle_sizes if only_counted else frozenset()
        manifest = self.manifest
        sizes = [size for size in manifest.patch_sizes if size not in idle]
        has_neighbours = not idle.issuperset(manifest.neighbours.values())
        names = graph_names(sizes, has_neighbours, variant, self.graphs)
        if missing := [name for name in names.values() if name not in self.graphs]:
            have = ", ".join(sorted(self.graphs))
            raise BundleError(f"bundle {self.where}: no {', '.join(missing)} in it (there are: {have})")
        graphs = {size: self.graphs[name] for size, name in names.items()}
        return GraphSet(variant, graphs, manifest.strides, self.where, manifest.neighbours)


def load_bundle(path: Path, check_signature: CheckSignature | None = None) -> Bundle:
    """Read and verify a bundle; BundleError says what is wrong, where, and what to do."""
    return parse_bundle(read_file(path), str(path), check_signature)


def parse_bundle(raw: bytes, where: str, check_signature: CheckSignature | None = None) -> Bundle:
    """Verify a bundle from its bytes; `where` names it in messages. Without `check_signature` none is asked for."""
    archive = Archive(raw, where)
    text = archive.read(MANIFEST)
    signer = None
    if check_signature is not None:
        signer = check_signature(text, archive.read(SIGNATURE) if SIGNATURE in archive.names else None, where)
    manifest = manifest_from_json(text, where)
    members = _vouched_for(manifest, archive, where)
    for name in graph_names(manifest.patch_sizes, bool(manifest.neighbours), manifest.reference_variant, ()).values():
        if name not in members:
            raise BundleError(f"bundle {where}: no {name} in it; re-export it")
    notice = members.pop(NOTICE, b"").decode("utf-8", "replace")
    golden = read_golden(members.pop(GOLDEN), manifest, where)
    manifest = _with_local_stats(manifest, members, golden, where)
    for name, graph in members.items():
        require_self_contained(graph, f"bundle {where}: {name}")
    return Bundle(manifest, members, golden, hashlib.sha256(raw).hexdigest(), where, signer, notice=notice)


def save_bundle(
    path: Path, manifest: Manifest, graphs: Mapping[str, bytes], golden: GoldenSample, notice: str = ""
) -> str:
    """Write a bundle atomically; fills in the manifest's digests; returns the file's SHA-256."""
    members = {**graphs, GOLDEN: write_golden(golden), **({NOTICE: notice.encode()} if notice else {})}
    for variant, calibration in manifest.calibrations.items():
        if calibration.is_local:
            members[local_stats_name(variant)] = write_local_stats(calibration.stats)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(members.items())}
    raw = pack_archive({MANIFEST: manifest_to_json(manifest, digests), **members})
    parse_bundle(raw, str(path))  # never leave a bundle behind that would be refused
    write_whole(path, raw)
    return hashlib.sha256(raw).hexdigest()


def _vouched_for(manifest: Manifest, archive: Archive, where: str) -> dict[str, bytes]:
    """All members but the manifest and its signature, each with the digest that the manifest names."""
    others = archive.names - {MANIFEST, SIGNATURE}
    members = {}
    for name, digest in manifest.digests.items():
        if name not in others:
            raise BundleError(f"bundle {where}: {name} is missing; copy it again or re-export")
        members[name] = archive.read(name)
        if hashlib.sha256(members[name]).hexdigest() != digest:
            raise BundleError(f"bundle {where}: {name} digest differs from manifest; copy it again or re-export")
    if extra := sorted(others - set(members)):
        raise BundleError(f"bundle {where}: {', '.join(extra)} not named in the manifest; re-export it")
    if GOLDEN not in members:
        raise BundleError(f"bundle {where}: {GOLDEN} is missing; export it again with edge-train")
    return members


def _with_local_stats(manifest: Manifest, members: dict[str, bytes], golden: GoldenSample, where: str) -> Manifest:
    """The manifest whose calibrations hold the statistics of each place that are among `members`, and leave them."""
    calibrations = dict(manifest.calibrations)
    for variant, calibration in manifest.calibrations.items():
        if (raw := members.pop(local_stats_name(variant), None)) is not None:
            what = f"bundle {where}: {local_stats_name(variant)}"
            calibrations[variant] = replace(calibration, stats=read_local_stats(raw, calibration.stats, golden, what))
    return replace(manifest, calibrations=calibrations)
