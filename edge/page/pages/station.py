"""Station: what an engineer asks first when something is odd; and set-up, for whoever changes a lamp or a lens."""

from __future__ import annotations

import json
import platform
import shutil
import time
from datetime import datetime, timezone
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from starlette.responses import Response

import edge
from edge.client import NoAnswer
from edge.core.errors import EdgeError
from edge.core.image_health import HealthBands
from edge.page import drawing
from edge.page.pages.line import banner_facts
from edge.page.pages.log import KINDS
from edge.page.support import support_file
from edge.page.templating import render
from edge.page.visits import Visit
from edge.page.words import Words

OURS = (
    "edge-inspect",
    "starlette",
    "uvicorn",
    "jinja2",
    "apsw",
    "pyzmq",
    "pynacl",
    "numpy",
    "opencv-python",
    "structlog",
    "click",
)
_STATUS_S = 3.0
_COMMANDS = 200  # the newest, in which is looked for who speaks with the station
LOW_BYTES = 1 << 30  # free on a disk: a day or two of evidence


def station(visit: Visit) -> Response:
    """The screen."""
    status, trouble = _asked(visit, "STATUS")
    return visit.show(
        "station.html",
        **banner_facts(visit.page, visit.at, visit.t),
        status=status,
        trouble=trouble,
        consumers=_asked(visit, "CONSUMERS")[0].get("consumers", status.get("consumers", [])) if status else [],
        commanders=_commanders(visit),
        disks=_disks(visit),
        low_bytes=LOW_BYTES,
        birth=visit.page.questions.newest_event(visit.page.questions.station(visit.at.name), "birth"),
        book=visit.at.book.progress,
        versions=versions(),
        own_version=edge.__version__,
        python=platform.python_version(),
    )


def support(visit: Visit) -> Response:
    """All that this screen knows, and what happened of late, as a file for whoever helps; see `edge.page.support`."""
    number, now = visit.page.questions.station(visit.at.name), visit.at.live.now()
    events = visit.page.questions.events(number, KINDS, most=_COMMANDS)
    facts = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": [dict(zip(("name", "version", "licence"), one, strict=True)) for one in versions()],
        "status": _asked(visit, "STATUS")[0],
        "consumers": _asked(visit, "CONSUMERS")[0],
        "birth": now.birth or visit.page.questions.newest_event(number, "birth"),
        "heartbeat": now.heartbeat,
        "heard_before_s": now.age_s,
        "read_model_seq": visit.at.book.progress.seq,
        "disks": [{"free_bytes": free, "bytes": whole} for _, _, free, whole in _disks(visit)],
        "events": [body for _, _, _, body in events],
        "refused_on_page": [one for one in visit.page.audit.newest(_COMMANDS) if one["outcome"] == "refused"],
    }
    name = f'attachment; filename="support-{visit.at.name}.json"'
    content = json.dumps(support_file(facts), indent=1)
    return Response(content, media_type="application/json", headers={"Content-Disposition": name})


def setup(visit: Visit) -> Response:
    """The live picture, and how bright and sharp it is against what good pictures were."""
    return visit.show("setup.html", **banner_facts(visit.page, visit.at, visit.t), **setup_facts(visit))


def gauges(visit: Visit) -> Response:
    """The bars of `setup` alone, for its script, which asks once a second."""
    return Response(render("pieces/gauges.html", visit.t, **setup_facts(visit)), media_type="text/html")


def setup_facts(visit: Visit) -> dict[str, Any]:
    """Measures of the newest part against the bands of the bundle."""
    now, seen = visit.at.live.now(), visit.at.frames.newest(of_part=False)
    told = {} if now.verdict is None else now.verdict.body
    age_s = now.verdict_age_s
    if seen is not None and "measures" in seen.facts:  # of what the camera sees now, part or none
        told, age_s = seen.facts, time.monotonic() - seen.heard_s
    try:
        bands, trouble = visit.at.bands(), None
    except EdgeError as error:
        bands, trouble = None, str(error)
    return {
        "gauges": _gauges(told.get("measures", {}), bands, visit.t),
        "measured": told.get("part_id"),
        "age_s": age_s,
        "bands_trouble": trouble,
        "has_bands": bands is not None,
        "has_frames": visit.at.settings.frames is not None,
    }


def _asked(visit: Visit, verb: str) -> tuple[dict[str, Any], str | None]:
    """What the station answers to a question, and why it does not."""
    try:
        answer, content = visit.at.ask(verb, {}, _STATUS_S)
    except (NoAnswer, EdgeError) as error:
        return {}, str(error)
    return (content, None) if answer == verb else ({}, str(content.get("reason", answer)))


def _commanders(visit: Visit) -> list[tuple[str, str, int]]:
    """Who gave commands of late (gateways, people, this page), their newest one and when; the newest first."""
    number = visit.page.questions.station(visit.at.name)
    found: dict[str, tuple[str, str, int]] = {}
    for _, at_ms, _, body in visit.page.questions.events(number, ("audit",), most=_COMMANDS):
        who = body.get("actor", "?")
        found.setdefault(who, (who, body["command"].upper(), at_ms))
    return list(found.values())


def _disks(visit: Visit) -> list[tuple[str, Path, int, int]]:
    """What is kept where, bytes free there and in all; a folder that is not on this machine is left out."""
    folders = {"evidence": visit.at.settings.evidence, "read_model": visit.page.settings.state}
    return [
        (what, folder, usage.free, usage.total)
        for what, folder in folders.items()
        if folder.is_dir()
        for usage in (shutil.disk_usage(folder),)
    ]


def versions() -> list[tuple[str, str, str]]:
    """Name, version and licence of what the page is made of, as installed here."""
    found = []
    for name in OURS:
        try:
            about = cast("Message", metadata.metadata(name))  # what it is; its stubs lack `get` on 3.11
        except metadata.PackageNotFoundError:  # opencv-python-headless stands in for opencv-python
            continue
        found.append((name, about["Version"], _licence(about)))
    return found


def _licence(about: Message) -> str:
    """Packages say it in one of three ways."""
    classified = [one.rpartition(" :: ")[2] for one in about.get_all("Classifier", []) if one.startswith("License ::")]
    said = about.get("License-Expression") or about.get("License") or ", ".join(classified) or "?"
    return str(said).strip().splitlines()[0][:60]


def _gauges(
    measures: dict[str, float], bands: HealthBands | None, t: Words
) -> list[tuple[str, str, drawing.Gauge, str]]:
    """Name, value as text, where it stands, and what to do where it is outside."""
    limits: dict[str, tuple[float | None, float | None, float, float]] = {
        "brightness": (_limit(bands, "darkest"), _limit(bands, "brightest"), 0.0, 255.0),
        "saturated": (None, _limit(bands, "most_saturated"), 0.0, 0.1),
        "sharpness": (_limit(bands, "least_sharp"), None, 0.0, 0.5),
        "alike": (_limit(bands, "least_alike"), None, 0.0, 1.0),
    }
    shown = []
    for name, (low, high, least, most) in limits.items():
        if name in measures:
            one = drawing.gauge(measures[name], low, high, least, most)
            action = (
                ""
                if one.is_inside
                else t(f"setup.{name}.{'low' if low is not None and measures[name] < low else 'high'}")
            )
            shown.append((name, t.number(measures[name], 1 if name == "brightness" else 3), one, action))
    return shown


def _limit(bands: HealthBands | None, name: str) -> float | None:
    return None if bands is None else getattr(bands, name)
