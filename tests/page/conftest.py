"""What the page's tests share: the page from an installed wheel, beside a real station, with a browser before it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.edge.stub import free_endpoint
from tests.patience import WAIT_S

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a horse is no battery"
USERS = {"vera": "viewer", "otto": "operator", "theo": "technician", "anna": "engineer"}


@dataclass
class Served:
    """A page that runs: its folder, its port, and the station's endpoints. `start` and `kill` it as often as needed."""

    folder: Path
    wheel: Path
    live: str
    replay: str
    control: str
    port: int
    process: subprocess.Popen[bytes] | None = None
    cookies: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """Start it, and wait for nothing."""
        arguments = ["serve", "--stations", str(self.folder / "page.ini"), "--state", str(self.folder)]
        with (self.folder / "page.log").open("ab") as log:
            self.process = self._run(*arguments, "--port", str(self.port), stderr=log)

    def start(self) -> None:
        """Returns once it answers."""
        self.begin()
        assert self.process is not None
        until_s = time.monotonic() + WAIT_S
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < until_s, (self.folder / "page.log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """As `kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def command(self, *arguments: str, given: str = "") -> None:
        """`edge-page` with these arguments."""
        process = self._run(*arguments, stdin=subprocess.PIPE)
        process.communicate(given.encode())
        assert process.returncode == 0

    def add_users(self, roles: Mapping[str, str] | None = None) -> None:
        """One of each role, or those that are named; all with the same password."""
        for name, role in (USERS if roles is None else roles).items():
            self.command("user", "add", name, "--role", role, "--password-stdin", given=f"{PASSWORD}\n")

    def ask(self, method: str, path: str, user: str | None = None, **form: str) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers, as a browser of our own pages would ask; logs `user` in first."""
        headers = {"Cookie": self.login(user)} if user else {}
        if method == "POST":
            token = self._token(headers) if user else ""
            form = {"csrf": token, **form}
            headers |= {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        return self.raw(method, path, headers, urlencode(form) if method == "POST" else None)

    def raw(
        self, method: str, path: str, headers: dict[str, str], body: str | None = None
    ) -> tuple[int, str, dict[str, str]]:
        """One request, as it is given."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        connection.request(method, path, body, {**kind, **headers})
        answer = connection.getresponse()
        content = answer.read().decode("utf-8", "replace")
        connection.close()
        return answer.status, content, {name.lower(): value for name, value in answer.getheaders()}

    def login(self, user: str) -> str:
        """The cookie of this user's session."""
        if user not in self.cookies:
            status, body, headers = self.ask("POST", "/login", name=user, password=PASSWORD)
            assert status == 303, body
            self.cookies[user] = headers["set-cookie"].partition(";")[0]
        return self.cookies[user]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def _token(self, headers: dict[str, str]) -> str:
        return self.raw("GET", "/account", headers)[1].partition('name="csrf" value="')[2][:64]

    def _answers(self) -> bool:
        try:
            return self.raw("GET", "/login", {})[0] == 200
        except OSError:
            return False

    def _run(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        program = f"import sys; sys.path.insert(0, {str(self.wheel)!r}); from edge.page.cli import main; main()"
        state = ["--state", str(self.folder)] if arguments[0] == "user" else []
        command = [sys.executable, "-P" if sys.version_info >= (3, 11) else "-B", "-c", program, *arguments, *state]
        return subprocess.Popen(command, cwd=self.folder, **options)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the project's wheel is unpacked, as pip would: what a device has, and no checkout."""
    pytest.importorskip("starlette", reason="the page is not installed: pip install 'edge-inspect[page]'")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("edge", "trainer", "deploy"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    built = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([*pip, *built], check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(found)], check=True)
    return folder / "site"


@pytest.fixture(scope="session")
def page(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page with a user of each role, and a station that inspects the demo's line and keeps evidence."""
    folder = tmp_path_factory.mktemp("page")
    live, replay, control, own = (free_endpoint() for _ in range(4))
    served = Served(folder, wheel, live, replay, control, int(own.rpartition(":")[2]))
    bundle = ROOT / "edge" / "demo" / "machined.bundle"
    (folder / "page.ini").write_text(
        f"[top]\nlive = {live}\nreplay = {replay}\ncontrol = {control}\nevidence = {folder / 'evidence'}\n"
        f"bundle = {bundle}\n"
    )
    served.add_users()
    table = folder / "recipes.json"
    subprocess.run([sys.executable, "-m", "deploy.cli", "recipes", str(table), f"7={bundle}"], cwd=ROOT, check=True)
    station = [
        sys.executable, "-m", "edge.commands.edge_inspect", "--source", "demo:machined?parts=0&rate=2", "--bundle",
        str(bundle), "--journal", str(folder / "journal.db"), "--evidence", str(folder / "evidence"),
        "--evidence-good-share", "0.5", "--publish", live, "--replay", replay, "--control", control, "--threads", "1",
        "--recipes", str(table),
    ]  # fmt: skip
    with (folder / "station.log").open("wb") as log:
        running = subprocess.Popen(station, cwd=ROOT, stderr=log)
        try:
            served.start()
            until_s = time.monotonic() + WAIT_S
            while "/s/top/evidence/" not in served.ask("GET", "/s/top/review?reason=rejected", "vera")[1]:
                assert time.monotonic() < until_s and running.poll() is None, (folder / "station.log").read_text()
                time.sleep(0.1)
            yield served
        finally:
            for process in (served.process, running):
                if process is not None and process.poll() is None:
                    process.terminate()
                    process.wait()
