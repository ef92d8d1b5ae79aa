"""Stands where a program of a document's block stands: `python -m tests.documents.stand_in PROGRAM ARGUMENT…`.

Ours are run for real, with addresses, cameras and system folders replaced by what a test has (`REPLACED`), and with
fewer steps, parts and frames (`FEWER`). What never ends gets a terminal of its own, as a reader would give it: it goes
on in the background, and its output in a file. The system's programs work on the folder $DESTDIR instead of /.
Rejected: rewriting the blocks before they run, where a test would no longer run what the document says.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.documents.reading import ROOT
from tests.patience import WAIT_S

REPLACED = (  # $NAME: of the environment
    (r"^tcp://station:", "tcp://127.0.0.1:"),
    (r":5556$", ":$LIVE_PORT"),
    (r":5557$", ":$REPLAY_PORT"),
    (r"^/(?=etc|var|opt)", "$DESTDIR/"),
    (r"^v4l2:0$", "folder:parts/good"),
    (r"parts=50&rate=5$", "parts=10"),
)
FEWER = {
    "edge-train fit": "--steps 2 --patch-sizes 17 --input-size 96 96 --terms paper --fusion mean",
    "edge-deploy selftest": "part.bundle --frames 2",
    "edge-deploy choose": "--rounds 3",
    "edge-deploy commission": "--good 40",
}
READY = '"event": "ready"'
OURS = {
    "edge-inspect": "edge.commands.edge_inspect",
    "edge-watch": "edge.commands.edge_watch",
    "edge-control": "edge.commands.edge_control",
    "edge-train": "trainer.cli",
    "edge-deploy": "deploy.cli",
    "edge-gateway": "edge.gateways.cli",
}


def main() -> None:
    """Be the program."""
    name, *arguments = sys.argv[1:]
    for pattern, by in REPLACED:
        arguments = [re.sub(pattern, os.path.expandvars(by), argument) for argument in arguments]
    if name in OURS:
        our_program(name, arguments)
    else:
        STAND_INS[name](arguments)


def our_program(name: str, arguments: list[str]) -> None:
    """The real program; in a terminal of its own where it would go on until somebody ends it."""
    command = [sys.executable, "-m", OURS[name], *arguments, *FEWER.get(" ".join([name, *arguments[:1]]), "").split()]
    if "--camera" in command:
        at = command.index("--camera")
        command[at : at + 2] = ["--source", "folder:parts/good"]
    if name == "edge-watch":
        command += addresses(arguments)
    if arguments[:1] == ["selftest"]:
        selftest(command[3:])
    elif name in ("edge-inspect", "edge-watch") and not {"--check", "--verify", "--count"} & set(arguments):
        in_a_terminal(name, command)
    else:
        os.execv(sys.executable, command)


def in_a_terminal(name: str, command: list[str]) -> None:
    """Start it in the background; what it says is in $TERMINALS/NUMBER-NAME-PID. Returns once a daemon is ready."""
    folder = Path(os.environ["TERMINALS"])
    new = folder / "new"
    with new.open("w") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    terminal = new.rename(folder / f"{len(list(folder.iterdir()))}-{name}-{process.pid}")
    until = time.monotonic() + WAIT_S
    while name == "edge-inspect" and process.poll() is None and READY not in terminal.read_text("utf-8"):
        if time.monotonic() > until:
            sys.exit(f"{name} was never ready")
        time.sleep(0.05)
    if process.poll():
        sys.exit(f"{terminal.read_text('utf-8')}\n{name} ended with {process.returncode}")


def selftest(arguments: list[str]) -> None:
    """On the double whose CUDA graphs replay, which has to be in this process."""
    import tensorrt

    import deploy.selftest
    import edge.engines.cuda
    from deploy.cli import cli
    from tests.edge.engines.fake_cuda import FakeCuda

    cuda = FakeCuda()
    tensorrt._on_stream = cuda.enqueue
    edge.engines.cuda.Cuda = deploy.selftest.Cuda = lambda: cuda  # type: ignore[assignment,misc]
    cli(arguments)


def addresses(arguments: list[str]) -> list[str]:
    """Those that edge-watch takes when none is given."""
    live = [] if arguments[:1] and arguments[0].startswith("tcp:") else [f"tcp://127.0.0.1:{os.environ['LIVE_PORT']}"]
    is_named = "--consumer" in arguments and "--replay" not in arguments
    return live + (["--replay", f"tcp://127.0.0.1:{os.environ['REPLAY_PORT']}"] if is_named else [])


def make(arguments: list[str]) -> None:
    """What the target would run, said; the demo itself is run, with fewer parts."""
    said = subprocess.run(
        ["/usr/bin/env", "-u", "DESTDIR", os.environ["REAL_MAKE"], "-C", str(ROOT), "-n", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    print(said.stdout, said.stderr)
    if said.returncode == 0 and arguments == ["demo"]:
        assert "-m edge.demo.run" in said.stdout
        os.execv(sys.executable, [sys.executable, "-m", "edge.demo.run", "--parts", "5"])
    sys.exit(said.returncode)


def pytest(arguments: list[str]) -> None:
    """Collects only: running them is what runs this."""
    some = (
        [] if "/" in arguments[-1] else ["tests/test_end_to_end.py" if "real_data" in arguments else "tests/edge/core"]
    )
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments, *some])


def install(arguments: list[str]) -> None:
    """Without the group, which only a device has."""
    if "-g" in arguments:
        at = arguments.index("-g")
        del arguments[at : at + 2]
    os.execv("/usr/bin/install", ["install", *arguments])


def units(arguments: list[str]) -> None:
    """Each unit that is named is installed, and an instance has its settings."""
    named = [word for word in arguments if word.startswith("edge-inspect")]
    for unit in named:
        template, at, instance = unit.removesuffix(".service").partition("@")
        file = f"{template}@.service" if at else unit
        if not Path(os.environ["DESTDIR"], "etc/systemd/system", file).is_file():
            sys.exit(f"{unit}: no such unit")
        if at and not Path(os.environ["DESTDIR"], "etc/edge-inspect", f"{instance}.env").is_file():
            sys.exit(f"{unit}: no settings")
    if not named:
        sys.exit("no unit named")


def pip(arguments: list[str]) -> None:
    """Installs nothing: what is named is this project, with extras that it has."""
    (wanted,) = arguments[1:]
    extra = re.fullmatch(r"edge-inspect\[(\w+)\]", wanted)
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    if arguments[0] != "install" or not (wanted == "." or (extra and f"\n{extra[1]} = [" in text)):
        sys.exit(f"pip {arguments}: not this project")


def venv(arguments: list[str]) -> None:
    """`python3 -m venv`: an environment that is empty but for what is sourced."""
    if arguments[:2] == ["-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 10))"]:
        return
    folder = Path(arguments[-1], "bin")
    folder.mkdir(parents=True)
    (folder / "activate").touch()
    (folder / "python").write_text("#!/bin/sh\n", "utf-8")
    (folder / "python").chmod(0o755)


def execute(arguments: list[str]) -> None:
    """`sudo`."""
    os.execvp(arguments[0], arguments)


def python(arguments: list[str]) -> None:
    """The one that runs the tests."""
    os.execv(sys.executable, [sys.executable, *arguments])


STAND_INS: dict[str, Callable[[list[str]], None]] = {
    "apt": lambda arguments: None,
    "install": install,
    "journalctl": units,
    "make": make,
    "pip": pip,
    "pytest": pytest,
    "python": python,
    "python3": venv,
    "sudo": execute,
    "systemctl": units,
}


if __name__ == "__main__":
    main()
