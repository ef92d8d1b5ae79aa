"""`edge-watch`: look at a station's feed, as a table for people or as JSON lines for programs.

Messages go to standard output, whatever is wrong with the feed goes to standard error, so a pipe stays clean.
Rejected: a full-screen table (curses or a further dependency), which can neither be piped nor scrolled back.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from edge.client import Consumer, Liveness, SequenceChecker, Subscription
from edge.consume import follow, verify
from edge.core.errors import SettingsError
from edge.core.vocabulary import Kind
from edge.core.wire import Message, WireError
from edge.replaying import ReplayError, ReplayLink

MISSED, TOO_FEW, REFUSED = 3, 4, 5
_TICK_S = 0.25
_EVALUATIONS = {"1": ("OK", "green"), "2": ("NOT OK", "red"), "3": ("UNDECIDED", "yellow")}
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
    try:
        if consumer is None:
            with Subscription(endpoint) as subscription:
                _watch(subscription, watcher, count, seconds)
        elif only_verify:
            _verify(replay, consumer)
        else:
            with Consumer(consumer, replay=replay, live=endpoint) as reliable:
                watcher.shown, watcher.records_missed = follow(reliable, watcher.show_chosen, _notice, seconds, count)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    except ReplayError as error:
        _notice(str(error), "red")
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        pass  # the usual way to end it
    except BrokenPipeError:
        # The reader of our pipe has gone; what Python would still flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if watcher.records_missed:
        sys.exit(MISSED)
    if count is not None and seconds is not None and watcher.shown < count:
        sys.exit(TOO_FEW)


def _verify(replay: str, consumer: str) -> None:
    """Say what was found, and exit with MISSED when something does not hold."""
    link = ReplayLink(replay, consumer)
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
    click.secho(f"--- {_printable(text)}", fg=colour, err=True)


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


def table_line(message: Message) -> str:
    """One line for people, coloured; what the wire brought is shown only as far as it can be printed."""
    body = message.body
    clock = _printable(body.get("acquired", body.get("created", "")))[11:23]
    details = _DETAILS.get(message.kind, _unknown)(body)
    line = f"{clock:12}  {message.kind:9}  {details}"
    if message.is_historical:
        line = click.style(f"{line}  (sent before)", dim=True)
    return click.style(line, bold=True) if message.kind == Kind.ALERT.value else line


def _verdict(body: dict[str, Any]) -> str:
    name, colour = _EVALUATIONS.get(str(body.get("result_evaluation")), ("UNDEFINED", "magenta"))
    return click.style(f"{name:9}", fg=colour, bold=True)


def _result(body: dict[str, Any]) -> str:
    image = _object(body, "image")
    part = body.get("part_id") or f"frame {image.get('frame_id', '?')}"
    score = f"{_number(body.get('anomaly_score'), 2)}/{_number(body.get('threshold'), 2)}"
    found = body.get("defects")
    defects = len(found) if isinstance(found, list) else 0
    latency = f"{_number(body.get('latency_ms'), 1)} ms{' LATE' if body.get('late') is True else ''}"
    text = f"{_verdict(body)}  {_printable(part):20}  {score:>15}  {defects:2} defects  {latency}"
    return f"{text}{_why(body)}"


def _alert(body: dict[str, Any]) -> str:
    label = click.style(f" {_printable(body.get('alert', '?')).upper()} ", reverse=True)
    return f"{label} {_gap(body) if 'gap' in body else _result(body)}"


def _gap(body: dict[str, Any]) -> str:
    if "history" in body:
        lost = _object(body, "history")
        text = f"records {lost.get('first_seq')} to {lost.get('last_seq', 'the end')} are gone: {lost.get('cause')}"
        return _printable(text)
    gap = _object(body, "gap")
    frames = f"frames {gap.get('first_frame_id')} to {gap.get('last_frame_id')} were not inspected: {gap.get('cause')}"
    return f"{_verdict(body)}  {_printable(frames)}{_why(body)}"


def _why(body: dict[str, Any]) -> str:
    words = [_printable(body[name]) for name in ("reason", "result_evaluation_details") if name in body]
    return f"  {': '.join(words)}" if words else ""


def _birth(body: dict[str, Any]) -> str:
    recipe, software = _object(body, "internal_recipe"), _object(body, "software")
    parts = [body.get("camera_uri"), body.get("acquisition"), recipe.get("id"), recipe.get("version")]
    parts += [software.get("engine"), software.get("version")]
    if "birth_count" in body:
        parts.append(f"start {body['birth_count']}, the last run ended: {body.get('previous_end', 'there was none')}")
    return "  ".join(_printable(part) for part in parts if part is not None)


def _heartbeat(body: dict[str, Any]) -> str:
    counts = "  ".join(
        f"{name} {_printable(body.get(name))}"
        for name in ("captured", "inspected", "skipped", "undecided", "in_flight")
    )
    return f"{_printable(body.get('state'))}  {_number(body.get('camera_fps'), 1)} fps  {counts}"


def _evidence(body: dict[str, Any]) -> str:
    found = body.get("evidence")
    names = [_object({"file": one}, "file").get("uri") for one in found] if isinstance(found, list) else []
    return _printable("  ".join(str(part) for part in (body.get("part_id", "?"), *names)))


def _audit(body: dict[str, Any]) -> str:
    parts = (body.get("command"), body.get("outcome"), body.get("actor", ""), body.get("details", ""))
    return _printable("  ".join(map(str, parts)))


def _unknown(body: dict[str, Any]) -> str:
    return ""


_DETAILS: dict[str, Callable[[dict[str, Any]], str]] = {
    "result": _result,
    "alert": _alert,
    "gap": _gap,
    "birth": _birth,
    "death": lambda body: _printable(body.get("reason")),
    "state": lambda body: _printable(body.get("state")),
    "heartbeat": _heartbeat,
    "evidence": _evidence,
    "audit": _audit,
}


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _number(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "–"


def _printable(value: object) -> str:
    """Text without control characters: nothing from the network may steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in str(value))


if __name__ == "__main__":
    main()
