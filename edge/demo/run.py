"""`make demo`: a real daemon on a rendered conveyor, a real subscriber in a process of its own, and the truth.

The daemon never sees the truth: it is rendered again here from each part's id, after the verdict has
come over the wire. Ends with an error when any part's verdict did not arrive.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from edge.core.bundle import load_bundle
from edge.core.errors import EdgeError
from edge.demo.parts import MATERIALS, truth_of
from edge.demo.report import Outcome, format_report
from edge.demo.sheet import write_sheet

BUNDLE = Path(__file__).parent / "machined.bundle"
TIMEOUT_S = 300.0


@click.command()
@click.option("--material", type=click.Choice(MATERIALS), default="machined", show_default=True)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    default=BUNDLE,
    help="Another bundle than the shipped one, which knows the machined part.",
)
@click.option("--seed", default=0, show_default=True, help="Another seed is another batch of parts.")
@click.option("--parts", default=200, show_default=True)
@click.option("--rate", default=0.0, show_default=True, help="Parts a second; 0 as fast as they are inspected.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("demo-out"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line a part instead of the report.")
def main(material: str, bundle: Path, seed: int, parts: int, rate: float, out: Path, as_json: bool) -> None:
    """Inspect a rendered conveyor with planted defects, and compare every verdict with the truth."""
    shutil.rmtree(out / "overlays", ignore_errors=True)
    endpoint = f"tcp://127.0.0.1:{_free_port()}"
    uri = f"demo:{material}?seed={seed}&parts={parts}&rate={rate:g}"
    try:
        promise = load_bundle(bundle).manifest.calibration("fp32").bound
    except EdgeError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"daemon:     edge-inspect --source '{uri}' --bundle {bundle.name} --publish {endpoint}", err=True)
    click.echo(f"subscriber: edge-watch {endpoint} --json   (a process of its own)", err=True)
    outcomes = []
    with _subscriber(endpoint) as lines, _daemon(uri, bundle, endpoint, out):
        for outcome in _outcomes(lines):
            outcomes.append(outcome)
            click.echo(json.dumps(outcome.as_json()) if as_json else outcome.line(len(outcomes), parts))
    if not as_json:
        click.echo(format_report(outcomes, promise))
        click.echo(f"\npictures: {write_sheet(outcomes, out)} and {out / 'overlays'}")
        click.echo("to see such a line in a browser: make page")
    if len(outcomes) != parts:
        raise click.ClickException(f"{parts - len(outcomes)} of {parts} verdicts did not arrive")


def _outcomes(lines: Iterator[str]) -> Iterator[Outcome]:
    """Each part's verdict as the subscriber received it, until the daemon says DEATH."""
    for line in lines:
        received_ns = time.monotonic_ns()
        body: dict[str, Any] = json.loads(line)["body"]
        if body["kind"] == "death":
            return
        if body["kind"] == "result":
            yield Outcome.of(body, truth_of(body["part_id"]), received_ns)


@contextmanager
def _subscriber(endpoint: str) -> Iterator[Iterator[str]]:
    """`edge-watch --json` as a process; gives its lines."""
    arguments = [
        sys.executable,
        "-m",
        "edge.commands.edge_watch",
        endpoint,
        "--json",
        "--kinds",
        "result,death",
        "--for",
        str(TIMEOUT_S),
    ]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield iter(process.stdout)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@contextmanager
def _daemon(uri: str, bundle: Path, endpoint: str, out: Path) -> Iterator[None]:
    """`edge-inspect` as a process; its log goes to out/daemon.log; its exit code must be 0."""
    out.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.executable,
        "-m",
        "edge.commands.edge_inspect",
        "--source",
        uri,
        "--bundle",
        str(bundle),
        "--publish",
        endpoint,
        "--overlays",
        str(out / "overlays"),
        "--wait-for-subscriber-s",
        "30",
    ]
    with (out / "daemon.log").open("w") as log:
        process = subprocess.Popen(arguments, stderr=log)
        try:
            yield
            code = process.wait(30)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(10)
    if code:
        raise click.ClickException(f"the daemon ended with exit code {code}; see {out / 'daemon.log'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
