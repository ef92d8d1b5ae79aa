"""How late this machine wakes a thread that waits: what it did to us just now it does to others too.

A TRIGGER without a date was sent after its thread last saw an empty socket, unless it lay meanwhile in front of a
ZeroMQ thread, or in its sender, that the kernel did not let run. Neither can be seen from here; but where our own waits
end late the machine has more to do than it can, and the moment of a TRIGGER is known that much less.
"""

from __future__ import annotations

NS = 1_000_000_000
USUAL_NS = 5_000_000  # Python's threads keep each other waiting for so long on a machine that has time
MEMORY_NS = NS // 4  # a machine that is short of time is so again by then; one that stood still once goes on


class Lateness:
    """The worst of the last MEMORY_NS to twice that, in ns; 0 where it is what is usual."""

    def __init__(self) -> None:
        self._since_ns = 0
        self._now = self._before = 0

    def note(self, late_ns: int, now_ns: int) -> None:
        """A wait ended so much later than it should have, at that moment."""
        if (passed_ns := now_ns - self._since_ns) >= MEMORY_NS:
            self._since_ns, self._before, self._now = now_ns, self._now if passed_ns < 2 * MEMORY_NS else 0, 0
        if late_ns > USUAL_NS:
            self._now = max(self._now, late_ns)

    @property
    def worst_ns(self) -> int:
        """As the class."""
        return max(self._now, self._before)
