"""`edge-gateway webhook`: its flags, each also a variable EDGE_GATEWAY_… for systemd."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from edge.client import Consumer
from edge.core.errors import SettingsError
from edge.gateways.book_leg import keep_book
from edge.gateways.flags import FILE, FOLDER
from edge.gateways.stopping import stop_on_signals
from edge.gateways.webhook import Target, Webhook


@click.command(context_settings={"auto_envvar_prefix": "EDGE_GATEWAY"})
@click.option("--url", required=True, help="The receiver, https://…; http:// on this machine only.")
@click.option("--replay", default="tcp://127.0.0.1:5557", show_default=True, help="The station's replay socket.")
@click.option("--live", help="Its live feed: records come at once, and not with the next fetch.")
@click.option("--name", default="webhook", show_default=True, help="Who we are to the station.")
@click.option("--keys", type=FOLDER, help="Our key and the station's, for a station that asks for keys.")
@click.option("--secret-file", type=FILE, required=True, help="16 bytes or more, which the receiver knows too.")
@click.option("--ca", type=FILE, help="Certificates that the receiver is trusted by, in place of the system's.")
@click.option(
    "--insecure-plaintext", is_flag=True, help="Allow http:// beyond this machine: it can be read on the way."
)
def command(
    url: str, replay: str, live: str | None, name: str, keys: Path | None, secret_file: Path, ca: Path | None,
    insecure_plaintext: bool,
) -> None:  # fmt: skip
    """POST each record of a station, in order; acknowledged once it is answered 2xx, sent again until then.

    The header X-Edge-Inspect-Signature is sha256= and the body's HMAC-SHA256 by the secret. It may be late by any time:
    nothing behind it may open a gate.
    """
    stop = stop_on_signals()
    try:
        secret = secret_file.read_bytes().strip()
        target = Target(url, secret, None if ca is None else str(ca), insecure_plaintext)
        consumer = Consumer(name, replay=replay, live=live, keys=keys)
    except OSError as error:
        raise click.UsageError(f"--secret-file {secret_file}: cannot be read ({error.strerror})") from error
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    with consumer, closing(Webhook(target, stop.wait)) as webhook:
        keep_book(consumer, webhook.send, stop.is_set)
