"""The gateway between a PLC by Modbus TCP and its stations: one thread that polls all sockets and waits for none.

Rejected: asyncio beside ZeroMQ's own poller: two loops, of which one has to wake the other for each record.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
import zmq

from edge.core.errors import SettingsError
from edge.gateways.exchange import Rules
from edge.gateways.gate_leg import Endpoints, GateLeg, why_refused
from edge.gateways.handshake import Handshake
from edge.gateways.modbus import ModbusServer
from edge.gateways.registers import asked, words_of
from edge.gateways.signals import Code

_TURN_MS = 20  # at the most between two looks at deadlines and silence
_WHAT_TO_DO = {
    Code.NOT_TRIGGERED: "frames are no parts here; run it with --trigger control (or hardware)",
    Code.SIMULATED: "its pictures are not of parts (demo, folder or file); for a rehearsal say --accept-simulated",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """silence_s: a PLC that asks nothing for so long is gone. allowed: addresses that may connect; empty: all."""

    stations: tuple[Endpoints, ...]
    rules: Rules
    host: str = "127.0.0.1"
    port: int = 502
    allowed: frozenset[str] = frozenset()
    silence_s: float = 3.0
    accepts_simulated: bool = False


class ModbusGateway:
    """Made, then run until it should stop; SettingsError for what it refuses to serve, Unavailable for its address."""

    def __init__(self, options: Options, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._options, self._clock_ns = options, clock_ns
        self._log = structlog.get_logger(__name__)
        self.handshake = Handshake(os.urandom(8).hex(), options.rules)
        self._legs = [
            GateLeg(one, self.handshake, index, accepts_simulated=options.accepts_simulated, clock_ns=clock_ns)
            for index, one in enumerate(options.stations)
        ]
        self.server = ModbusServer(
            options.host, options.port, self, allowed=options.allowed, silence_s=options.silence_s
        )
        self._is_admitted = [False] * len(self._legs)
        self._code = Code.NONE

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Serve; SettingsError where what a station first says of itself forbids a gate."""
        self._log.info("listening", host=self._options.host, port=self.server.port, stations=len(self._legs))
        try:
            while not should_stop():
                self.turn()
        finally:
            self.server.close()
            for leg in self._legs:
                leg.close()

    def turn(self) -> None:
        """Wait for something, a moment at most, and do all there is to do."""
        legs = [(one, zmq.POLLIN) for leg in self._legs for one in leg.sockets]
        ready: list[tuple[Any, int]] = zmq.zmq_poll([*legs, *self.server.sockets()], self._wait_ms())
        for index, leg in enumerate(self._legs):
            leg.turn()
            self._admit(index, leg)
        self.handshake.tick(self._clock_ns())
        self.server.serve({one for one, _ in ready if isinstance(one, int)}, self._clock_ns() / 1e9)
        if (code := self.handshake.code(self._clock_ns())) is not self._code:
            self._log.info("parts are taken" if code is Code.NONE else "no parts are taken", why=code.name.lower())
            self._code = code

    def _wait_ms(self) -> int:
        next_ns = self.handshake.next_ns()
        left_ms = _TURN_MS if next_ns is None else (next_ns - self._clock_ns()) // 1_000_000 + 1
        return max(0, min(_TURN_MS, left_ms))

    def _admit(self, index: int, leg: GateLeg) -> None:
        """A station's first word decides whether it may be served; what changes later is an error in the registers."""
        if self._is_admitted[index] or leg.birth is None:
            return
        code = why_refused(leg.birth, self._options.accepts_simulated)
        if code is not Code.NONE:
            raise SettingsError(f"{leg.endpoints.live}: a gate cannot be opened by this station: {_WHAT_TO_DO[code]}")
        self._is_admitted[index] = True

    # --- what stands behind the registers ---

    def read(self) -> list[int]:
        """The words of this moment."""
        return words_of(self.handshake.shown(self._clock_ns()))

    def written(self, words: list[int]) -> None:
        """Do what the PLC asks."""
        for effect in self.handshake.written(self._clock_ns(), asked(words)):
            for leg in self._legs:
                leg.carry_out(effect)

    def gone(self) -> None:
        """Nothing is valid any more."""
        self._log.info("the PLC has gone")
        self.handshake.gone(self._clock_ns())
