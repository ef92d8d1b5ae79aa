"""What changes on a station, to every browser that looks at it, as it changes: server-sent events.

Each event is the whole present, as pieces of HTML by the id they replace, so that a browser that comes back needs
nothing of what it missed. They are made once for all browsers of a language, at most ten times a second.
A browser that does not read is let go when 64 wait for it. Rejected: differences (a lost one stays wrong), WebSockets
(nothing comes back).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import apsw
import structlog
from starlette.concurrency import run_in_threadpool

from edge.page.running import Station

WAITING = 64  # events of one browser
LEAST_S, MOST_S = 0.1, 1.0  # between two events

log = structlog.get_logger(__name__)

Key = tuple[str, str]  # language, screen
Pieces = Callable[[Station, Key], tuple[str, dict[str, str]]]  # the event's id, and HTML by element id


class Hub:
    """Of one station; made in the event loop. pieces: called in another thread."""

    def __init__(self, station: Station, pieces: Pieces) -> None:
        self._station, self._pieces = station, pieces
        self._readers: dict[asyncio.Queue[bytes | None], Key] = {}
        self._changed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def changed() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._changed.set)

        station.changed = changed
        self._task = loop.create_task(self._run())
        self._task.add_done_callback(self._ended)

    async def events(self, key: Key) -> AsyncIterator[bytes]:
        """The event stream of one browser, from the present on."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
        self._readers[queue] = key
        try:
            yield b"retry: 1000\n\n" + await run_in_threadpool(self._event, key)
            while not self._task.done() and (event := await queue.get()) is not None:
                yield event
        finally:
            self._readers.pop(queue, None)

    async def close(self) -> None:
        """End all streams."""
        self._task.cancel()
        await asyncio.wait([self._task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        """No more events: whoever reads comes back each second, for the present and to be told what is wrong."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("events have ended; restart edge-page", station=self._station.settings.name, exc_info=error)
        for queue in list(self._readers):
            self._end(queue)

    async def _run(self) -> None:
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), MOST_S)
            self._changed.clear()
            for key in set(self._readers.values()):
                try:
                    event = await run_in_threadpool(self._event, key)
                except apsw.Error as error:  # a read model that is being rebuilt, a disk that is full: it may pass
                    log.warning("no event", station=self._station.settings.name, error=str(error))
                    break
                for queue in [one for one, of in self._readers.items() if of == key]:
                    if queue.full():
                        self._end(queue)
                    else:
                        queue.put_nowait(event)
            await asyncio.sleep(LEAST_S)

    def _end(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._readers.pop(queue, None)
        while queue.full():
            queue.get_nowait()
        queue.put_nowait(None)

    def _event(self, key: Key) -> bytes:
        number, pieces = self._pieces(self._station, key)
        return f"id: {number}\ndata: {json.dumps(pieces)}\n\n".encode()
