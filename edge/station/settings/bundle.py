"""What is inspected for: the bundle, its commissioning, and whose bundles may run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from edge.security.trust import trusted_folder
from edge.station.settings.flags import Flag, Flags

FIRST_DAY = [
    Flag(
        "--bundle",
        "A first day",
        type=click.Path(path_type=Path, dir_okay=False),
        required=True,
        help="What to inspect for: the bundle that edge-train wrote.",
    ),
]
FLAGS = [
    Flag(
        "--recipe",
        "Bundle",
        type=click.Choice(["start", "last"]),
        default="last",
        help="last: run what a RECIPE changed to before this start, by the journal, as long as --bundle names the same "
        "file as then. start: run what --bundle names.",
    ),
    Flag(
        "--recipes",
        "Bundle",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The table of edge-deploy recipes: which bundle a RECIPE number=7 means.",
    ),
    Flag(
        "--commissioning",
        "Bundle",
        metavar="PATH",
        help="Statistics and thresholds that edge-deploy commission fitted on this camera's good parts; none: those "
        "of the bundle.  [default: BUNDLE.commissioning.json, where it exists]",
    ),
    Flag(
        "--trusted-keys",
        "Bundle",
        type=click.Path(path_type=Path, file_okay=False),
        help="Run only bundles signed by a key in this folder (see edge-deploy sign).  [default: trusted in "
        "$CONFIGURATION_DIRECTORY or /etc/edge-inspect, if it is there]",
    ),
    Flag(
        "--allow-rollback",
        "Bundle",
        is_flag=True,
        default=False,
        help="Run a signed bundle of an older release than one that ran.",
    ),
]


@dataclass(frozen=True, slots=True)
class BundleSettings:
    """commissioning: a path, `none`, or None for the file beside the bundle. trusted_keys None: any bundle runs.

    recipe: `last` or `start`, see `edge.station.chosen`. recipes: the file of the recipe table; None where numbers mean
    nothing.
    """

    path: Path
    commissioning: str | None = None
    trusted_keys: Path | None = None
    is_rollback_allowed: bool = False
    recipe: str = "last"
    recipes: Path | None = None


def bundle_settings(flags: Flags) -> BundleSettings:
    """Of the command line."""
    keys = trusted_folder(flags["trusted_keys"])
    recipe, recipes = flags["recipe"], flags["recipes"]
    return BundleSettings(flags["bundle"], flags["commissioning"], keys, flags["allow_rollback"], recipe, recipes)
