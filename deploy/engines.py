"""`edge-deploy engines BUNDLE`: build a bundle's TensorRT engines on this device, before the line needs them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from deploy.terminal import FILE, FOLDER, ProgressLine
from edge.core.bundle import VARIANTS, Bundle, load_bundle
from edge.engines import EngineOptions, Share, bundle_shares, engine_cache, tensorrt_variant
from edge.engines.tensorrt_cache import EngineCache
from edge.engines.tensorrt_file import read_engine


def build_engines(bundle: Bundle, variant: str, cache: EngineCache, again: bool) -> list[str]:
    """Build what is missing, or everything with `again`; returns one line of text for each engine."""
    return [line for share in bundle_shares(bundle, variant) for line in _build_share(share, cache, again)]


def _build_share(share: Share, cache: EngineCache, again: bool) -> list[str]:
    graphs, input_size = share.graphs, share.tiling.tile_size
    missing = list(graphs.graphs) if again else cache.missing(graphs, input_size)
    if again:
        cache.build(graphs, input_size, again=True)
    cache.plans(graphs, input_size)
    lines = []
    for size in graphs.graphs:
        key = cache.key(graphs, size, input_size)
        plan, header = read_engine(cache.folder / key.file_name, key)
        how = f"built in {header.get('build_s', 0)} s" if size in missing else "was there"
        lines.append(f"{key.name}  {len(plan) / 2**20:6.1f} MiB  {how}  {key.file_name}")
    return lines


@click.command()
@click.argument("bundle", type=FILE)
@click.option(
    "--variant",
    type=click.Choice(VARIANTS.split("|")),
    help="Precision to build.  [default: fp16 where the bundle has it]",
)
@click.option("--engines", "folder", type=FOLDER, help="Where to keep them.  [default: as edge-inspect]")
@click.option("--again", is_flag=True, help="Build also what is there already.")
@click.option("--level", default=3, show_default=True, type=click.IntRange(0, 5), help="TensorRT's optimisation level.")
@click.option(
    "--workspace-mib", default=1024, show_default=True, type=click.IntRange(16), help="Memory a layer may use."
)
def engines(
    bundle: Path, variant: str | None, folder: Path | None, again: bool, level: int, workspace_mib: int
) -> None:
    """Build the TensorRT engines of BUNDLE on this device, with progress and time left.

    The daemon builds them itself where it must; doing it here keeps a line from waiting for minutes. Run it as the
    daemon's user, or name the daemon's folder: sudo -u edge-inspect edge-deploy engines part.bundle --engines
    /var/lib/edge-inspect/line1/engines
    """
    loaded, line = load_bundle(bundle), ProgressLine()
    found = engine_cache(EngineOptions(folder=folder, report=line))
    cache = replace(found, level=level, workspace=workspace_mib << 20)
    click.echo(f"TensorRT {cache.version}, {cache.gpu}, engines in {cache.folder}")
    built = build_engines(loaded, tensorrt_variant(loaded, variant), cache, again)
    line.end()
    for text in built:
        click.echo(text)
