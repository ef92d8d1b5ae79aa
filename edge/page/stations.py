"""Which stations the page shows: a small file with a section for each, up to eight of one machine or line.

    [top]
    live = tcp://127.0.0.1:5556
    replay = tcp://127.0.0.1:5557

Rejected: reading the stations' own env files, which a page that shows another machine's station does not have.
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path

from edge.core.errors import SettingsError
from edge.security.client_keys import ClientKeys

MOST = 8
_ENDPOINT = re.compile(r"tcp://.+:\d{1,5}|ipc://.+")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_KEYS = {"live", "replay", "control", "evidence", "proposals", "frames", "keys", "bundle", "may_change_recipes"}


@dataclass(frozen=True, slots=True)
class StationSettings:
    """Where one station is. evidence: its folder; frames: its frames outlet; bundle: the file it runs, for its bands.

    proposals: its folder for thresholds that are proposed, the only one of its own that the page writes into. keys: a
    folder as in `edge.security.client_keys`. may_change_recipes: whether this page's key may do that.
    """

    name: str
    live: str
    replay: str
    control: str
    evidence: Path
    proposals: Path
    frames: str | None = None
    keys: Path | None = None
    bundle: Path | None = None
    may_change_recipes: bool = True


def read_stations(file: Path) -> tuple[StationSettings, ...]:
    """The stations that a file names, in its order; SettingsError says which line of it is wrong."""
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text("utf-8"), str(file))
    except OSError as error:
        raise SettingsError(f"--stations {file}: {error.strerror}; see edge/page/README.md for an example") from error
    except (ConfigError, UnicodeDecodeError) as error:
        raise SettingsError(f"--stations {file}: {error}".replace("\n", " ")) from error
    if not 1 <= len(parser.sections()) <= MOST:
        raise SettingsError(f"--stations {file}: has {len(parser.sections())} sections; give one to {MOST} stations")
    return tuple(_station(file, name, dict(parser[name])) for name in parser.sections())


def _station(file: Path, name: str, given: dict[str, str]) -> StationSettings:
    where = f"--stations {file}: [{name}]"
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{where}: use 1 to 32 of the characters A-Z a-z 0-9 _ -")
    if unknown := given.keys() - _KEYS:
        raise SettingsError(f"{where}: there is no {', '.join(sorted(unknown))}; there are {', '.join(sorted(_KEYS))}")
    for needed in ("live", "replay"):
        if needed not in given:
            raise SettingsError(f"{where}: {needed} is missing; write {needed} = tcp://127.0.0.1:PORT")
    for socket in given.keys() & {"live", "replay", "control", "frames"}:
        if not _ENDPOINT.fullmatch(given[socket]):
            raise SettingsError(f"{where}: {socket} = {given[socket]}: write it as tcp://ADDRESS:PORT or ipc://PATH")
    if "keys" in given:
        ClientKeys(Path(given["keys"]))  # what is wrong with it is said now, not by a screen that stays grey
    word = given.get("may_change_recipes", "yes")
    if word not in ("yes", "no"):
        raise SettingsError(f"{where}: may_change_recipes is yes or no")
    return StationSettings(
        name,
        given["live"],
        given["replay"],
        given.get("control", f"ipc:///run/edge-inspect/{name}/control.sock"),
        Path(given.get("evidence", f"/var/lib/edge-inspect/{name}/evidence")),
        Path(given.get("proposals", f"/var/lib/edge-inspect/{name}/proposals")),
        given.get("frames"),
        Path(given["keys"]) if "keys" in given else None,
        Path(given["bundle"]) if "bundle" in given else None,
        word == "yes",
    )
