"""Graphs run beside each other on as many threads as they may have, and on no more."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge.core.bundle import Bundle
from edge.engines import onnxruntime
from edge.engines.onnxruntime import OnnxRuntimeEngine
from tests.patience import WAIT_S


class Meeting:
    """Runs a session once as many others are at work as are expected; how many there were at most."""

    def __init__(self, expected: int) -> None:
        self._met, self._lock = threading.Barrier(expected, timeout=WAIT_S), threading.Lock()
        self._now, self.most = 0, 0

    def run(self, session: Any, names: Sequence[str], batch: dict[str, Any]) -> Any:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self._met.wait()
        values = session.run(names, batch)
        with self._lock:
            self._now -= 1
        return values


class Watched:
    """A session, run in a meeting."""

    def __init__(self, session: Any, meeting: Meeting) -> None:
        self._session, self._meeting = session, meeting

    def run(self, names: Sequence[str], batch: dict[str, Any]) -> Any:
        return self._meeting.run(self._session, names, batch)


@pytest.mark.parametrize(
    ("graphs", "threads", "of_each", "at_once"), [(3, 1, 1, 1), (2, 2, 1, 2), (4, 2, 1, 2), (3, 3, 1, 3), (3, 7, 2, 3)]
)
def test_as_many_graphs_run_at_once_as_there_are_threads_for(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, graphs: int, threads: int, of_each: int, at_once: int
) -> None:
    of_all = bundle.graph_set("fp32")
    chosen = replace(of_all, graphs=dict(list(of_all.graphs.items())[:graphs]))
    with closing(OnnxRuntimeEngine(chosen, 1)) as engine:
        expected = engine.infer(bundle.golden.image)
    meeting, asked, opened = Meeting(at_once), list[int](), onnxruntime._open

    def watched(of: Any, size: int, own: int) -> Any:
        asked.append(own)
        return Watched(opened(of, size, own), meeting)

    monkeypatch.setattr(onnxruntime, "_open", watched)
    with closing(OnnxRuntimeEngine(chosen, threads)) as engine:
        maps = engine.infer(bundle.golden.image)
    assert meeting.most == at_once and asked == [of_each] * graphs
    assert list(maps) == list(expected)
    for size, one in maps.items():
        np.testing.assert_allclose(one.regression_error, expected[size].regression_error, rtol=1e-3, atol=1e-4)
