"""The station that runs already, asked how it is: what `--check` beside it looks at in place of what that one holds.

A running station has the journal, the addresses and the camera for itself, which is as it should be: a check that
opened them would call the station's own locks a fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge.client.control import NoAnswer, ask
from edge.commands.checkup import Finding
from edge.core.errors import EdgeError, SettingsError
from edge.history.database import JournalInUse, open_database
from edge.station.settings import Settings
from edge.wire.vocabulary import CameraState, StationState

ANSWER_S = 3.0
_ILL = {StationState.CRITICAL.value, CameraState.STALLED.value, CameraState.LOST.value, StationState.DEGRADED.value}


def ask_station(settings: Settings) -> Mapping[str, Any] | None:
    """What the station of these settings says of itself; {} where one runs and cannot be asked; None where none runs.

    One that asks for keys is not asked: it would count a stranger.
    """
    control = settings.sockets.control
    if control is not None and settings.sockets.keys is None and _may_be_there(control):
        try:
            answer, facts = ask(control, "STATUS", timeout_s=ANSWER_S)
            return dict(facts) if answer == "STATUS" else {}
        except (NoAnswer, SettingsError):
            pass  # nobody there, or somebody who is stuck: the journal's lock tells
    return {} if _is_held(settings.journal.path) else None


def tell_station(settings: Settings, status: Mapping[str, Any], digest: str | None = None) -> Iterator[str]:
    """How the running station is; Finding where it is not well. digest: of the file that --bundle names."""
    if not status:
        control, keys = settings.sockets.control, settings.sockets.keys
        if control is not None and keys is None:
            raise Finding(
                f"journal {settings.journal.path}: another process has it, and no station answers at {control} within "
                f"{ANSWER_S:g} s; if it hangs, stop it, else give each camera a journal of its own"
            )
        how = "its log" if control is None else f"edge-control {control} STATUS --keys FOLDER"
        yield f"note  a station runs here and holds the journal; how it is says {how}"
        return
    state, camera = status.get("state"), status.get("camera_state")
    counts = ", ".join(f"{name} {status[name]}" for name in ("captured", "inspected", "undecided") if name in status)
    yield f"a station runs here since {float(status.get('uptime_s', 0)):.0f} s: {state}; {counts}"
    yield "its journal, addresses and camera are in its hands, so they were not opened"
    if digest is not None and status.get("hash") != digest:
        yield (
            f"note  it runs {status.get('bundle')} version {status.get('version')}, and --bundle names another file: "
            "a RECIPE changed it, or the file was replaced since the start"
        )
    if "recipe_reason" in status:
        yield f"it runs {status.get('bundle')} version {status.get('version')}: {status['recipe_reason']}"
    if status.get("sink_failures"):
        yield f"note  pictures or records could not be written {status['sink_failures']} times: see its log"
    if camera is not None and camera not in _ILL:
        yield f"camera {camera}, {float(status.get('camera_fps') or 0):.1f} frames a second"
    if ill := [f"{name} {value}" for name, value in (("state", state), ("camera", camera)) if value in _ILL]:
        raise Finding(f"the station runs, and is not well: {', '.join(ill)}; its log says why")


def _may_be_there(endpoint: str) -> bool:
    return not endpoint.startswith("ipc://") or Path(endpoint.removeprefix("ipc://")).exists()


def _is_held(journal: Path | None) -> bool:
    """Whether another process has the journal; what else is wrong with it is found by who looks at it."""
    if journal is None or not journal.is_file():
        return False
    try:
        open_database(journal).close()
    except JournalInUse:
        return True
    except EdgeError:
        return False
    return False
