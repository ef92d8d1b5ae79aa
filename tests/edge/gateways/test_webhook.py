"""The webhook: every record in order, signed, one in flight; whatever the receiver does, none is lost or skipped."""

from __future__ import annotations

import json
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge.core.errors import SettingsError
from edge.gateways.webhook import LONGEST_WAIT_S, SIGNATURE, Target, Webhook, signature
from edge.wire.encoding import to_frames
from edge.wire.messages import decode
from edge.wire.recording import result_record
from tests.edge import samples
from tests.edge.stub import ROOT, Stub
from tests.patience import WAIT_S

SECRET = b"sixteen bytes and more"
CUT = 0  # an answer: none, the connection is closed
MESSAGE = decode(to_frames(result_record(samples.origin(), samples.stamp(), samples.good())))


class Receiver:
    """Answers with these in turn, then 200; keeps what was sent, each with its answer."""

    def __init__(self, answers: Sequence[int] = ()) -> None:
        self.answers, self.got, self.changed = (
            list(answers),
            list[tuple[int, dict[str, str], bytes]](),
            threading.Condition(),
        )
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # killed between head and body: nothing was sent
                    self.close_connection = True
                    return
                with receiver.changed:
                    status = receiver.answers.pop(0) if receiver.answers else 200
                    receiver.got.append((status, dict(self.headers), body))
                    receiver.changed.notify_all()
                if status == CUT:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/records"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def taken(self) -> list[dict[str, Any]]:
        return [json.loads(body) for status, _, body in self.got if status == 200]

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.taken) >= count, WAIT_S), len(self.got)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as made:
        yield made


def test_a_record_is_signed_over_the_bytes_that_are_sent(receiver: Receiver) -> None:
    with closing(Webhook(Target(receiver.url, SECRET), lambda seconds: False)) as webhook:
        assert webhook.send(MESSAGE)
    ((_, headers, body),) = receiver.got
    assert json.loads(body) == MESSAGE.body
    assert headers[SIGNATURE] == signature(SECRET, body) != signature(b"another secret, as long", body)
    assert headers["X-Edge-Inspect-Kind"] == "result" and headers["X-Edge-Inspect-Result-Id"] == samples.RESULT_ID


def test_what_is_not_answered_2xx_is_sent_again_ever_more_rarely_and_no_redirect_is_followed(
    receiver: Receiver,
) -> None:
    receiver.answers = [500, 404, 301, CUT, 302, 400, 503, 429]
    waited: list[float] = []
    with closing(Webhook(Target(receiver.url, SECRET), lambda seconds: bool(waited.append(seconds)))) as webhook:
        assert webhook.send(MESSAGE)
    assert waited == [1, 2, 4, 8, 16, 32, LONGEST_WAIT_S, LONGEST_WAIT_S] and webhook.refused == 8
    assert len({body for _, _, body in receiver.got}) == 1 and len(receiver.taken) == 1


def test_it_stops_while_nobody_answers() -> None:
    with closing(Webhook(Target("http://127.0.0.1:1/", SECRET), lambda seconds: True)) as webhook:
        assert not webhook.send(MESSAGE)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://mes.plant/records", "https"),
        ("ftp://mes/records", "https"),
        ("https://user:word@mes/records", "password"),
        ("mes", "https"),
    ],
)
def test_a_target_that_anybody_could_read_is_refused(url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        Target(url, SECRET)
    assert Target("http://mes.plant/records", SECRET, is_insecure=True).path == "/records"


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(SettingsError, match="16 or more"):
        Target("https://mes/records", b"short")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: apt install openssl to try a receiver's TLS")
def test_a_receiver_whose_certificate_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*command, *subject, *files], check=True, capture_output=True)
    receiver = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    url = receiver.url.replace("http://127.0.0.1", "https://localhost")
    with closing(receiver), closing(Webhook(Target(url, SECRET), lambda seconds: True)) as webhook:
        assert not webhook.send(MESSAGE) and receiver.got == []
        known = Webhook(Target(url, SECRET, str(certificate)), lambda seconds: True)
        assert known.send(MESSAGE) and len(receiver.taken) == 1
        known.close()


def test_over_kills_and_errors_every_record_comes_in_order(tmp_path: Path, receiver: Receiver) -> None:
    """A killed gateway repeats at most the one record that was in flight, by the same id."""
    secret, stub = tmp_path / "secret", Stub(tmp_path, pause_s=0.02)
    secret.write_bytes(SECRET + b"\n")
    receiver.answers = [200] * 5 + [503, CUT] + [200] * 10 + [500]
    command = [
        sys.executable, "-m", "edge.gateways.cli", "webhook", "--url", receiver.url,
        "--replay", stub.replay, "--secret-file", str(secret),
    ]  # fmt: skip
    try:
        stub.start()
        for kills, target in enumerate((20, 60, 100), 1):
            with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as gateway:
                try:
                    receiver.wait_for(target)
                finally:
                    gateway.send_signal(signal.SIGKILL if kills < 3 else signal.SIGTERM)
            assert gateway.returncode == (-signal.SIGKILL if kills < 3 else 0)
    finally:
        Stub.end_all()
    numbers = [body["seq"] for body in receiver.taken]
    again = [number for before, number in pairwise(numbers) if number == before]
    assert len(again) <= 2 and sorted(set(numbers)) == list(range(1, len(set(numbers)) + 1))
    assert numbers == sorted(numbers)
    assert all(headers[SIGNATURE] == signature(SECRET, body) for _, headers, body in receiver.got)
