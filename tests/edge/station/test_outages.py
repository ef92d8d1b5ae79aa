"""Outages of the real thing: a network that is cut, a disk that is full, a disk that may only be read.

Network namespaces and small tmpfs disks are made here, so these tests need root (and iproute2); they skip loudly
without. `make faults` cuts the network for as long as the fault matrix says.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from edge.client import Subscription
from edge.history.journal import Journal, JournalError
from edge.wire.messages import Message
from tests.edge.history.records import write
from tests.edge.stub import ROOT, Stub, end, hear, until_state
from tests.faults import MULTIPLIER
from tests.patience import WAIT_S, wait_until

CUT_S = 30.0 if MULTIPLIER > 1 else 5.0
STATION, PLANT = "127.9.0.1", "127.9.0.2"  # loopback addresses on a real link: the daemon takes no others

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("ip", "mount", "sysctl"))),
    reason="namespaces and tmpfs disks are made for the test: run as root, and apt install iproute2 mount procps",
)


def run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=WAIT_S)


# --- row 4: the network is cut ---


class Link:
    """Two network namespaces, `station` and `plant`, joined by a cable that can be pulled."""

    def __init__(self) -> None:
        number = os.getpid() % 100_000
        self.station, self.plant = f"edge-s{number}", f"edge-p{number}"
        self._undo = ExitStack()
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            for name in (self.station, self.plant):
                run("ip", "netns", "add", name)
                self._undo.callback(run, "ip", "netns", "del", name)
            ends = ["netns", self.station, "type", "veth", "peer", "name", "cable", "netns", self.plant]
            run("ip", "link", "add", "cable", *ends)
            for name, address in ((self.station, STATION), (self.plant, PLANT)):
                # The namespace's own loopback stays down, so that these addresses are those of the cable.
                run(*self.within(name), "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
                run(*self.within(name), "ip", "address", "add", f"{address}/24", "dev", "cable")
                run(*self.within(name), "ip", "link", "set", "cable", "up")
            on_failure.pop_all()

    @staticmethod
    def within(name: str) -> list[str]:
        return ["ip", "netns", "exec", name]

    def pull(self) -> None:
        run(*self.within(self.station), "ip", "link", "set", "cable", "down")

    def plug(self) -> None:
        run(*self.within(self.station), "ip", "link", "set", "cable", "up")

    def close(self) -> None:
        self._undo.close()


CONSUMER = """
import sys, time
from edge.client import Consumer
name, host = sys.argv[1:]
with Consumer(name, live=f"tcp://{host}:5556", replay=f"tcp://{host}:5557", answer_timeout_s=1.0) as consumer:
    was_lagging = None
    while True:
        message = consumer.receive(0.2)
        if consumer.is_lagging is not was_lagging:
            was_lagging = consumer.is_lagging
            print("lagging" if was_lagging else "current", time.monotonic(), flush=True)
        if message is not None:
            print("record", message.seq, message.body["result_id"], flush=True)
"""


@contextmanager
def consumers(link: Link, folder: Path, names: tuple[str, ...]) -> Iterator[dict[str, Path]]:
    """Consumers in the plant's namespace; the files that they write."""
    started: list[subprocess.Popen[bytes]] = []
    files = {name: folder / name for name in names}
    try:
        for name, path in files.items():
            command = [*link.within(link.plant), sys.executable, "-c", CONSUMER, name, STATION]
            with path.open("wb") as file:
                started.append(subprocess.Popen(command, cwd=ROOT, stdout=file))
        yield files
    finally:
        for process in started:
            process.kill()
            process.wait(WAIT_S)


def said(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def records_of(path: Path) -> list[int]:
    return [int(words[1]) for words in said(path) if words[0] == "record"]


def is_current(path: Path) -> bool:
    states = [words[0] for words in said(path) if words[0] != "record"]
    return bool(states) and states[-1] == "current" and len(records_of(path)) > 20


def test_a_cut_network_is_noticed_by_every_consumer_and_every_hole_is_filled(tmp_path: Path) -> None:
    stub = Stub(tmp_path, pause_s=0.02)
    stub.settings |= {"publish": f"tcp://{STATION}:5556", "replay": f"tcp://{STATION}:5557"}
    with closing(Link()) as link:
        station = stub.start(link.within(link.station))
        try:
            with consumers(link, tmp_path, ("mes", "audit", "screen")) as files:
                wait_until(lambda: all(map(is_current, files.values())), "nobody hears the station")
                link.pull()
                cut_s = time.monotonic()
                before = {name: len(records_of(path)) for name, path in files.items()}
                time.sleep(CUT_S)
                link.plug()
                for name, path in files.items():
                    lagging_s = [float(w[1]) for w in said(path) if w[0] == "lagging" and float(w[1]) > cut_s]
                    assert lagging_s, f"{name} did not notice"
                    if MULTIPLIER > 1:  # `make faults` judges the seconds
                        assert lagging_s[0] - cut_s <= 3.0 + 1.0, f"{name} noticed late: {lagging_s}"
                missed = round(CUT_S / 0.04)  # parts that passed meanwhile, half of what the pause allows for
                wait_until(
                    lambda: all(
                        is_current(path) and len(records_of(path)) > before[name] + missed // 4
                        for name, path in files.items()
                    ),
                    "the hole was not filled",
                )
            for path in files.values():
                numbers = records_of(path)
                assert numbers == list(range(1, len(numbers) + 1)), "in order, none twice, none left out"
        finally:
            code, log = end(station, signal.SIGTERM)
        assert code == 0, log


# --- rows 6 and 7: the disk ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64m", "none", folder)
    yield folder
    run("umount", "-l", folder)


def test_a_full_disk_costs_verdicts_that_are_all_accounted_for_and_nothing_else(
    tmp_path: Path, small_disk: Path
) -> None:
    """Row 6: the journal on 64 MiB, most of which something else has taken."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(63 << 20))
    stub = Stub(tmp_path, pause_s=0.002)
    stub.journal = small_disk / "journal.db"
    stub.settings["journal"] = str(stub.journal)
    with Subscription(stub.live) as feed:
        station = stub.start()
        assert until_state(feed, "critical").body["undecided"] > 0
        filler.unlink()
        until_state(feed, "running")
        hear(feed, {}, 20)
        code, log = end(station, signal.SIGTERM)
    assert code == 0, log
    stopped = json.loads(log.splitlines()[-1])
    with closing(Journal(stub.journal)) as journal:
        bodies = [json.loads(row.body) for row in journal.read(0, 100_000)]
        assert journal.birth.previous_end == "clean"
    assert [body["seq"] for body in bodies] == list(range(1, len(bodies) + 1))
    told = [body["image"]["frame_id"] for body in bodies if body["kind"] == "result"]
    gaps = [body["gap"] for body in bodies if body["kind"] == "gap"]
    assert gaps and {gap["cause"] for gap in gaps} <= {"not_journaled", "queue_full"}
    told += [frame for gap in gaps for frame in range(gap["first_frame_id"], gap["last_frame_id"] + 1)]
    assert sorted(told) == list(range(1, stopped["captured"] + 1)), "every part once: decided, or in a gap"


def test_a_log_that_fills_the_disk_by_itself_keeps_it_from_starting_until_there_is_room(
    tmp_path: Path, small_disk: Path
) -> None:
    """Rows 6 and 34: a log must grow the database to become shorter, and there is no room for that either."""
    stub = Stub(tmp_path, pause_s=0.01)
    stub.journal = small_disk / "journal.db"
    stub.settings |= {"journal": str(stub.journal), "journal_min_age_h": 1000.0}  # the disk is always nearly full
    run("mount", "-o", "remount,size=3m", small_disk)
    journal, kept = Journal(stub.journal), list[str]()
    with suppress(JournalError):
        while len(kept) < 100_000:
            kept += write(journal, 1)
    assert 0 < len(kept) < 100_000, "it filled up"
    with suppress(JournalError):
        journal.close()
    with suppress(OSError), (small_disk / "rest").open("wb", buffering=0) as rest:
        while True:
            rest.write(bytes(1024))
    station = stub.start()
    _, log = station.communicate(timeout=WAIT_S)
    assert station.returncode == 75 and "--journal" in log and "free space" in log
    run("mount", "-o", "remount,size=64m", small_disk)
    again = run_for_a_while(stub)
    assert [one.body["result_id"] for one in again[: len(kept)]] == kept


def test_on_a_disk_that_may_only_be_read_it_refuses_and_later_goes_on(tmp_path: Path, small_disk: Path) -> None:
    """Rows 7 and 34: exit code 75, which systemd tries again."""
    stub = Stub(tmp_path, pause_s=0.01)
    stub.journal = small_disk / "journal.db"
    stub.settings["journal"] = str(stub.journal)
    first = run_for_a_while(stub)
    run("mount", "-o", "remount,ro", small_disk)
    station = stub.start()
    _, log = station.communicate(timeout=WAIT_S)
    assert station.returncode == 75 and "--journal" in log and "ead-only" in log
    run("mount", "-o", "remount,rw", small_disk)
    again = run_for_a_while(stub)
    assert [one.body["result_id"] for one in again[: len(first)]] == [one.body["result_id"] for one in first]


def run_for_a_while(stub: Stub) -> list[Message]:
    with Subscription(stub.live) as feed:
        station = stub.start()
        hear(feed, {}, 10)
        history = stub.history()
        assert end(station, signal.SIGTERM)[0] == 0
        return history
