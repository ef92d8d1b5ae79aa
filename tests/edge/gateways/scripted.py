"""A station that answers each TRIGGER as a test says, on real sockets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import zmq

from edge.core.types import Inspection
from edge.history.journal import IN_MEMORY, Journal
from edge.sockets.publisher import Publisher
from edge.wire.facts import Origin
from edge.wire.messages import as_historical
from edge.wire.recording import birth_record, gap_record, heartbeat_record, result_record
from tests.edge import samples

ORIGIN = replace(samples.origin(), trigger="control", trigger_window_ms=150.0)
Answer = Callable[[dict[str, Any]], "list[Inspection] | str"]


class ScriptedStation:
    """told: for each part id, when its first record went out (monotonic seconds). beats: whether it is heard."""

    def __init__(self, folder: Path, name: str = "station", origin: Origin = ORIGIN, *, is_deaf: bool = False) -> None:
        self.live, self.control = f"ipc://{folder}/{name}-live", f"ipc://{folder}/{name}-control"
        self.origin, self.answer = origin, with_id(lambda own, part: samples.good(1, trigger_id=own, part_id=part))
        self.told: dict[str, float] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.beats, self.is_historical, self._is_ended, self._beat_s = True, False, False, 0.0
        self.refused: dict[str, str] = {}  # verbs other than TRIGGER, and why
        self.is_deaf = is_deaf  # it answers no command
        self.tells_clock, self.births = False, 1  # in its heartbeats; how often it was started
        self._do: list[Callable[[], None]] = []
        self._publisher, self._journal = Publisher(self.live), Journal(IN_MEMORY)
        self._control = zmq.Context.instance().socket(zmq.ROUTER)
        self._control.bind(self.control)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """No more."""
        self._is_ended = True
        self._thread.join()
        self._control.close(0)
        self._publisher.close()

    def become(self, origin: Origin, *, is_lost: bool = False) -> None:
        """It runs something else from now on, and says so; is_lost: nobody hears it."""
        self.origin = origin
        self._do.append(self._lose_birth if is_lost else self._be_born)

    def _lose_birth(self) -> None:
        self._journal.assign(lambda stamp: birth_record(self.origin, stamp))
        self._journal.commit()  # the heartbeat says that there was one

    def restart(self) -> None:
        """It was killed, and is there again."""
        self.births += 1
        self._do.append(self._be_born)

    def lose(self, part_id: str) -> None:
        """Say that nobody inspected this part."""
        gap = samples.gap(1, 1, part_ids=(part_id,))
        self._do.append(lambda: self._tell(lambda stamp: gap_record(self.origin, stamp, gap)))

    def _run(self) -> None:
        poller = zmq.Poller()
        for one in (self._control, self._publisher.socket):
            poller.register(one, zmq.POLLIN)
        self._be_born()
        while not self._is_ended:
            ready = dict(poller.poll(10))
            if self._publisher.socket in ready:
                self._publisher.service()
                self._be_born()  # whoever subscribed has to know
            while self._do:
                self._do.pop(0)()
            if self._control in ready:
                self._serve()
            if self.beats and time.monotonic() - self._beat_s > 0.2:
                self._beat_s = time.monotonic()
                clock_ns = time.monotonic_ns() if self.tells_clock else None
                build = lambda stamp, ns=clock_ns: heartbeat_record(  # noqa: E731
                    self.origin, stamp, samples.health(), clock_ns=ns
                )
                self._publisher.socket.send_multipart(self._journal.transient(build).frames)

    def _be_born(self) -> None:
        self._tell(lambda stamp: birth_record(self.origin, stamp, self.births))

    def _tell(self, build: Any) -> None:
        frames = self._journal.assign(build).frames
        self._publisher.socket.send_multipart(as_historical(frames) if self.is_historical else frames)

    def _serve(self) -> None:
        peer, verb, request_id, content = self._control.recv_multipart()
        facts = json.loads(content)
        self.asked.append((verb.decode(), facts))
        if self.is_deaf:
            return
        answer = self.answer(facts) if verb == b"TRIGGER" else self.refused.get(verb.decode(), [])
        told = {"reason": answer} if isinstance(answer, str) else {"details": "done"}
        word = b"REFUSED" if isinstance(answer, str) else b"STATUS" if verb == b"STATUS" else b"DONE"
        clock = {"clock_ns": time.monotonic_ns()}
        self._control.send_multipart([peer, word, request_id, json.dumps(told | clock).encode()])
        for inspection in () if isinstance(answer, str) else answer:
            self.told.setdefault(facts["part_id"], time.monotonic())
            self._tell(lambda stamp, one=inspection: result_record(self.origin, stamp, one, 12.0))


def with_id(*makers: Callable[[str, str], Inspection]) -> Answer:
    """Answer with these inspections, each made for the trigger's own id and part."""
    return lambda facts: [make(facts["trigger_id"], facts["part_id"]) for make in makers]
