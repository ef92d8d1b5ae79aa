"""`make plc`: the demo's station, the gateway, and in this terminal the registers as a PLC sees them while parts go by.

Three processes, as on a line; this one is the PLC. Nothing of it may open a gate: the demo's parts are rendered.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

import click

from edge.commands.errors import errors_in_one_line
from edge.demo.run import BUNDLE
from edge.gateways.registers import INPUT_WORDS, camel
from edge.gateways.signals import Cause, Code, Evaluation, Status
from edge.gateways.small_plc import NoAnswer, SmallPlc

START_S = 120.0
_CLEAR = "\x1b[H\x1b[2J"
_HIDDEN = ("", "MapVersion", "Buffered", "RecipeHash", "ResultId")
_NUMBERS: dict[str, type[IntEnum]] = {"ErrorCode": Code, "Result": Evaluation, "Reason": Cause}
_VERDICTS = {Status.PASS: "Pass", Status.FAIL: "Fail", Status.UNDECIDED: "Undecided"}


@click.command()
@click.option("--parts", default=0, help="End after so many parts; 0: go on until Ctrl-C.")
@click.option("--rate", default=2.0, show_default=True, help="Parts a second, at the most.")
def main(parts: int, rate: float) -> None:
    """A PLC, its gateway and the demo's station; shows the registers, one line a part where this is no terminal."""
    counts: Counter[str] = Counter()
    with errors_in_one_line("make plc"), _line() as plc:
        while not parts or sum(counts.values()) < parts:
            name = f"PLC-{sum(counts.values()) + 1:05d}"
            status = plc.part(name)
            verdict = next(text for bit, text in _VERDICTS.items() if status & bit)
            counts[verdict] += 1
            _show(plc.words, f"{name} {verdict}", counts)
            time.sleep(1 / rate)
            plc.take()


def _show(words: list[int], headline: str, counts: Counter[str]) -> None:
    if not sys.stdout.isatty():
        click.echo(f"{headline:20} {' '.join(f'{word:04x}' for word in words[:24])}")
        return
    lines = ["what the PLC reads: input registers, function code 4 (registers.md)", ""]
    for word in INPUT_WORDS:
        content = words[word.first : word.last + 1]
        if word.name not in _HIDDEN:
            raw = " ".join(f"{one:04x}" for one in content[:4]) + (" …" if len(content) > 4 else "")
            lines.append(f"{word.first:4}  {word.name:20} {raw:26} {_meaning(word.name, content)}")
    tally = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    click.echo(_CLEAR + "\n".join([*lines, "", headline, tally, "Ctrl-C ends"]))


def _meaning(name: str, content: list[int]) -> str:
    data = b"".join(word.to_bytes(2, "big") for word in content)
    if name == "Status":
        return " ".join(camel(bit.name or "") for bit in Status if content[0] & bit)
    if name in _NUMBERS:
        return camel(_NUMBERS[name](content[0]).name)
    if name == "PartId":
        return data.rstrip(b"\0").decode("ascii", "replace")
    if name in ("Score", "Threshold"):
        return f"{struct.unpack('>f', data)[0]:.2f}"
    if name == "Area":
        return f"{struct.unpack('>f', data)[0]:.2f} mm²"
    return str(int.from_bytes(data, "big")) if len(content) < 3 else ", ".join(str(word) for word in content)


@contextmanager
def _line() -> Iterator[SmallPlc]:
    """The station and the gateway, as processes that end with this one; a PLC that is connected."""
    with tempfile.TemporaryDirectory(prefix="edge-plc-") as folder:
        live, control, port = f"ipc://{folder}/live", f"ipc://{folder}/control", _free_port()
        station = ["edge.commands.edge_inspect", "--source", "demo:machined?parts=0", "--bundle", str(BUNDLE)]
        station += ["--publish", live, "--control", control, "--trigger", "control"]
        station += ["--journal", f"{folder}/journal.db", "--replay", f"ipc://{folder}/replay"]
        gateway = ["edge.gateways.cli", "modbus", "--live", live, "--control", control, "--accept-simulated"]
        gateway += ["--listen", f"127.0.0.1:{port}", "--deadline-ms", "5000"]
        with (Path(folder) / "log").open("w") as log:
            started = [subprocess.Popen([sys.executable, "-m", *one], stderr=log) for one in (station, gateway)]
        click.echo("the demo's station and its gateway start: half a minute at the most …", err=True)
        click.echo(f"look for yourself meanwhile: mbpoll -m tcp -a 1 -0 -p {port} -t 3:hex -c 64 127.0.0.1", err=True)
        try:
            yield _connected(port, started, Path(folder) / "log")
        except KeyboardInterrupt:
            click.echo("\nended")
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait()


def _connected(port: int, started: list[subprocess.Popen[bytes]], log: Path) -> SmallPlc:
    end_s, plc = time.monotonic() + START_S, None
    while time.monotonic() < end_s and all(one.poll() is None for one in started):
        if plc is None:
            with suppress(OSError):  # the gateway does not listen yet
                plc = SmallPlc(port)
        elif plc.read() & Status.ONLINE:
            return plc
        time.sleep(0.1)
    raise NoAnswer(f"station and gateway did not start: {log.read_text()[-600:]}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


if __name__ == "__main__":
    main()
