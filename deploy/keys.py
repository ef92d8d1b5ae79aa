"""`edge-deploy keys` and `edge-deploy sign`: making keys, and signing what may run.

Rejected: keys that the daemon makes by itself at its first start, which nobody has seen when a consumer needs them.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from edge.security.signing import make_signing_key, read_signing_key, sign_bundle

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


def _name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", value):
        raise click.BadParameter("use 1 to 32 of the characters A-Z a-z 0-9 _ -")
    return value


@click.group()
def keys() -> None:
    """Make the keys of those who sign bundles, of this device, and of its consumers."""


@keys.command()
@click.argument("name", callback=_name)
@click.option("--out", type=FOLDER, default=".", show_default=True, help="Where to write the pair.")
def signing(name: str, out: Path) -> None:
    """A pair to sign bundles with: NAME.signing-secret stays with you, NAME.signing-public goes to the devices."""
    secret, public = make_signing_key(out, name)
    click.echo(f"{secret}: keep it; whoever has it decides what runs on your lines")
    click.echo(f"{public}: copy it into /etc/edge-inspect/trusted of each device, or the folder of --trusted-keys")


@click.command()
@click.argument("bundle", type=FILE)
@click.option("--key", type=FILE, required=True, help="NAME.signing-secret of edge-deploy keys signing.")
@click.option(
    "--release", type=click.IntRange(1, 2**31), help="The release it becomes.  [default: what its manifest says]"
)
def sign(bundle: Path, key: Path, release: int | None) -> None:
    """Sign BUNDLE, in place. A device that runs a release refuses lower ones of the same product."""
    version = sign_bundle(bundle, read_signing_key(key), release)
    click.echo(f"{bundle}: signed as release {version}")
