"""The page behind a port: loopback without TLS, anything beyond only with a certificate.

uvicorn waits for ever for the head of a request; a connection that does not say what it wants in ten seconds is closed
here, or a few hundred of them would keep everybody else out.
"""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.core.errors import SettingsError
from edge.page.app import make_app
from edge.page.running import Page

HEAD_S = 10.0
MOST_CONNECTIONS = 256
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class _Impatient(H11Protocol):
    """Closes a connection whose first request does not come."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._waiting = self.loop.call_later(HEAD_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.conn.their_state is h11.IDLE and self.transport is not None:  # no head of a request has come whole
            self.transport.close()


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine only; a name may come to stand for anything, so it is not."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_certificate(host: str, certificate: Path | None, key: Path | None) -> None:
    """SettingsError where passwords would go over a network in plain text, or a certificate lacks its key."""
    if (certificate is None) != (key is None):
        raise SettingsError("--certificate and --certificate-key belong together; give both, or neither on 127.0.0.1")
    if certificate is None and not is_loopback(host):
        raise SettingsError(
            f"--host {host}: beyond this machine only with TLS; give --certificate and --certificate-key (edge-deploy "
            "page-certificate makes a pair, a plant's CA signs better ones), or use --host 127.0.0.1"
        )
    for file in (certificate, key):
        if file is not None and not file.is_file():
            raise SettingsError(f"{file}: there is no such file; see edge-deploy page-certificate --help")


def serve(page: Page, host: str, port: int, certificate: Path | None, key: Path | None) -> None:
    """Serve until SIGTERM or an interrupt; uvicorn ends the process where the port is taken."""
    config = uvicorn.Config(
        make_app(page, LOOPBACK_NAMES if certificate is None else ("*",)),
        host=host,
        port=port,
        http=_Impatient,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=16 << 10,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    uvicorn.Server(config).run()
