"""`edge-watch`: look at a station's feed, as a table for people or as JSON lines for programs.

Messages go to standard output, whatever is wrong with the feed goes to standard error, so a pipe stays clean.
Rejected: a full-screen table (curses or a further dependency), which can neither be piped nor scrolled back.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from edge.client import Consumer, Liveness, SequenceChecker, Subscription
from edge.client.replay_link import ReplayError, ReplayLink
from edge.commands.follow import follow, verify
from edge.commands.table import printable, table_line
from edge.core.errors import SettingsError
from edge.wire.messages import Message, WireError
from edge.wire.vocabulary import Kind

FOLDER = click.Path(path_type=Path, file_okay=False)
MISSED, TOO_FEW, REFUSED = 3, 4, 5
_VERIFIED_S = 30.0  # to wait for an answer: the whole journal is read, and its disk may be busy
_TICK_S = 0.25
_DEFAULT_KINDS = tuple(kind.value for kind in Kind if kind is not Kind.HEARTBEAT)


class Watcher:
    """Shows chosen messages and says what is wrong with the feed; `records_missed` and `shown` count."""

    def __init__(self, kinds: frozenset[str], show: Callable[[Message], None]) -> None:
        self.records_missed = self.shown = 0
        self._kinds, self._show = kinds, show
        self._checker = SequenceChecker()
        self._liveness = Liveness(time.monotonic())
        self._is_dead = False

    def take(self, message: Message) -> None:
        """One message as it came."""
        self._liveness.heard(time.monotonic())
        if self._is_dead:
            self._is_dead = False
            _notice("the station is heard again", "green")
        noticed = self._checker.check(message)
        if noticed.is_restart:
            _notice(f"new epoch {message.epoch.hex()}: the daemon has restarted", "yellow")
        if noticed.missed:
            self._tell_missed(noticed.missed)
        if message.kind in self._kinds and not noticed.is_repeat:
            self.shown += 1
            self._show(message)

    def show_chosen(self, message: Message) -> bool:
        """Show a record if its kind was chosen; True if so."""
        if message.kind not in self._kinds:
            return False
        self._show(message)
        return True

    def tick(self) -> None:
        """Nothing came for a moment."""
        if not self._is_dead and self._liveness.is_presumed_dead(time.monotonic()):
            self._is_dead = True
            _notice("three heartbeats missed: the station is presumed dead", "red")

    def _tell_missed(self, missed: range) -> None:
        self.records_missed += len(missed)
        which = f"record {missed[0]}" if len(missed) == 1 else f"{len(missed)} records, {missed[0]} to {missed[-1]}"
        _notice(f"missed {which}", "red")


def _kinds(context: click.Context, parameter: click.Parameter, value: str | None) -> frozenset[str]:
    if value is None:
        return frozenset(_DEFAULT_KINDS)
    known = {kind.value for kind in Kind}
    chosen = frozenset(part.strip() for part in value.split(","))
    if not chosen <= known:
        raise click.BadParameter(f"{', '.join(sorted(chosen - known))}: choose from {', '.join(sorted(known))}")
    return chosen


@click.command()
@click.argument("endpoint", default="tcp://127.0.0.1:5556")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: topic, epoch, seq, properties, body.")
@click.option("--kinds", callback=_kinds, metavar="KIND,…", help="Kinds to show. [default: all but heartbeat]")
@click.option("--count", type=click.IntRange(min=1), help="End after showing so many messages.")
@click.option(
    "--consumer",
    metavar="NAME",
    help="Miss nothing: fill holes from the station's journal, go on where NAME was, acknowledge what was shown.",
)
@click.option(
    "--replay",
    default="tcp://127.0.0.1:5557",
    show_default=True,
    metavar="ENDPOINT",
    help="The journal, for --consumer.",
)
@click.option(
    "--verify", "only_verify", is_flag=True, help="With --consumer: prove that the journal is whole, and end."
)
@click.option("--keys", type=FOLDER, help="Our key and the station's, for a station that asks for keys.")
@click.option("--for", "seconds", type=click.FloatRange(min=0, min_open=True), help="End after so many seconds.")
def main(
    endpoint: str,
    as_json: bool,
    kinds: frozenset[str],
    count: int | None,
    seconds: float | None,
    consumer: str | None,
    replay: str,
    only_verify: bool,
    keys: Path | None,
) -> None:
    """Watch a station's live feed at ENDPOINT (default tcp://127.0.0.1:5556) until interrupted.

    Says, on standard error, when records were missed, when the daemon has restarted, and when three heartbeats are
    missing.

    Exit codes: 0 all is well; 2 a wrong flag or endpoint; 3 records were missed, or --verify found something wrong;
    4 --for ended before --count messages came; 5 the station refuses this consumer, or its history is another one.
    """
    watcher = Watcher(kinds, _show_json if as_json else _show_line)
    if only_verify and consumer is None:
        raise click.UsageError("--verify reads as a consumer: give --consumer NAME too")
    with _ending_well():
        if consumer is None:
            with Subscription(endpoint, keys) as subscription:
                _watch(subscription, watcher, count, seconds)
        elif only_verify:
            _verify(replay, consumer, keys)
        else:
            with Consumer(consumer, replay=replay, live=endpoint, keys=keys) as reliable:
                watcher.shown, watcher.records_missed = follow(reliable, watcher.show_chosen, _notice, seconds, count)
    if watcher.records_missed:
        sys.exit(MISSED)
    if count is not None and seconds is not None and watcher.shown < count:
        sys.exit(TOO_FEW)


@contextmanager
def _ending_well() -> Iterator[None]:
    """What is wrong is one line and an exit code; an interrupt, and a reader that has gone, are the usual ends."""
    try:
        yield
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    except (ReplayError, WireError) as error:
        _notice(str(error), "red")
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # What Python would still flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _verify(replay: str, consumer: str, keys: Path | None) -> None:
    """Say what was found, and exit with MISSED when something does not hold."""
    link = ReplayLink(replay, consumer, _VERIFIED_S, keys)
    try:
        found = verify(link)
    finally:
        link.close()
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds.items()))
    click.echo(f"{found.records} records in order, each with an id of its own: {kinds or 'none'}")
    if found.explained:
        click.echo(f"{found.explained} records are gone, as gap records say")
    for problem in found.problems:
        _notice(problem, "red")
    if found.bad:
        _notice(f"{found.bad} problems", "red")
        sys.exit(MISSED)


def _watch(subscription: Subscription, watcher: Watcher, count: int | None, seconds: float | None) -> None:
    end_s = None if seconds is None else time.monotonic() + seconds
    while count is None or watcher.shown < count:
        left_s = _TICK_S if end_s is None else min(_TICK_S, end_s - time.monotonic())
        if left_s <= 0:
            return
        try:
            message = subscription.receive(left_s)
        except WireError as error:
            _notice(f"malformed message: {error}", "red")
            continue
        if message is None:
            watcher.tick()
        else:
            watcher.take(message)


def _notice(text: str, colour: str) -> None:
    click.secho(f"--- {printable(text)}", fg=colour, err=True)


def _show_json(message: Message) -> None:
    content = {
        "topic": message.topic,
        "epoch": message.epoch.hex(),
        "seq": message.seq,
        "properties": message.properties,
        "body": message.body,
    }
    click.echo(json.dumps(content))


def _show_line(message: Message) -> None:
    click.echo(table_line(message))


if __name__ == "__main__":
    main()
