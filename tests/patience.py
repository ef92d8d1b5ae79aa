"""How long tests wait for what must come; a neighbour that takes the processor or the disk is no failure."""

import time
from collections.abc import Callable

WAIT_S = 120.0
POLL_S = 0.01


def wait_until(is_so: Callable[[], object], why: str) -> None:
    """Until it is so, WAIT_S at most; for what cannot be waited on. Fails with `why`."""
    until_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < until_s, why
        time.sleep(POLL_S)
