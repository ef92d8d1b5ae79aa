"""Where the station is reached, and by whom."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click

from edge.core.errors import SettingsError
from edge.station.settings.flags import Flag, Flags

DEFAULT_PUBLISH = "tcp://127.0.0.1:5556"
DEFAULT_REPLAY = "tcp://127.0.0.1:5557"
_MAX_SOCKET_PATH = 100  # of a Unix socket's 107 bytes
FIRST_DAY = [
    Flag(
        "--publish",
        "A first day",
        default=DEFAULT_PUBLISH,
        metavar="ENDPOINT",
        help="Live ZeroMQ socket; loopback only, unless --keys is given.",
    ),
]
FLAGS = [
    Flag(
        "--replay",
        "Sockets",
        metavar="ENDPOINT",
        help="Serve history to consumers here, loopback only unless --keys is given; none serves it nowhere. Without a "
        f"journal's file only the newest records are there.  [default: {DEFAULT_REPLAY} with --journal, else none]",
    ),
    Flag(
        "--control",
        "Sockets",
        metavar="ENDPOINT",
        help="Take commands here (see edge-control); none takes none.  [default: with a journal, control.sock beside "
        "it or in $RUNTIME_DIRECTORY]",
    ),
    Flag(
        "--frames",
        "Sockets",
        metavar="ENDPOINT",
        help="Send the picture of each part that was told here, and a live one for set-up (ipc:// for a page on this "
        "machine); who is too slow loses some.  [default: none are sent]",
    ),
    Flag(
        "--keys",
        "Sockets",
        type=click.Path(path_type=Path, file_okay=False),
        help="Serve only who has a key in consumers/ of this folder, encrypted, on all sockets (see edge-deploy keys); "
        "needed beyond loopback.",
    ),
    Flag(
        "--insecure-plaintext",
        "Sockets",
        is_flag=True,
        default=False,
        help="Let anyone on the network read and command this station.",
    ),
    Flag(
        "--wait-for-subscriber-s",
        "Sockets",
        type=float,
        default=0.0,
        help="Hold the first part until somebody subscribes, for so long at most; for folders and demos.",
    ),
]


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """replay, control, frames None: not served. keys: this station's and its consumers'; None: all on this machine."""

    publish: str = DEFAULT_PUBLISH
    replay: str | None = None
    control: str | None = None
    keys: Path | None = None
    is_insecure: bool = False
    wait_for_subscriber_s: float = 0.0
    frames: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.wait_for_subscriber_s <= 3600:
            raise SettingsError(f"--wait-for-subscriber-s {self.wait_for_subscriber_s}: give seconds from 0 to 3600")
        if self.keys is not None and self.is_insecure:
            raise SettingsError("--insecure-plaintext: with --keys nothing is in plain text; give one of the two")

    @property
    def who_is_served(self) -> str:
        """For an operator."""
        if self.keys is not None:
            return f"with a key in {self.keys}/consumers, encrypted"
        return "ANYONE on the network, in plain text" if self.is_insecure else "anyone on this machine"


def socket_settings(flags: Flags, journal: Path | None) -> SocketSettings:
    """Of the command line; SettingsError. What is served by itself depends on whether there is a journal's file."""
    return SocketSettings(
        flags["publish"],
        _said(flags["replay"]) if flags["replay"] else None if journal is None else DEFAULT_REPLAY,
        _said(flags["control"]) if flags["control"] else _control_beside(journal),
        flags["keys"],
        flags["insecure_plaintext"],
        flags["wait_for_subscriber_s"],
        _said(flags["frames"]) if flags["frames"] else None,
    )


def _said(endpoint: str) -> str | None:
    return None if endpoint == "none" else endpoint


def _control_beside(journal: Path | None) -> str | None:
    """A socket in $RUNTIME_DIRECTORY, or beside the journal; None where there is none, or its path is too long."""
    if journal is None:
        return None
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or str(journal.absolute().parent)
    path = f"{folder}/control.sock"
    return f"ipc://{path}" if len(path.encode()) <= _MAX_SOCKET_PATH else None
