"""`edge-gateway metrics`: its flags, each also a variable EDGE_GATEWAY_… for systemd."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import click
import structlog
from prometheus_client import CollectorRegistry, start_http_server

from edge.client import ReplayDenied, ReplaySilent, Subscription
from edge.client.replay_link import ReplayLink
from edge.core.errors import SettingsError
from edge.gateways.flags import FOLDER, address
from edge.gateways.metrics import StationFigures
from edge.gateways.stopping import stop_on_signals
from edge.wire.messages import WireError

TICK_S = 0.25
LAG_EVERY_S, LAG_ANSWER_S = 10.0, 0.5

log = structlog.get_logger(__name__)


@click.command(context_settings={"auto_envvar_prefix": "EDGE_GATEWAY"})
@click.option("--live", default="tcp://127.0.0.1:5556", show_default=True, help="The station's live feed.")
@click.option("--replay", help="Its replay socket: how far its consumers are.")
@click.option("--keys", type=FOLDER, help="Our key and the station's, for a station that asks for keys.")
@click.option("--listen", callback=address, default="127.0.0.1:9877", show_default=True, help="Where Prometheus asks.")
def command(live: str, replay: str | None, keys: Path | None, listen: tuple[str, int]) -> None:
    """Serve a station's figures at http://HOST:PORT/metrics. Whoever reaches that address may read them."""
    stop = stop_on_signals()
    figures, registry = StationFigures(), CollectorRegistry()
    registry.register(figures)
    with ExitStack() as stack:
        try:
            feed = stack.enter_context(Subscription(live, keys))
            link = None if replay is None else stack.enter_context(closing(_link(replay, keys)))
            server, _ = start_http_server(listen[1], listen[0], registry)
        except SettingsError as error:
            raise click.UsageError(str(error)) from error
        except OSError as error:
            raise click.UsageError(f"--listen {listen[0]}:{listen[1]}: {error.strerror or error}") from error
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        _listen(feed, link, figures, stop.is_set)


def _link(replay: str, keys: Path | None) -> ReplayLink:
    return ReplayLink(replay, "metrics", LAG_ANSWER_S, keys)


def _listen(
    feed: Subscription, link: ReplayLink | None, figures: StationFigures, should_stop: Callable[[], bool]
) -> None:
    asked_s = 0.0
    while not should_stop():
        try:
            if (message := feed.receive(TICK_S)) is not None:
                figures.take(message)
        except WireError as error:
            log.error("a record makes no sense", why=str(error))
        if link is not None and time.monotonic() - asked_s >= LAG_EVERY_S:
            asked_s = time.monotonic()
            with suppress(ReplaySilent, ReplayDenied):  # its heartbeat's age tells
                figures.lag(lag_of(link.status()))


def lag_of(status: dict[str, Any]) -> dict[str, int]:
    """By consumer, the records after its cursor. An older epoch's cursor is behind all of the present one."""
    head, epoch = int(status["head_seq"]), status["epoch"]
    return {
        str(one["consumer"]): head - int(one["seq"]) if one["epoch"] == epoch else head for one in status["consumers"]
    }
