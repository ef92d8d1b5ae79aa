"""UUID version 7 (RFC 9562 §5.7): ids that sort by the time they were made, strictly rising within a process.

The standard library has none before Python 3.14. Rejected: uuid4, which scatters a journal's index and says
nothing of order when two records carry the same millisecond.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from uuid import UUID

_COUNTER_BITS = 74  # rand_a (12) and rand_b (62), used as one counter: RFC 9562 §6.2, method 2


class Uuid7:
    """Makes ids; safe to call from several threads. `clock_ms` gives Unix milliseconds."""

    def __init__(self, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._ms = -1
        self._counter = 0

    def __call__(self) -> UUID:
        """The next id; a clock that stands still or steps back never makes an id smaller than the last."""
        with self._lock:
            now = self._clock_ms()
            if now > self._ms:
                # The top bit starts at 0, so that counting up inside one millisecond cannot overflow.
                self._ms, self._counter = now, secrets.randbits(_COUNTER_BITS - 1)
            else:
                self._counter += 1
            rand_a, rand_b = self._counter >> 62, self._counter & (2**62 - 1)
            return UUID(int=(self._ms & (2**48 - 1)) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)


uuid7 = Uuid7()


def created_ms(result_id: str) -> int:
    """When such an id was made, in Unix milliseconds, by the wall clock of then."""
    return UUID(result_id).int >> 80
