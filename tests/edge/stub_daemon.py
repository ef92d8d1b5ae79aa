"""The real daemon around an engine that costs nothing and a source that never ends: `python -m tests.edge.stub_daemon`.

Everything between the verdict and the consumer is what ships; starting takes no model and no camera. Arguments: JSON
of `edge.station.settings.Settings`' endpoints and journal; `source`: a real one, whose parts the engine all finds good,
or with `judge` as bright as they are;
`pause_s` between parts (0: as fast as they are inspected) and `inference_s` for each; `disk`: what the journal's disk
does ("fails" or "hangs") once the file `disk` beside the journal exists; `deadline_s` of the watchdog. A file `parts`
beside the journal says how many parts may come at most, as long as it is there.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from threading import Event

import numpy as np

import edge.station.daemon
import edge.station.outlets
import edge.station.prove
import edge.station.startup
import edge.station.watchdog
from edge.core.bundle import Bundle
from edge.core.errors import BundleError
from edge.core.types import Acquisition, Frame, Image, PatchMaps
from edge.history.journal import Journal
from edge.inspector import Inspector
from edge.log import configure_logging
from edge.security.trust import Trust
from edge.station.daemon import serve
from edge.station.settings import Settings, settings_of
from edge.station.thresholds import Thresholds
from edge.station.watchdog import Part
from tests.edge.fakes import BrightnessEngine, a_bundle, a_frame
from tests.edge.history.disks import Disk, Operation, mounted

ENDLESS = "endless:"
NEVER = Event()  # waited for instead of time.sleep, whose absolute deadlines libfaketime 0.9.10 refuses
JUDGED: list[str] = []  # not empty: a real source's pictures are judged too
FAKE_CAMERA_SIZE = (512, 512)  # of Debian's fake GigE Vision camera


class EndlessSource:
    """Parts 1, 2, 3, …, every fifth defective; never drops one. most: a file that says how many may come."""

    uri, acquisition, is_live = ENDLESS, Acquisition.TRIGGERED, False
    state, camera_fps = "streaming", None

    def __init__(self, pause_s: float, most: Path) -> None:
        self._pause_s, self._most, self._next_id = pause_s, most, 1

    def read(self, timeout_s: float) -> Frame | None:
        NEVER.wait(self._pause_s)
        if self._most.exists() and self._next_id > int(self._most.read_text()):
            NEVER.wait(min(timeout_s, 0.05))
            return None
        number, self._next_id = self._next_id, self._next_id + 1
        frame = a_frame(number, spot=200 if number % 5 == 0 else 0, part_id=f"P{number}")
        frame.image[-1, -2:, 1] = divmod(number % 2**16, 256)  # each picture another one, and none that matters
        return replace(frame, captured_ns=time.monotonic_ns(), captured_at=datetime.now(timezone.utc))

    def close(self) -> None:
        """Nothing is held."""


class SlowEngine(BrightnessEngine):
    """One that takes its time."""

    pause_s = 0.0

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        NEVER.wait(self.pause_s)
        return super().infer(image)


class AllGoodEngine(BrightnessEngine):
    """Finds every picture of a camera as good as black."""

    def infer(self, image: Image) -> dict[int, PatchMaps]:
        return super().infer(np.zeros_like(image))


def open_inspector(
    settings: Settings, stack: ExitStack, trust: Trust, should_stop: object, thresholds: Thresholds
) -> tuple[Inspector, float]:
    if settings.camera.source == ENDLESS or JUDGED:
        bundle = thresholds.moved(replace(a_bundle(), where=str(settings.bundle.path)))
        return Inspector(bundle, SlowEngine()), 0.0
    return Inspector(a_bundle(frame_size=FAKE_CAMERA_SIZE), AllGoodEngine(), settings.camera.is_resized), 0.0


def load_bundle(trust: Trust, path: Path) -> Bundle:
    """Any path but `missing` is a bundle, told from the others by its digest."""
    if path.name == "missing":
        raise BundleError("bundle missing: cannot be read; check its path")
    return replace(a_bundle(), digest=path.name[0] * 64)


class SwitchedDisk(Disk):
    """A disk that is well until a file says otherwise."""

    def __init__(self, switch: Path, how: str) -> None:
        super().__init__()
        self.switch, self.how = switch, how

    def operate(self, operation: Operation) -> None:
        while self.switch.exists():
            if self.how == "fails":
                raise self.error("the disk says no")
            NEVER.wait(0.05)


def main() -> int:
    arguments = json.loads(sys.argv[1])
    pause_s = arguments.pop("pause_s", 0.0)
    JUDGED.extend(["yes"] * arguments.pop("judge", False))
    SlowEngine.pause_s = arguments.pop("inference_s", 0.0)
    edge.station.watchdog.DEADLINES_S.update(dict.fromkeys(Part, arguments.pop("deadline_s", 60.0)))  # type: ignore[attr-defined]
    edge.station.daemon.DELIVERY_S, edge.station.daemon.END_S = 15.0, 20.0
    edge.station.startup.open_inspector = open_inspector
    edge.station.startup.open_bundle = lambda settings, bundle, resizes=False: Inspector(bundle, SlowEngine())
    edge.station.prove.Prover.prove = lambda self, bundle: None  # type: ignore[method-assign]
    Trust.load = load_bundle  # type: ignore[method-assign]
    source, journal = arguments.pop("source", ENDLESS), Path(arguments.pop("journal"))
    if source == ENDLESS:
        edge.station.startup.open_source = lambda uri, options: EndlessSource(pause_s, journal.with_name("parts"))  # type: ignore[misc, assignment]
    configure_logging("info")
    for name in arguments.keys() & {"evidence", "keys", "recipes"}:
        arguments[name] = Path(arguments[name])
    with ExitStack() as stack:
        if (how := arguments.pop("disk", None)) is not None:
            vfs = stack.enter_context(mounted(SwitchedDisk(journal.with_name("disk"), how)))

            class OnThatDisk(Journal):
                def __init__(self, path: Path, *, boot_id: str | None = None) -> None:
                    super().__init__(path, boot_id=boot_id, vfs=vfs)

            edge.station.outlets.Journal = OnThatDisk  # type: ignore[misc]
        bundle = Path(arguments.pop("bundle", "stub.bundle"))
        return serve(settings_of(source=source, bundle=bundle, journal=journal, **arguments))


if __name__ == "__main__":
    sys.exit(main())
