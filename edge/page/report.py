"""`edge-page report`: a shift on paper, one HTML page that needs nothing beside it, and as PDF where Chromium is.

It is read from the page's read model, whether or not the page runs. Rejected: a PDF library, which would be a second
way to lay everything out.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from datetime import time as TimeOfDay
from importlib.resources import files
from pathlib import Path
from typing import Any

import apsw

from edge.core.errors import OutputError, SettingsError
from edge.core.files import write_whole
from edge.page.model.questions import Filter, Part, Questions
from edge.page.model.schema import VERSION, connect
from edge.page.model.tallies import births, events_between
from edge.page.pictures import TYPES, NotServed, evidence
from edge.page.shifts import Shift, shift_at, shift_before
from edge.page.stations import StationSettings
from edge.page.tallying import tally
from edge.page.templating import render
from edge.page.words import Words

PICTURES = 60  # the newest rejects; how many are left out is said
CHANGES = ("recipe", "rollback", "commission", "baseline")  # commands by which somebody changes what is told OK
_PDF_S = 120.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What ran from a moment on, beside what ran before (None: unknown, or the same)."""

    at_ms: int
    body: dict[str, Any]
    before: dict[str, Any] | None


def write_report(
    model: Path, station: StationSettings, shift: Shift, shifts: tuple[TimeOfDay, ...], out: Path, t: Words
) -> int:
    """Write it to `out`, HTML or by its ending PDF; how many parts it speaks of. OutputError, SettingsError."""
    if out.suffix not in (".html", ".pdf"):
        raise SettingsError(f"--out {out}: give it the ending .html or .pdf")
    chromium = shutil.which("chromium") if out.suffix == ".pdf" else ""
    if chromium is None:
        raise SettingsError(f"--out {out}: PDF needs Chromium (apt install chromium); or write .html and print that")
    questions = _questions(model)
    if not (number := questions.station(station.name)):
        raise SettingsError(
            f"{model}: knows no station {station.name}; see --stations, and whether edge-page served it"
        )
    facts = report_facts(questions, number, station, shift, shifts, t)
    html = render("report.html", t, **facts).encode()
    write_whole(out, _pdf(html, chromium, out) if chromium else html)
    parts: int = facts["tally"].tables[0].rows[-1].values[0]
    return parts


def shift_named(text: str, shifts: tuple[TimeOfDay, ...]) -> Shift:
    """`this`, `last`, or the shift that a local time such as 2026-03-04T06:00 is in; SettingsError."""
    now = shift_at(shifts, int(1000 * time.time()))
    if text in ("this", "last"):
        return now if text == "this" else shift_before(shifts, now)
    try:
        return shift_at(shifts, round(1000 * datetime.fromisoformat(text).timestamp()))
    except (ValueError, OverflowError) as error:
        raise SettingsError(f"--shift {text}: write this, last, or a local time such as 2026-03-04T06:00") from error


def report_facts(
    questions: Questions, number: int, station: StationSettings, shift: Shift, shifts: tuple[TimeOfDay, ...], t: Words
) -> dict[str, Any]:
    """What the template shows; pictures as data, so that the file stands alone."""
    chosen = Filter(reason="rejected", since_ms=shift.since_ms, until_ms=shift.until_ms)
    rejected = questions.rejected(number, chosen, most=PICTURES)
    happened = events_between(questions, number, ("challenge", "drift", "audit"), shift.since_ms, shift.until_ms)
    return {
        "station": station.name,
        "shift": shift,
        "tally": tally(questions, number, shift, "recipe", shifts, t),
        "rejects": [(part, _picture(station.evidence, part)) for part in rejected],
        "left_out": questions.count_rejected(number, chosen) - len(rejected),
        "challenges": [
            (at, body, questions.count_held(number, body) if "hold" in body else None)
            for at, kind, body in happened
            if kind == "challenge"
        ],
        "drifts": [(at, body) for at, kind, body in happened if kind == "drift"],
        "commands": [(at, body) for at, kind, body in happened if kind == "audit" and body["command"] in CHANGES],
        "ran": _ran(questions, number, shift),
        "complete_to": questions.cursor_seq(number),
        "made_ms": int(1000 * time.time()),
        "style": files("edge.page").joinpath("static", "report.css").read_text("utf-8"),
    }


def _ran(questions: Questions, number: int, shift: Shift) -> list[Ran]:
    """Each start within the shift, and what ran when it began."""
    born = events_between(questions, number, ("birth",), shift.since_ms, shift.until_ms)
    older = births(questions, number, shift.since_ms)
    before = older[-1] if older else None
    ran = [] if before is None else [Ran(shift.since_ms, before, None)]
    for at_ms, _, body in born:
        ran.append(Ran(at_ms, body, before if before is not None and _judges(before) != _judges(body) else None))
        before = body
    return ran


def _judges(birth: dict[str, Any]) -> tuple[Any, ...]:
    recipe = birth["internal_recipe"]
    names = ("image_threshold", "map_threshold", "review_threshold")
    return recipe["hash"], recipe.get("commissioning_hash"), *(birth.get(name) for name in names)


def _picture(folder: Path, part: Part) -> str | None:
    """The overlay, or the picture, as a data address; None where it is not kept, or not what was written."""
    kept = next((part.files[role] for role in ("overlay", "image") if role in part.files), None)
    if kept is None:
        return None
    try:
        content = evidence(folder, *kept)
    except NotServed:
        return None
    return f"data:{TYPES[kept[0].rpartition('.')[2]]};base64,{base64.b64encode(content).decode()}"


def _questions(model: Path) -> Questions:
    """SettingsError where there is no read model of this version."""
    if not model.is_file():
        raise SettingsError(f"{model}: there is no read model; give --state as edge-page serve has it, which makes one")
    try:
        with closing(connect(model)) as db:
            version = db.pragma("user_version")
    except apsw.Error as error:
        raise OutputError(f"{model}: cannot be read ({error}); run this as the user edge-page") from error
    if version != VERSION:
        raise SettingsError(f"{model}: is of another version; start edge-page serve, which reads it anew")
    return Questions(model)


def _pdf(html: bytes, chromium: str, out: Path) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        page, pdf = Path(folder, "report.html"), Path(folder, "report.pdf")
        page.write_bytes(html)
        own = ("--no-sandbox",) if os.geteuid() == 0 else ()
        command: Sequence[str] = (
            chromium, "--headless", *own, "--disable-gpu", "--no-first-run", "--disable-background-networking",
            f"--user-data-dir={folder}/profile", "--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.as_uri(),
        )  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, timeout=_PDF_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OutputError(f"{out}: Chromium does not print it ({error}); write .html and print that") from error
        if not pdf.is_file():
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise OutputError(f"{out}: Chromium does not print it {said}; write .html and print that")
        return pdf.read_bytes()
