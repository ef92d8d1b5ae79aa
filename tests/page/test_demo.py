"""`make page` as whoever tries it first meets it: an address, a login that works, and nothing left when it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.edge.stub import free_endpoint
from tests.patience import WAIT_S


def test_it_prints_an_address_and_a_login_that_works(tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="the page is not installed: pip install 'edge-inspect[page]'")
    port = int(free_endpoint().rpartition(":")[2])
    command = [sys.executable, "-m", "edge.page.demo", "--out", str(tmp_path / "out"), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as demo:
        assert demo.stdout is not None
        said = re.fullmatch(rf"http://127.0.0.1:{port}/ +log in as (\w+) with (\S+)\n", demo.stdout.readline())
        assert said
        connection = HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{port}"}
        connection.request("POST", "/login", urlencode({"name": said[1], "password": said[2]}), headers)
        answer = connection.getresponse()
        connection.close()
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(WAIT_S) == 0
    assert answer.status == 303 and "edge-page=" in (answer.getheader("set-cookie") or "")
    assert (tmp_path / "out" / "journal.db").exists()
