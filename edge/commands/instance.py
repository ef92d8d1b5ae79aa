"""`--instance NAME`: the environment in which systemd runs edge-inspect@NAME, for a command given by hand.

A technician checks what the service does, with its very settings and folders, and not with flags copied from a file.
"""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path

import click

from edge.station.settings.flags import Flag

SETTINGS, STATE, RUNTIME = Path("/etc/edge-inspect"), Path("/var/lib/edge-inspect"), Path("/run/edge-inspect")
_NAME = r"[A-Za-z0-9_.:-]+"
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)


def environment_of(name: str, root: Path = Path("/")) -> dict[str, str]:
    """The variables of the instance's file, and the folders that systemd would give; UsageError says what is wrong.

    root: what the folder of settings is below.
    """
    settings = root / str(SETTINGS).lstrip("/")
    file = settings / f"{name}.env"
    if not re.fullmatch(_NAME, name):
        raise click.UsageError(f"--instance {name}: give the name between @ and .service")
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        there = ", ".join(sorted(path.stem for path in settings.glob("*.env"))) or "none"
        raise click.UsageError(
            f"--instance {name}: {file}: {error.strerror} (there are: {there}); it is read as root or as the service's "
            f"user: sudo -u edge-inspect edge-inspect --instance {name} --check"
        ) from error
    folders = {"STATE_DIRECTORY": str(STATE / name), "RUNTIME_DIRECTORY": str(RUNTIME / name)}
    return {**folders, **variables_in(text, str(file))}


def variables_in(text: str, where: str) -> dict[str, str]:
    """Of a file as systemd's EnvironmentFile= reads it: comments, quotes, lines that go on behind a backslash."""
    found = {}
    for line in text.replace("\\\n", "").splitlines():
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        if (match := _VARIABLE.fullmatch(line.strip())) is None:
            raise click.UsageError(f"{where}: {line.strip()!r}: write NAME=VALUE")
        try:
            found[match[1]] = _value(match[2].strip())
        except ValueError as error:
            raise click.UsageError(f"{where}: {line.strip()!r}: {error}") from error
    return found


def _value(text: str) -> str:
    """Without the quotes around it; spaces and # inside are its own."""
    return "".join(shlex.split(text)) if text[:1] in ("'", '"') else text


def _enter(context: click.Context, parameter: click.Parameter, name: str | None) -> None:
    if name is None:
        return
    os.environ.update(environment_of(name))
    with suppress(OSError):  # the service has never run: what is missing is found by who needs it
        os.chdir(STATE / name)


INSTANCE = Flag(
    "--instance",
    "A first day",
    metavar="NAME",
    is_eager=True,  # the variables stand before any other flag looks for its own
    expose_value=False,
    callback=_enter,
    help="With the settings and folders of the service edge-inspect@NAME; with --check: is it well?",
)
