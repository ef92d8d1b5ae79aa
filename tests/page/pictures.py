"""The pictures of the page's README: `python -m tests.page.pictures line review` takes these anew, without a name all.

Of the demo's station and page, as `make page` starts them, in headless Chromium. Those that are not among SCREENS need
a line's hours or what people did, and are taken by hand.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.edge.stub import free_endpoint
from tests.patience import WAIT_S

LOOKS = Path(__file__).resolve().parents[2] / "edge" / "page" / "looks"
SIZES = {1280: 800, 390: 844}
SCREENS = {
    "line": "/s/demo/line",
    "review": "/s/demo/review?reason=rejected",
    "part": "/s/demo/parts?kind=rejected",  # and then the newest of them
    "parts": "/s/demo/parts",
    "recipes": "/s/demo/recipes",
    "station": "/s/demo/station",
    "setup": "/s/demo/setup",
    "users": "/users",
}
REJECTS = 12  # that there should be to see


@contextmanager
def demo(folder: Path) -> Iterator[tuple[str, str]]:
    """The demo's station and page: the address, and the password of `demo`."""
    port = free_endpoint().rpartition(":")[2]
    command = [sys.executable, "-m", "edge.page.demo", "--out", str(folder), "--rate", "2", "--port", port]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"(http://\S+?)/\s.* with (\S+)", process.stdout.readline())
        assert found, "the demo says no address"
        yield found[1], found[2]
    finally:
        process.terminate()
        process.wait()


def take(names: list[str]) -> None:
    """Each screen in either size, into `LOOKS`."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, demo(Path(folder)) as (url, password), sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(f"{url}/login")
        tab.fill("[name=name]", "demo")
        tab.fill("[name=password]", password)
        tab.press("[name=password]", "Enter")
        _await_rejects(tab, url)
        for name in names:
            for width, height in SIZES.items():
                tab.set_viewport_size({"width": width, "height": height})
                tab.goto(url + SCREENS[name])
                if name == "part":
                    tab.locator("main a[href*='/part/']").first.click()
                tab.wait_for_load_state("load")
                time.sleep(2.0)  # a beat, and a frame of the outlet
                shot = cv2.imdecode(np.frombuffer(tab.screenshot(full_page=False), np.uint8), cv2.IMREAD_COLOR)
                cv2.imwrite(str(LOOKS / f"{name}-{width}.jpg"), shot, [cv2.IMWRITE_JPEG_QUALITY, 80])
        browser.close()


def _await_rejects(tab: Any, url: str) -> None:
    until_s = time.monotonic() + WAIT_S
    left = ""
    while not left.isdigit() or int(left) < REJECTS:
        assert time.monotonic() < until_s, "the demo's line rejects nothing"
        time.sleep(1.0)
        tab.goto(url + SCREENS["review"])
        left = tab.inner_text("#left") if tab.locator("#left").count() else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("screens", nargs="*", metavar="SCREEN", help=f"of {', '.join(SCREENS)}")
    asked = parser.parse_args().screens
    take(asked or list(SCREENS))
