"""`edge-deploy keys` and `edge-deploy sign`: making keys, and signing what may run.

Rejected: keys that the daemon makes by itself at its first start, which nobody has seen when a consumer needs them.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from deploy.terminal import FILE, FOLDER
from edge.security.certificates import (
    PUBLIC_SUFFIX,
    SECRET_SUFFIX,
    make_certificate,
    read_certificate,
    write_public,
)
from edge.security.client_keys import CONSUMER, STATION
from edge.security.signing import make_signing_key, read_signing_key, sign_bundle
from edge.security.station_keys import CONSUMERS, DEVICE, Role


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


@keys.command()
@click.argument("folder", type=FOLDER)
def device(folder: Path) -> None:
    """This station's own key, in FOLDER, which is then what edge-inspect --keys takes."""
    make_certificate(folder, DEVICE)
    (folder / CONSUMERS).mkdir(exist_ok=True)
    click.echo(f"{folder}/{DEVICE}{SECRET_SUFFIX}: the daemon's user must own it, and nobody else read it")
    click.echo(f"{folder}/{CONSUMERS}: who has a key there is served; remove one, and its links end within seconds")


@keys.command()
@click.argument("name", callback=_name)
@click.option("--station", type=FOLDER, required=True, help="The folder of edge-deploy keys device.")
@click.option("--out", type=FOLDER, required=True, help="What the consumer gets: its key and the station's.")
@click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in Role]),
    multiple=True,
    default=[Role.READ.value, Role.REPLAY.value],
    show_default=True,
    help="read: the live feed. replay: the journal. control: every command. trigger: TRIGGER only. operate: FEEDBACK, "
    "PIN, NOTE, BATCH, CHALLENGE. delegate: in the name of a user, as a page does. Repeatable.",
)
def consumer(name: str, station: Path, out: Path, roles: tuple[str, ...]) -> None:
    """A key for consumer NAME of a station, and leave to come in. Move OUT to the consumer; it holds a secret."""
    own = read_certificate(station / f"{DEVICE}{PUBLIC_SUFFIX}", is_secret=False)
    made = make_certificate(out, CONSUMER, frozenset(roles))
    write_public(out / f"{STATION}{PUBLIC_SUFFIX}", own)
    write_public(station / CONSUMERS / f"{name}{PUBLIC_SUFFIX}", made)
    click.echo(f"{out}: give this folder to {name} (edge-watch --keys, edge-control --keys, Consumer(keys=…))")
    click.echo(f"{station / CONSUMERS / name}{PUBLIC_SUFFIX}: lets it in ({', '.join(sorted(roles))}), from now on")


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
