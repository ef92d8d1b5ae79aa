"""How far a long step is, and how long it still takes: a bar on a terminal, a line now and then elsewhere.

What the trainer says is prose, or with `edge-train --json` JSON lines: one of the two, whatever it is piped into.
Rejected: choosing by whether it is a terminal, as the daemon does, whose reader is a collector of logs; a person who
pipes a training into a file reads that file.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, SupportsFloat, TypeVar

import click
import structlog

from edge.log import configure_logging
from trainer.processes import rank

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

log = structlog.get_logger()

LOG_SECONDS = 30.0
T = TypeVar("T")

_IS_JSON: ContextVar[bool] = ContextVar("is_json", default=False)
_PHASE: ContextVar[tuple[int, int] | None] = ContextVar("phase", default=None)


def speak(as_json: bool) -> None:
    """From now on everything the trainer says is JSON lines on stderr, or it is prose."""
    _IS_JSON.set(as_json)
    configure_logging(as_json=as_json)


def say(text: str) -> None:
    """A result on stdout, where the trainer speaks prose; in JSON the log has said it."""
    if not _IS_JSON.get():
        click.echo(text)


@contextmanager
def phase(number: int, of: int, name: str) -> Iterator[None]:
    """Steps in the block are said to be of phase `number` of `of`."""
    if rank() == 0:
        log.info(f"phase {number} of {of}: {name}")
    before = _PHASE.set((number, of))
    try:
        yield
    finally:
        _PHASE.reset(before)


def counted(
    items: Iterable[T],
    step: str,
    of: int,
    start: int = 0,
    figures: Mapping[str, SupportsFloat] | None = None,
) -> Iterator[T]:
    """The items, of which there are `of` less the first `start`, while their progress and the time left are shown.

    figures: shown as they are then. Processes but the first say nothing.
    """
    if rank() > 0:
        yield from items
    elif sys.stderr.isatty() and not _IS_JSON.get():
        yield from _with_bar(items, step, of, start, figures or {})
    else:
        yield from _with_lines(items, step, of, start, figures or {})


def _with_bar(items: Iterable[T], step: str, of: int, start: int, figures: Mapping[str, SupportsFloat]) -> Iterator[T]:
    place = _PHASE.get()
    label = step if place is None else f"{place[0]}/{place[1]} {step}"
    shown = " ".join(f"{key} {float(value):.3f}" for key, value in figures.items())
    bar: ProgressBar[int] = click.progressbar(
        length=of, label=label, show_eta=True, file=sys.stderr, item_show_func=lambda _: shown
    )
    with bar:
        bar.update(start)
        for item in items:
            yield item
            shown = " ".join(f"{key} {float(value):.3f}" for key, value in figures.items())
            bar.update(1)


def _with_lines(
    items: Iterable[T], step: str, of: int, start: int, figures: Mapping[str, SupportsFloat]
) -> Iterator[T]:
    place = _PHASE.get()
    facts = {} if place is None else {"phase": f"{place[0]}/{place[1]}"}
    began_s = said_s = time.monotonic()
    for done, item in enumerate(items, start + 1):
        yield item
        now_s = time.monotonic()
        if now_s - said_s > LOG_SECONDS and done < of:
            said_s, left_s = now_s, (now_s - began_s) / (done - start) * (of - done)
            values = {key: round(float(value), 4) for key, value in figures.items()}
            log.info(step, **facts, done=done, of=of, left=_clock(left_s), **values)


def _clock(seconds: float) -> str:
    """h:mm:ss."""
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{left:02}"
