"""A consumer in a process of its own, which notes when each result reached it.

Run as `python -m deploy.bench.subscriber ENDPOINT`: prints the number of each result and the time on the monotonic
clock, which is one for all processes of a machine. Ends with the station. Rejected: a subscriber thread in the process
that is measured, whose interpreter it would share.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from deploy.bench.processes import python
from edge.wire.messages import WIRE_MAJOR

KINDS = "/result/", "/death/"


class Received:
    """When each result reached the consumer: `at_ns` by seq. `ended` is set when the station has said DEATH."""

    def __init__(self) -> None:
        self.at_ns: dict[int, int] = {}
        self.ended = threading.Event()

    def read(self, lines: Iterator[str]) -> None:
        """Take what the process prints, until it ends."""
        for line in lines:
            seq, at_ns = map(int, line.split())
            self.at_ns[seq] = at_ns
        self.ended.set()


@contextmanager
def subscriber(endpoint: str) -> Iterator[Received]:
    """The process, and what it has received so far; it is ended on exit."""
    received = Received()
    process = subprocess.Popen(python("-m", __name__, endpoint), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    reader = threading.Thread(target=received.read, args=(process.stdout,), name="received")
    reader.start()
    try:
        yield received
    finally:
        process.terminate()
        process.wait()
        reader.join()
        process.stdout.close()


def listen(endpoint: str) -> None:
    """Print a line for each result, until DEATH."""
    with zmq.Context() as context, context.socket(zmq.SUB) as feed:
        feed.set(zmq.RCVHWM, 0)
        feed.subscribe(f"{WIRE_MAJOR}/")
        feed.connect(endpoint)
        while True:
            topic, seq, *_ = feed.recv_multipart()
            at_ns = time.monotonic_ns()
            if topic.endswith(KINDS[0].encode()):
                sys.stdout.write(f"{struct.unpack('>Q', seq)[0]} {at_ns}\n")
                sys.stdout.flush()
            elif topic.endswith(KINDS[1].encode()):
                return


if __name__ == "__main__":
    listen(sys.argv[1])
