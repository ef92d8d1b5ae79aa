"""A page beside a station that exists only in what it said: hours of measures, what drifts, notes; and its heartbeat.

What was said is in the read model from the start, as if it had been read from the station's journal.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import zmq

from edge.core.types import Measures
from edge.line.causes import LAMP
from edge.page.model.filling import Filling
from edge.page.model.schema import connect, open_model
from edge.wire.encoding import to_frames
from edge.wire.facts import Stamp
from edge.wire.messages import Message, decode
from edge.wire.recording import audit_record, birth_record, drift_record, heartbeat_record, result_record
from edge.wire.vocabulary import DriftState, Outcome
from tests.edge import samples
from tests.edge.stub import free_endpoint
from tests.page.conftest import Served

ORIGIN = samples.origin(bands=samples.BANDS, promise=samples.PROMISE)


class Said:
    """Records, one after the other, each at its moment: minutes before `now`."""

    def __init__(self, now: datetime) -> None:
        self.now, self.messages = now, list[Message]()

    def add(self, minutes_ago: float, record: Any, *given: Any, **facts: Any) -> None:
        """The record that this function of `edge.wire.recording` makes."""
        seq = len(self.messages) + 1
        at = self.now - timedelta(minutes=minutes_ago)
        stamp = Stamp(samples.EPOCH, seq, f"0195610c-3c83-7000-8000-{seq:012x}", at)
        self.messages.append(decode(to_frames(record(ORIGIN, stamp, *given, **facts))))

    def command(self, minutes_ago: float, command: str, arguments: str) -> None:
        """A command that was done."""
        facts = {"command": command, "outcome": Outcome.DONE, "arguments": arguments, "actor": "page/theo"}
        self.add(minutes_ago, audit_record, **facts, details="")


def fading_lamp(now: datetime, minutes: int = 470) -> list[Message]:
    """A part a minute, whose pictures grow darker in the second half; a note; the drift, still standing."""
    said = Said(now)
    said.add(minutes + 1, birth_record)
    for ago in range(minutes, 0, -1):
        share = max(0.0, 1 - 2 * ago / minutes)
        wave = math.sin(ago / 9) + 0.6 * math.sin(ago / 2.3)
        measures = Measures(
            118 + wave - 26 * share, 0.004 + 0.001 * math.cos(ago), 0.21 + 0.004 * wave, 0.97 - 0.004 * abs(wave)
        )
        part = samples.defective if ago % 47 == 0 else samples.good
        said.add(ago, result_record, replace(part(ago), measures=measures))
        if ago == minutes * 3 // 4:
            said.command(ago, "note", '{"text":"lens cleaned"}')
        if ago == minutes // 4:
            since = now - timedelta(minutes=minutes / 2)
            facts = {"baseline": 118.0, "now": 105.0, "limit": 80.0, "since": since, "reaches_limit_s": 7 * 3600.0}
            said.add(
                ago,
                drift_record,
                measure="brightness",
                cause=LAMP.name,
                advice=LAMP.advice,
                state=DriftState.BEGUN,
                **facts,
            )
    return said.messages


@contextmanager
def page_of(folder: Path, wheel: Path, messages: list[Message], drifting: tuple[str, ...] = ()) -> Iterator[Served]:
    """A page that has read these, of a station that sends heartbeats and answers nothing."""
    live, replay, control, own = (free_endpoint() for _ in range(4))
    (folder / "page.ini").write_text(
        f"[top]\nlive = {live}\nreplay = {replay}\ncontrol = {control}\nevidence = {folder / 'evidence'}\n", "utf-8"
    )
    open_model(folder / "page.db").close()
    db = connect(folder / "page.db")
    Filling(db, "top").take(messages)
    db.close()
    served = Served(folder, wheel, live, replay, control, int(own.rpartition(":")[2]))
    served.add_users()
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(live, len(messages), drifting, ended), daemon=True)
    beating.start()
    try:
        served.start()
        yield served
    finally:
        ended.set()
        beating.join()
        if served.process is not None:
            served.kill()


def _beat(endpoint: str, head_seq: int, drifting: tuple[str, ...], ended: threading.Event) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.linger = 0
        socket.bind(endpoint)
        while not ended.wait(0.5):
            stamp = replace(samples.stamp(head_seq), created=datetime.now(timezone.utc))
            told = replace(samples.health(), drifting=drifting, camera="streaming", challenge_due_s=5400.0)
            socket.send_multipart(to_frames(heartbeat_record(ORIGIN, stamp, told)))
