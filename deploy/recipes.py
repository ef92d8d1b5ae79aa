"""`edge-deploy recipes`: the table that gives bundles numbers, for a PLC and for `edge-control RECIPE number=7`.

Each bundle is loaded and proved sound before it is written down with its digest. Rejected: writing it by hand, where
nobody copies 64 digits right.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from deploy.terminal import FILE
from edge.core.bundle import load_bundle
from edge.core.errors import SettingsError
from edge.core.files import write_whole
from edge.station.recipe_table import LAST_NUMBER, Recipe, read_table, table_text


@click.command()
@click.argument("table", type=FILE)
@click.argument("numbered", nargs=-1, metavar="[NUMBER=BUNDLE]…")
@click.option("--remove", type=click.IntRange(1, LAST_NUMBER), multiple=True, help="Take this number out. Repeatable.")
@click.option("--text", default="", help="For people, what the recipes given now are for.")
def recipes(table: Path, numbered: tuple[str, ...], remove: tuple[int, ...], text: str) -> None:
    """Write or show TABLE, which edge-inspect --recipes reads: numbers from 1 to 32767, and a bundle for each.

    \b
    edge-deploy recipes recipes.json 7=washer-4.bundle 8=nut-2.bundle    give bundles numbers, or other bundles
    edge-deploy recipes recipes.json                                     show the table

    A bundle's path is kept as it lies from TABLE's folder. A number means one very file: one that was changed since is
    refused until its number is given again.
    """
    there = read_table(table) if table.exists() else {}
    for number in remove:
        if there.pop(number, None) is None:
            raise SettingsError(f"{table}: there is no recipe {number}")
    for one in numbered:
        recipe = _recipe(table, one, text)
        there[recipe.number] = recipe
    if numbered or remove:
        twice = {other.number for other in there.values() for one in there.values() if _clash(one, other)}
        if twice:
            raise SettingsError(f"{table}: recipes {sorted(twice)} are one bundle; give it one number")
        write_whole(table, table_text(there.values()).encode())
    for number, recipe in sorted(there.items()):
        said = f"{number}  {recipe.product} version {recipe.version}  {recipe.bundle}  {recipe.text}".rstrip()
        click.echo(f"{said}\n     promise: {recipe.promise}")


def _clash(one: Recipe, other: Recipe) -> bool:
    return one is not other and one.sha256 == other.sha256


def _recipe(table: Path, said: str, text: str) -> Recipe:
    match = re.fullmatch(r"(\d{1,5})=(.+)", said)
    if match is None or not 1 <= int(match[1]) <= LAST_NUMBER:
        raise click.UsageError(f"{said}: write it as NUMBER=BUNDLE with a number from 1 to {LAST_NUMBER}")
    path = Path(match[2])
    bundle = load_bundle(path)
    reference = next(iter(bundle.manifest.calibrations.values()))
    return Recipe(
        number=int(match[1]),
        bundle=os.path.relpath(path.absolute(), table.absolute().parent),
        sha256=bundle.digest,
        product=bundle.manifest.product,
        version=bundle.manifest.version,
        promise=str(reference.bound),
        text=text,
    )
