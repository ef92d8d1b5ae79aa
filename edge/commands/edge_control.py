"""`edge-control`: one command to a running station, and its answer; `ask` is the same for programs.

    edge-control ipc:///run/edge-inspect/top/control.sock RECIPE bundle=/bundles/washer-4.bundle actor=anna

Rejected: a subcommand for each verb, which a newer station would outdate.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import zmq

from edge.core.errors import EdgeError, SettingsError
from edge.security.client_keys import apply_keys
from edge.wire.messages import WireError, dump_object, load_object

FOLDER = click.Path(path_type=Path, file_okay=False)
REFUSED, SILENT = 1, 3
_MAX_ANSWER_BYTES = 64 * 1024


class NoAnswer(EdgeError):
    """The station did not answer in time; it may have done what was asked all the same: look at its audit records."""


def ask(
    endpoint: str, verb: str, facts: dict[str, Any] | None = None, timeout_s: float = 60.0, keys: Path | None = None
) -> tuple[str, Any]:
    """(DONE, REFUSED, DENIED, STATUS, FOUND or CONSUMERS; its facts); NoAnswer, or SettingsError for a bad endpoint."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.MAXMSGSIZE, _MAX_ANSWER_BYTES)
        socket.set(zmq.IPV6, "[" in endpoint)
        apply_keys(socket, keys)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise SettingsError(f"{endpoint}: cannot be connected to: {error}; see `control` in its log") from error
        socket.send_multipart([verb.encode(), b"1", dump_object(facts or {})])
        if not socket.poll(round(1000 * timeout_s)):
            raise NoAnswer(
                f"{endpoint}: no answer to {verb} within {timeout_s:g} s; is the station running, and our key allowed?"
            )
        answer, _, content = (*socket.recv_multipart(), b"", b"", b"")[:3]
        try:
            return answer.decode("ascii", "replace"), load_object("answer", content, _MAX_ANSWER_BYTES)
        except WireError as error:
            raise NoAnswer(f"{endpoint}: its answer makes no sense: {error}; is it a control socket?") from error


@click.command()
@click.argument("endpoint")
@click.argument("verb")
@click.argument("facts", nargs=-1, metavar="[NAME=VALUE]…")
@click.option("--timeout-s", default=60.0, show_default=True, help="Loading a bundle takes some seconds.")
@click.option("--keys", type=FOLDER, help="Our key and the station's, for a station that asks for keys.")
def main(endpoint: str, verb: str, facts: tuple[str, ...], timeout_s: float, keys: Path | None) -> None:
    """Send one command to the station at ENDPOINT.

    \b
    STATUS                                   what it does, and how far its consumers are
    TRIGGER part_id=P7 [trigger_id=T7]       the next frame is this part (with --trigger control)
    RECIPE bundle=/path/new.bundle           run another bundle from the next frame on
    ROLLBACK                                 run the one before it again
    FIND part_id=P7                          its record, and where its pictures are
    FIND since=2026-03-04T05:06 [until=…]    the parts that were rejected in this time (UTC)
    FEEDBACK part_id=P7 disposition=…        accept, reject, rework, scrap or unknown; or about=RESULT_ID
    PIN part_id=P7 [pinned=no]               keep its evidence for ever, or no longer; or about=RESULT_ID
    CONSUMERS [forget=NAME]                  the names that history is kept for; or free one
    Add actor=NAME to say who asks. All that change something leave an audit record.

    Exit codes: 0 done; 1 refused; 2 a wrong flag; 3 no answer.
    """
    wrong = [fact for fact in facts if "=" not in fact]
    if wrong:
        raise click.UsageError(f"{wrong[0]}: write it as NAME=VALUE")
    try:
        answer, content = ask(endpoint, verb.upper(), dict(fact.split("=", 1) for fact in facts), timeout_s, keys)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    except NoAnswer as error:
        click.echo(f"edge-control: {error}", err=True)
        sys.exit(SILENT)
    if answer in ("REFUSED", "DENIED"):
        click.echo(f"refused: {content.get('reason')}", err=True)
        sys.exit(REFUSED)
    click.echo(content.get("details") if answer == "DONE" else json.dumps(content, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
