"""The PLC's cable: a TCP proxy whose delay may be changed at any moment, each way, and whose links may be cut."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from contextlib import suppress


class SlowLink:
    """Listens on `port`, and passes on to `target`. delay_s: each way, from what is received now on."""

    def __init__(self, target: int) -> None:
        self.delay_s, self._target = 0.0, target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every link, without a word on the cable before it."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """No more links."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target), timeout=1)
                except OSError:
                    peer.close()
                    continue
                far.settimeout(None)
                for one in (peer, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open = [*self._open[-20:], peer, far]
                for a, b in ((peer, far), (far, peer)):
                    self._pass_on(a, b)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        waiting: deque[tuple[float, bytes]] = deque()
        is_more = threading.Semaphore(0)

        def receive() -> None:
            content = b"-"
            while content:
                try:
                    content = source.recv(4096)
                except OSError:
                    content = b""
                waiting.append((time.monotonic() + self.delay_s, content))
                is_more.release()

        def send() -> None:
            with suppress(OSError):
                while True:
                    is_more.acquire()
                    due, content = waiting.popleft()
                    time.sleep(max(0.0, due - time.monotonic()))
                    if not content:
                        break
                    sink.sendall(content)
            with suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)
            sink.close()

        for target in (receive, send):
            threading.Thread(target=target, daemon=True).start()
