"""Who watches a station, as Debian has them: Prometheus and Alertmanager on our files, and somebody who is alarmed."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.edge.stub import ROOT
from tests.patience import WAIT_S

FILES = ROOT / "deploy" / "prometheus"
PROMETHEUS, ALERTMANAGER, PROMTOOL = "prometheus", "prometheus-alertmanager", "promtool"
needs_prometheus = pytest.mark.skipif(
    shutil.which(PROMTOOL) is None or shutil.which(PROMETHEUS) is None,
    reason="no Prometheus: apt install prometheus to have our rules and figures read by who will read them",
)
needs_alertmanager = pytest.mark.skipif(
    shutil.which(ALERTMANAGER) is None,
    reason="no Alertmanager: apt install prometheus-alertmanager to follow an alarm to its end",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file, subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as process:
        try:
            yield process
        finally:
            process.kill()


def get(url: str) -> str | None:
    """What is there; None where nobody answers yet."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def wait_for(url: str, log: Path) -> str:
    until = time.monotonic() + WAIT_S
    while (text := get(url)) is None:
        assert time.monotonic() < until, f"{url} does not answer: {log.read_text()[-2000:]}"
        time.sleep(0.1)
    return text


@contextmanager
def exporter(live: str, folder: Path, *flags: str) -> Iterator[int]:
    """`edge-gateway metrics` beside that station; its port."""
    port, log = free_port(), folder / "exporter.log"
    command = [
        sys.executable,
        "-m",
        "edge.gateways.cli",
        "metrics",
        "--live",
        live,
        "--listen",
        f"127.0.0.1:{port}",
        *flags,
    ]
    with running(command, log):
        wait_for(f"http://127.0.0.1:{port}/metrics", log)
        yield port


class Prometheus:
    """One that scrapes that exporter by our configuration and rules."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, expression: str) -> list[Any]:
        """The samples that it gives now; an AssertionError where it makes no sense to Prometheus."""
        text = get(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        assert text is not None, f"Prometheus refuses {expression}"
        return list(json.loads(text)["data"]["result"])


@contextmanager
def prometheus(folder: Path, exporters: Sequence[int], alertmanager_port: int = 9093) -> Iterator[Prometheus]:
    port, log = free_port(), folder / "prometheus.log"
    text = (FILES / "prometheus.yml").read_text()
    for ours, theirs in (("127.0.0.1:9877", exporters), ("127.0.0.1:9093", [alertmanager_port])):
        assert f'"{ours}"' in text
        text = text.replace(f'"{ours}"', ", ".join(f'"127.0.0.1:{port}"' for port in theirs))
    (folder / "prometheus.yml").write_text(text)
    shutil.copy(FILES / "rules.yml", folder / "rules.yml")
    command = [
        PROMETHEUS, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with running(command, log):
        wait_for(f"http://127.0.0.1:{port}/-/ready", log)
        yield Prometheus(port)


class Alarmed:
    """A webhook that keeps what Alertmanager sends: alarm names, and when they came."""

    def __init__(self) -> None:
        self.came: list[tuple[str, float]] = []
        self.changed = threading.Condition()
        alarmed = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with alarmed.changed:
                    firing = [one for one in body["alerts"] if one["status"] == "firing"]
                    alarmed.came += [(one["labels"]["alertname"], time.monotonic()) for one in firing]
                    alarmed.changed.notify_all()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def wait_for(self, name: str, seconds: float) -> float:
        """When that alarm came."""
        with self.changed:
            assert self.changed.wait_for(lambda: name in dict(self.came), seconds), self.came
            return dict(reversed(self.came))[name]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def alertmanager(alarmed: Alarmed, folder: Path) -> Iterator[int]:
    port, log = free_port(), folder / "alertmanager.log"
    text = (FILES / "alertmanager.yml").read_text()
    assert "127.0.0.1:9099" in text
    (folder / "alertmanager.yml").write_text(text.replace("127.0.0.1:9099", f"127.0.0.1:{alarmed.port}"))
    command = [
        ALERTMANAGER, f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    with running(command, log):
        wait_for(f"http://127.0.0.1:{port}/-/ready", log)
        yield port
