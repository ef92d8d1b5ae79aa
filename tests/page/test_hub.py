"""Events go on over a read model that cannot be read for a moment, and end in plain sight over anything else."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

apsw = pytest.importorskip("apsw")
pytest.importorskip("starlette", reason="the page is not installed: pip install 'edge-inspect[page]'")

from edge.page.hub import Hub  # noqa: E402
from tests.patience import WAIT_S  # noqa: E402


async def heard(failures: list[Exception]) -> list[bytes]:
    """The first two events of a browser, where making the second one fails so first."""
    asked = 0

    def pieces(station: Any, key: tuple[str, str]) -> tuple[str, dict[str, str]]:
        nonlocal asked
        asked += 1
        if asked > 1 and failures:
            raise failures.pop(0)
        return f"a.{asked}", {"now": str(asked)}

    hub = Hub(SimpleNamespace(settings=SimpleNamespace(name="top"), changed=None), pieces)  # type: ignore[arg-type]
    found = []
    async for event in hub.events(("en", "line")):
        found.append(event)
        if len(found) == 2:
            break
    await hub.close()
    return found


def test_a_read_model_that_is_busy_ends_no_stream() -> None:
    events = asyncio.run(asyncio.wait_for(heard([apsw.BusyError("locked"), apsw.IOError("full")]), WAIT_S))
    assert len(events) == 2 and b'"now": "4"' in events[1]


def test_what_nobody_foresaw_ends_the_stream_so_that_the_browser_asks_again() -> None:
    assert len(asyncio.run(asyncio.wait_for(heard([RuntimeError("a bug")]), WAIT_S))) == 1
