"""The book's leg to one station: every record in order, each acknowledged once its effect is certain.

What a station cannot give any more is said and gone on after; a book that waits for it would never be written again.
Rejected: acknowledging in groups, after which a crash would repeat more than the one record in flight.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import structlog

from edge.client import Consumer, HistoryForked, RecordsLost, ReplaySilent
from edge.wire.messages import Message, WireError

TICK_S = 0.5

log = structlog.get_logger(__name__)


def keep_book(consumer: Consumer, book: Callable[[Message], bool], should_stop: Callable[[], bool]) -> None:
    """Give each record to `book` until it should stop; what was booked is acknowledged.

    book: returns once the effect is certain, or False where it was stopped before: that record comes again.
    """
    while not should_stop():
        try:
            message = consumer.receive(TICK_S)
        except RecordsLost as error:
            log.error("records are lost for this gateway", why=str(error))
            continue
        except HistoryForked as error:
            log.error("another history has begun; it is read from its beginning", why=str(error))
            consumer.restart("earliest")
            continue
        except WireError as error:
            log.error("a record makes no sense", why=str(error))
            continue
        if message is not None and book(message):
            with suppress(ReplaySilent):  # the next one's acknowledgement says it too
                consumer.ack(message)
