"""`make page`: a station on the synthetic line and the page for it, on this machine alone, until interrupted.

Both are processes as on a device, and users are made as on one: the password is new each time the folder is.
Rejected: a page without login for demonstrations, which somebody would put on a line.
"""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from edge.demo.run import BUNDLE
from edge.page.users import FILE, Role, Users

NAME = "demo"
_WAIT_S = 60.0


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("demo-out/page"), show_default=True
)
@click.option("--rate", default=1.0, show_default=True, help="Parts a second.")
@click.option("--port", type=click.IntRange(1, 65535), default=8443, show_default=True)
def main(out: Path, rate: float, port: int) -> None:
    """Run the demo's station and the page, and say where to look."""
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    live, replay, control, frames = (f"tcp://127.0.0.1:{free}" for free in _free_ports(4))
    stations = out / "page.ini"
    stations.write_text(
        f"[{NAME}]\nlive = {live}\nreplay = {replay}\ncontrol = {control}\nevidence = {out / 'evidence'}\n"
        f"proposals = {out / 'proposals'}\n"
        f"bundle = {BUNDLE}\nframes = {frames}\n",
        "utf-8",
    )
    said, table = _first_user(out), out / "recipes.json"
    make_table = [sys.executable, "-m", "deploy.cli", "recipes", str(table), f"1={BUNDLE}"]
    subprocess.run(make_table, stdout=subprocess.DEVNULL, check=True)
    station = [
        "edge.commands.edge_inspect", "--source", f"demo:machined?parts=0&rate={rate:g}", "--bundle", str(BUNDLE),
        "--journal", str(out / "journal.db"), "--evidence", str(out / "evidence"), "--evidence-good-share", "0.2",
        "--publish", live, "--replay", replay, "--control", control, "--frames", frames,
        "--recipes", str(table),
    ]  # fmt: skip
    page = ["edge.page.cli", "serve", "--stations", str(stations), "--state", str(out), "--port", str(port)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as running:
        processes = [_started(running, out / "station.log", station), _started(running, out / "page.log", page)]
        _await(processes[1], port, out / "page.log")
        click.echo(f"http://127.0.0.1:{port}/    {said}")
        click.echo(f"logs, journal and pictures: {out}; end it with Ctrl-C")
        try:
            while all(process.poll() is None for process in processes):
                time.sleep(0.5)
        except KeyboardInterrupt:
            return
    raise click.ClickException(f"one of the two has ended; see station.log and page.log in {out}")


def _first_user(out: Path) -> str:
    """Whom to log in as; made once for a folder."""
    users, note = Users(out / FILE), out / "login.txt"
    if not users.all() or not note.exists():
        password = secrets.token_urlsafe(9)
        if users.get(NAME) is None:
            users.add(NAME, Role.ENGINEER, password)
        else:
            users.change(NAME, password=password)
        note.touch(mode=0o600)
        note.write_text(f"log in as {NAME} with {password}", "utf-8")
    return note.read_text("utf-8")


def _started(running: ExitStack, log: Path, module: Sequence[str]) -> subprocess.Popen[bytes]:
    file = running.enter_context(log.open("w"))
    process = subprocess.Popen([sys.executable, "-m", *module], stdout=file, stderr=file)
    running.callback(process.wait, 20)
    running.callback(process.terminate)
    return process


def _await(page: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return once the page answers; ClickException when it has ended."""
    until_s = time.monotonic() + _WAIT_S
    while time.monotonic() < until_s:
        if page.poll() is not None:
            raise click.ClickException(
                f"the page has ended: {log.read_text('utf-8').strip().splitlines()[-1:]}; see {log}"
            )
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise click.ClickException(f"the page does not answer on port {port}; see {log}")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


if __name__ == "__main__":
    main()
