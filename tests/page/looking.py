"""How long a person waits in Review: from the key that says what a part was to the next part's picture on the screen.

A row of `tests.faults`. Station, page and browser are real ones; the pictures are evidence of the station's rejects.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import cv2
import numpy as np

from edge.demo.parts import render_part
from tests.edge.stub import ROOT, free_endpoint
from tests.page.conftest import Served
from tests.page.figures import Figures, page_beside
from tests.patience import WAIT_S

LONGEST_MS, MOST_KEYS = 300, 3
# Side of the picture, and parts: the demo's own, and a camera's of four megapixels, all of which evidence has room for.
PARTS = {256: 60, 2048: 40}
AT_ONCE = {256: 200, 2048: 3}  # in one run of the station: a folder outruns what writes evidence
KEYS = ("1", "2", "3", "4")

# Shown: decoded, and two frames later, so that the one with it has been painted. The clock is one for both documents.
_CLOCK = """
(() => {
  const now = () => performance.timeOrigin + performance.now();
  addEventListener('keydown', () => sessionStorage.setItem('pressed', now()), true);
  addEventListener('DOMContentLoaded', async () => {
    const picture = document.querySelector('.look .frame img');
    if (!picture) return;
    await picture.decode();
    requestAnimationFrame(() => requestAnimationFrame(() => {
      window.painted = now() - Number(sessionStorage.getItem('pressed'));
    }));
  });
})();
"""


def review(folder: Path, share: float) -> tuple[bool, Figures]:
    """So many rejects looked at, one key each, with pictures of either size: milliseconds until the next is shown."""
    figures: Figures = {}
    held = True
    for size, most in PARTS.items():
        parts = max(5, round(most * share))
        (folder / str(size)).mkdir()
        times, said, kilobytes = _looked_at(folder / str(size), size, parts)
        p50, p95 = (round(float(np.percentile(times, share))) for share in (50, 95))
        figures |= {f"{size} px: parts, and said": f"{parts}, {said}", f"{size} px: keys a part": 1}
        figures |= {f"{size} px: p50, p95, ms": f"{p50}, {p95}", f"{size} px: a picture, kB": kilobytes}
        held = held and p95 <= LONGEST_MS and said == parts
    return held, figures


def _looked_at(folder: Path, size: int, parts: int) -> tuple[list[float], int, int]:
    """From each key to the next picture, in ms; how many parts have a word; a picture's kB, the median."""
    live, replay, control = (free_endpoint() for _ in range(3))
    with page_beside(folder, live, replay, control) as page:
        page.start()
        for batch in _rejects(folder / "rejects", size, parts + 1):
            with _station(folder, f"folder:{batch}", live, replay, control) as line:
                assert line.wait() == 0
        with _station(folder, "demo:machined?parts=0&rate=1", live, replay, control):
            _wait_for_pictures(folder, parts + 1)
            _wait_for_answer(page)
            times = list(_pressed(page, parts))
            said = int(_asked(folder, "SELECT count(*) FROM parts WHERE label IS NOT NULL"))
    return times, said, round(_asked(folder, "SELECT avg(bytes) FROM files WHERE role = 'image'") / 1000)


def _rejects(folder: Path, size: int, parts: int) -> Iterator[Path]:
    """Folders of twice as many defective parts, for not all are found, enlarged to this side, with a camera's noise.

    Not as a sensor has it, each pixel for itself: in that rows differ as those of two fields do.
    """
    rng = np.random.default_rng(0)
    for first in range(0, 2 * parts, AT_ONCE[size]):
        batch = folder / f"{first:03}"
        batch.mkdir(parents=True)
        for number in range(first, min(2 * parts, first + AT_ONCE[size])):
            image = render_part("machined", 0, number, defective=True).image
            if size != image.shape[0]:
                image = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
                noise = cv2.GaussianBlur(rng.normal(0, 12, image.shape), (0, 0), 1.5)
                image = (image + noise).round().clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(batch / f"{number:03}.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        yield batch


@contextmanager
def _station(folder: Path, source: str, live: str, replay: str, control: str) -> Iterator[subprocess.Popen[bytes]]:
    """The demo's station, on the journal that is there."""
    command = [
        sys.executable, "-m", "edge.commands.edge_inspect", "--source", source,
        "--bundle", str(ROOT / "edge" / "demo" / "machined.bundle"),
        "--journal", str(folder / "journal.db"), "--evidence", str(folder / "evidence"), "--evidence-good-share", "0.1",
        "--resize", "--publish", live, "--replay", replay, "--control", control, "--threads", "1",
    ]  # fmt: skip
    with (folder / "station.log").open("ab") as log:
        station = subprocess.Popen(command, cwd=ROOT, stderr=log)
    try:
        yield station
    finally:
        station.terminate()
        station.wait()


def _asked(folder: Path, question: str) -> Any:
    with closing(apsw.Connection(str(folder / "page.db"), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        return db.execute(question).get


def _wait_for_pictures(folder: Path, parts: int) -> None:
    until_s = time.monotonic() + 10 * WAIT_S
    rejected = (
        "SELECT count(*) FROM files f JOIN parts p ON p.result_id = f.about WHERE role = 'image' AND evaluation = 2"
    )
    while _asked(folder, rejected) < parts:
        assert time.monotonic() < until_s, (folder / "station.log").read_text("utf-8")[-2000:]
        time.sleep(0.2)


def _wait_for_answer(page: Served) -> None:
    until_s = time.monotonic() + 10 * WAIT_S
    while "Seconds since its start" not in page.ask("GET", "/s/top/station", "anna")[1]:
        assert time.monotonic() < until_s, "the station never came back"
        time.sleep(0.2)


def _pressed(page: Served, parts: int) -> Iterator[float]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        name, _, value = page.login("anna").partition("=")
        context.add_cookies([{"name": name, "value": value, "url": page.url}])
        tab = context.new_page()
        tab.add_init_script(_CLOCK)
        tab.goto(f"{page.url}/s/top/review?order=oldest&reason=rejected")
        for number in range(parts):
            time.sleep(0.5)  # that somebody looks
            with tab.expect_navigation():
                tab.keyboard.press(KEYS[number % len(KEYS)])
            until_s = time.monotonic() + WAIT_S
            while (ms := tab.evaluate("window.painted")) is None:
                assert time.monotonic() < until_s, "the next picture was never shown"
                time.sleep(0.05)
            yield float(ms)
        browser.close()
