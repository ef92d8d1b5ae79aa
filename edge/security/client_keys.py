"""A consumer's keys: its own, and the station's, without which it would talk to whoever answers.

    FOLDER/consumer.key_secret    whose public half lies in the station's folder of consumers
    FOLDER/station.key            the station's public key

Rejected: taking the station's key from its first answer, which is what somebody in between would send.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zmq

from edge.security.certificates import PUBLIC_SUFFIX, SECRET_SUFFIX, read_certificate

CONSUMER, STATION = "consumer", "station"


class ClientKeys:
    """Read from a folder; SettingsError for what is missing, damaged, or a secret that others may read."""

    def __init__(self, folder: Path) -> None:
        self._own = read_certificate(folder / f"{CONSUMER}{SECRET_SUFFIX}", is_secret=True)
        self._station = read_certificate(folder / f"{STATION}{PUBLIC_SUFFIX}", is_secret=False)

    def apply(self, socket: zmq.Socket[Any]) -> None:
        """Before the socket is connected: it then talks to that station only, encrypted, as this consumer."""
        socket.set(zmq.CURVE_PUBLICKEY, self._own.public.encode("ascii"))
        socket.set(zmq.CURVE_SECRETKEY, self._own.secret.encode("ascii"))
        socket.set(zmq.CURVE_SERVERKEY, self._station.public.encode("ascii"))
