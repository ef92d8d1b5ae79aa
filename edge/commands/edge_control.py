"""`edge-control`: one command to a running station, and its answer; `edge.client.Control` is the same for programs.

    edge-control ipc:///run/edge-inspect/top/control.sock RECIPE bundle=/bundles/washer-4.bundle actor=anna

Rejected: a subcommand for each verb, which a newer station would outdate.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from edge.client.control import NoAnswer, ask
from edge.core.errors import SettingsError

FOLDER = click.Path(path_type=Path, file_okay=False)
REFUSED, SILENT = 1, 3
_WHOLE = ("next", "number", "not_before_ns", "valid_for_ms")  # facts that a station wants as numbers


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
    RECIPE number=7                          run that recipe of the station's table from the next frame on
    RECIPE bundle=/path/new.bundle           the same with a bundle that is in no table
    RECIPES                                  the table: numbers, products, bundles; and which one runs
    ROLLBACK                                 run the one before it again, or by the threshold before
    COMMISSION file=p.json sha256=…          another threshold, by a proposal in the station's folder proposals
    FIND part_id=P7                          its record, and where its pictures are
    FIND since=2026-03-04T05:06 [until=…]    the parts that were rejected in this time (UTC)
    BATCH batch_id=B7 [product_id=…]         results carry it from the next part on; batch_id= ends it
    FEEDBACK part_id=P7 disposition=…        accept, reject, rework, scrap or unknown; or about=RESULT_ID;
                                             label=… says why, in at most 32 characters
    CHALLENGE action=begin                   prove the station with known pieces: TRIGGER … piece=NAME shows one;
                                             action=abort; action=end once all are out, and parts may pass again
    NOTE text=… [part_id=P7]                 put a remark on record, about a part or the station; or about=RESULT_ID
    PIN part_id=P7 [pinned=no]               keep its evidence for ever, or no longer; or about=RESULT_ID
    PIN next=100                             keep the pictures of the next parts, whatever their verdict
    BASELINE [mended=yes]                    what comes now is normal; or: what drifted is mended
    CONSUMERS [forget=NAME]                  the names that history is kept for; or free one
    Add actor=NAME to say who asks; a key may only if it has the role delegate. All that change something leave an
    audit record.

    Exit codes: 0 done; 1 refused; 2 a wrong flag; 3 no answer.
    """
    wrong = [fact for fact in facts if "=" not in fact]
    if wrong:
        raise click.UsageError(f"{wrong[0]}: write it as NAME=VALUE")
    try:
        answer, content = ask(endpoint, verb.upper(), _read(facts), timeout_s, keys)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    except NoAnswer as error:
        click.echo(f"edge-control: {error}", err=True)
        sys.exit(SILENT)
    if answer in ("REFUSED", "DENIED"):
        click.echo(f"refused: {content.get('reason')}", err=True)
        sys.exit(REFUSED)
    click.echo(content.get("details") if answer == "DONE" else json.dumps(content, indent=2, ensure_ascii=False))


def _read(facts: tuple[str, ...]) -> dict[str, Any]:
    said: dict[str, Any] = dict(fact.split("=", 1) for fact in facts)
    return {name: int(value) if name in _WHOLE and value.isdecimal() else value for name, value in said.items()}


if __name__ == "__main__":
    main()
