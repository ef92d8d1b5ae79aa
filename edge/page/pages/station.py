"""Station: what an engineer asks first when something is odd; and set-up, for whoever changes a lamp or a lens."""

from __future__ import annotations

import platform
import time
from email.message import Message
from importlib import metadata
from typing import Any, cast

from starlette.responses import Response

import edge
from edge.client import NoAnswer
from edge.core.errors import EdgeError
from edge.core.image_health import HealthBands
from edge.page import drawing
from edge.page.pages.line import banner_facts
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


def station(visit: Visit) -> Response:
    """The screen."""
    status: dict[str, Any] = {}
    trouble = None
    try:
        answer, content = visit.at.ask("STATUS", {}, _STATUS_S)
        status, trouble = (content, None) if answer == "STATUS" else ({}, str(content.get("reason", answer)))
    except (NoAnswer, EdgeError) as error:
        trouble = str(error)
    return visit.show(
        "station.html",
        **banner_facts(visit.page, visit.at, visit.t),
        status=status,
        trouble=trouble,
        birth=visit.page.questions.newest_event(visit.page.questions.station(visit.at.name), "birth"),
        book=visit.at.book.progress,
        versions=versions(),
        own_version=edge.__version__,
        python=platform.python_version(),
    )


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


def versions() -> list[tuple[str, str, str]]:
    """Name, version and licence of what the page is made of, as installed here."""
    found = []
    for name in OURS:
        try:
            about = cast("Message", metadata.metadata(name))  # what it is; its stubs lack `get` on 3.11
        except metadata.PackageNotFoundError:  # opencv-python-headless stands in for opencv-python
            continue
        licence = about.get("License-Expression") or about.get("License") or "see its package"
        found.append((name, about["Version"], licence.strip().splitlines()[0][:60]))
    return found


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
