"""Beyond this machine only with a certificate; with one, what a browser keeps is bound to this host and to TLS."""

from __future__ import annotations

import shutil
import ssl
import stat
import subprocess
import sys
import time
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner

from edge.page.cli import main
from edge.page.users import FILE, Role, Users
from tests.edge.stub import free_endpoint
from tests.patience import WAIT_S

PASSWORD = "a horse is no battery"
STATION = "[top]\nlive = tcp://127.0.0.1:1\nreplay = tcp://127.0.0.1:1\n"  # nobody is there: the page says so


@pytest.fixture
def stations(tmp_path: Path) -> Path:
    pytest.importorskip("starlette", reason="the page is not installed: pip install 'edge-inspect[page]'")
    (tmp_path / "page.ini").write_text(STATION)
    return tmp_path / "page.ini"


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.7", "::", "station7"])
def test_beyond_loopback_it_asks_for_a_certificate(stations: Path, host: str) -> None:
    flags = ["serve", "--stations", str(stations), "--state", str(stations.parent), "--host", host]
    done = CliRunner().invoke(main, flags)
    assert done.exit_code == 78 and "--certificate" in done.output


def test_half_a_pair_and_a_file_that_is_not_there_are_refused(stations: Path) -> None:
    flags = ["serve", "--stations", str(stations), "--state", str(stations.parent), "--certificate", str(stations)]
    assert CliRunner().invoke(main, flags).exit_code == 78
    done = CliRunner().invoke(main, [*flags, "--certificate-key", str(stations.parent / "none.key")])
    assert done.exit_code == 78 and "none.key" in done.output


def test_a_certificate_of_our_own_serves_and_its_cookie_is_bound_to_it(stations: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt install openssl")
    folder = stations.parent
    make = [sys.executable, "-m", "deploy.cli", "page-certificate", "--host", "127.0.0.1", "--out", str(folder)]
    subprocess.run(make, check=True, capture_output=True)
    assert subprocess.run(make, check=False, capture_output=True).returncode == 1  # a key is never overwritten
    assert stat.S_IMODE((folder / "page.key").stat().st_mode) == 0o600
    Users(folder / FILE).add("anna", Role.ENGINEER, PASSWORD)
    port = int(free_endpoint().rpartition(":")[2])
    pair = ["--certificate", str(folder / "page.crt"), "--certificate-key", str(folder / "page.key")]
    command = ["serve", "--stations", str(stations), "--state", str(folder), "--port", str(port), *pair]
    with subprocess.Popen([sys.executable, "-m", "edge.page.cli", *command], stderr=subprocess.DEVNULL) as page:
        try:
            cookie = logged_in(port, folder / "page.crt")
        finally:
            page.terminate()
    assert cookie.startswith("__Host-edge-page=") and "Secure" in cookie and "Path=/" in cookie


def logged_in(port: int, trusted: Path) -> str:
    """The cookie that a login is answered with."""
    context = ssl.create_default_context(cafile=str(trusted))
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://127.0.0.1:{port}"}
    until_s = time.monotonic() + WAIT_S
    while True:
        connection = HTTPSConnection("127.0.0.1", port, timeout=WAIT_S, context=context)
        try:
            connection.request("POST", "/login", urlencode({"name": "anna", "password": PASSWORD}), headers)
            return connection.getresponse().getheader("set-cookie") or ""
        except ConnectionRefusedError:
            assert time.monotonic() < until_s
            time.sleep(0.05)
        finally:
            connection.close()
