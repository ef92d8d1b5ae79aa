"""The rows: each measures one promise of the fault matrix on as many samples as it names.

Most are tests of the suite with their samples multiplied; the others need figures that a test has no business to judge.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from deploy.bench.wire import delivery_ms, replay_rates, sync_ms
from edge.history.journal import Journal
from tests.edge.history.disks import after_power_cut
from tests.edge.history.records import ids_of
from tests.edge.history.test_journal import recorded_run
from tests.edge.line.simulated import figures
from tests.edge.station.challenge_runs import runs
from tests.edge.station.test_camera_outage import pull_and_plug
from tests.faults.pictures import pictures
from tests.faults.soak import soak
from tests.gateways.bench import registers_row
from tests.gateways.chaos import all_plans
from tests.gateways.test_watching import silence_until_alarm
from tests.page import figures as page
from tests.page import looking
from tests.pairing.matrix import all_lines

Figures = dict[str, Any]
HOURS_S = 4 * 3600
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Row:
    """`measure(folder, share)`: whether the promise held on this share of the samples, and the figures."""

    name: str
    promise: str
    measure: Callable[[Path, float], tuple[bool, Figures]]


def multiplied(
    tests: str, only: str, multiplier: int, what: str, each: int, folder: Path, share: float
) -> tuple[bool, Figures]:
    """Tests of the suite, their samples multiplied; `each` of `what` for each multiple."""
    multiplier = max(1, round(multiplier * share))
    command = [sys.executable, "-m", "pytest", tests, "-k", only, "-x", "-q", f"--basetemp={folder / 'tests'}"]
    command += ["-p", "no:cacheprovider", "-o", f"faulthandler_timeout={HOURS_S}"]
    environment = {**os.environ, "EDGE_FAULTS": str(multiplier)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout.strip().splitlines()
    return done.returncode == 0, {what: each * multiplier, "pytest": said[-1] if said else "said nothing"}


def network_cut(folder: Path, share: float) -> tuple[bool, Figures]:
    """The whole of it, whatever the share: a tenth of a cut is none."""
    passed, figures = multiplied(OUTAGES, "cut_network", 2, "cut, s", 15, folder, 1.0)
    return passed, {"consumers": 3, **figures}


def power_cuts(folder: Path, share: float) -> tuple[bool, Figures]:
    """400 cuts at random places of a recorded run, with what ships and with the control."""
    cuts = round(400 * share)
    rng = np.random.default_rng(2)
    lost: dict[str, int] = {}
    for synchronous in ("FULL", "NORMAL"):
        own = folder / synchronous
        own.mkdir()
        disk, acknowledged = recorded_run(own, synchronous)
        lost[synchronous] = 0
        for number in range(cuts):
            cut = int(rng.integers(acknowledged[0][0], len(disk.operations)))
            image = own / f"cut{number}"
            after_power_cut(disk.operations[:cut], image, seed=number)
            promised = max((ids for count, ids in acknowledged if count <= cut), key=len)
            with closing(Journal(image / "journal.db")) as journal:
                kept = set(ids_of(journal))
            lost[synchronous] += any(one not in kept for one in promised)
    figures = {"cuts": cuts, "lost with FULL": lost["FULL"], "lost with NORMAL, the control": lost["NORMAL"]}
    return lost["FULL"] == 0 and lost["NORMAL"] > 0, figures


@contextmanager
def stuck(live: str, replay: str) -> Iterator[None]:
    """A subscriber that never reads, and a consumer that asks for history and never takes it."""
    with zmq.Context() as context, context.socket(zmq.SUB) as deaf, context.socket(zmq.DEALER) as greedy:
        for socket in (deaf, greedy):
            socket.set(zmq.RCVHWM, 1)
            socket.set(zmq.LINGER, 0)
        deaf.subscribe(b"")
        deaf.connect(live)
        greedy.connect(replay)
        greedy.send_multipart([b"HELLO", b"1", b'{"consumer": "stuck"}'])
        for _ in range(900):
            greedy.send_multipart([b"FETCH", b"2", b'{"after": 0, "max_messages": 1000}'])
        yield


def stuck_consumer(folder: Path, share: float) -> tuple[bool, Figures]:
    """In turn without and with it, 500 parts each; the others' latency as medians over three rounds."""
    times: dict[str, list[list[float]]] = {"without": [], "with": []}
    for number in range(3):
        for name, beside in (("without", {}), ("with", {"beside": stuck})):
            own = folder / f"{name}{number}"
            own.mkdir()
            times[name].append(delivery_ms(own, round(500 * share), 50.0, **beside))  # type: ignore[arg-type]
    p50, p99 = (
        {name: float(np.median([np.percentile(one, p) for one in several])) for name, several in times.items()}
        for p in (50, 99)
    )
    figures = {f"p{p} {name}, ms": round(by[name], 1) for p, by in ((50, p50), (99, p99)) for name in by}
    ratio = p99["with"] / p99["without"]
    return ratio < 2, {**figures, "p99 ratio": round(ratio, 2)}


def journal_latency(folder: Path, share: float) -> tuple[bool, Figures]:
    """2,000 verdicts from in hand to committed and received, beside the bare sync of the same disk."""
    parts = round(2000 * share)
    times = {"verdict to consumer": delivery_ms(folder, parts, 50.0), "bare sync": sync_ms(folder, parts)}
    found = {f"{name} p{p}, ms": float(np.percentile(ms, p)) for name, ms in times.items() for p in (50, 99)}
    return found["verdict to consumer p99, ms"] <= 10, {name: round(value, 2) for name, value in found.items()}


def million(folder: Path, share: float) -> tuple[bool, Figures]:
    """A journal of a million records, read again."""
    records = round(1_000_000 * share)
    found = replay_rates(folder, records)
    held = found["first record, ms"] <= 50 and found["raw reader, records/s"] >= 20_000
    return held, {"records": records, **{name: round(value) for name, value in found.items()}}


def camera(folder: Path, share: float) -> tuple[bool, Figures]:
    """The fake GigE Vision camera killed and started again, 50 times; the limits are the test's own."""
    times = round(50 * share)
    lost_s, back_s, promised, told = pull_and_plug(folder, times)
    figures: Figures = {"times": times, "lost told after, s": f"{np.median(lost_s):.1f}, at most {max(lost_s):.1f}"}
    figures["streaming again after, s"] = f"{np.median(back_s):.1f}, at most {max(back_s):.1f}"
    figures["parts without a camera that were OK"] = sum(told.get(part) == 1 != promised[part] for part in promised)
    return told == promised, figures


def drift(folder: Path, share: float) -> tuple[bool, Figures]:
    """Each cause at 4 and 8 deviations with 20 seeds, and 300 clean runs of 2,000 blocks, half of them AR(1) .5."""
    return figures(share)


def silent(folder: Path, share: float) -> tuple[bool, Figures]:
    """20 stations killed in turn, from the kill to the webhook behind Prometheus and Alertmanager."""
    times = max(1, round(20 * share))
    seconds = []
    for number in range(times):
        own = folder / str(number)
        own.mkdir()
        seconds.append(silence_until_alarm(own, 60.0))
    found = {"times": times, "median, s": round(float(np.median(seconds)), 1), "at most, s": round(max(seconds), 1)}
    return max(seconds) <= 20, found


def challenges(folder: Path, share: float) -> tuple[bool, Figures]:
    """500 challenges of one station, two in three with a fault drawn by chance."""
    oracle = runs(folder, round(500 * share), seed=21)
    faultless, passed = oracle.runs["none"], oracle.passed["none"]
    figures: Figures = {"runs": oracle.runs.total(), "kinds of fault": len(oracle.runs) - 1}
    figures |= {"passed wrongly": oracle.wrongly_passed, "pieces let through": oracle.pieces_ok}
    figures["without a fault, passed"] = f"{passed} of {faultless}"
    return oracle.wrongly_passed == oracle.pieces_ok == 0 and passed >= 0.99 * faultless > 0, figures


FAULTS, OUTAGES = "tests/edge/station/test_faults.py", "tests/edge/station/test_outages.py"
JOURNAL, REFUSALS = "tests/edge/history/test_journal.py", "tests/edge/station/test_refusals.py"
ROWS = (
    Row("latency", "committed and received within 10 ms (p99) of the verdict", journal_latency),
    Row("million", "1,000,000 records: the first within 50 ms, 20,000 a second", million),
    Row("stuck", "a stuck consumer does not double the others' p99", stuck_consumer),
    Row("power", "no acknowledged record is lost in a power cut; the control does lose", power_cuts),
    Row(
        "disk",
        "whatever operation of the disk fails, nothing acknowledged is lost",
        partial(multiplied, JOURNAL, "whatever_operation", 40, "operations of a run, at most", 25),
    ),
    Row(
        "end",
        "a flipped bit or a cut in the write-ahead log is told, and no number stands for two records",
        partial(multiplied, "tests/edge/history/test_witness.py", "flipped_bit", 30, "damaged logs", 30),
    ),
    Row(
        "salvage",
        "killed again and again in a salvage, the next start finishes it, and all that is lost is told",
        partial(multiplied, "tests/attacks/test_killed_in_salvage.py", "salvage_that_is_killed", 20, "kills", 4),
    ),
    Row(
        "moved",
        "a journal that is deleted, moved or replaced is noticed, and nothing is written to nowhere",
        partial(multiplied, "tests/edge/history/test_witness.py", "gone_from_its_place", 10, "journals gone", 4),
    ),
    Row(
        "starts",
        "whatever operation of the disk a start fails at, it passes by itself, and a later start goes on",
        partial(
            multiplied, "tests/edge/station/test_refusals.py", "whatever_operation_of_a_start", 5, "each of, starts", 8
        ),
    ),
    Row(
        "clocks",
        "a wall clock that jumps by 50 days to 17 years drops nothing young and keeps nothing old",
        partial(multiplied, "tests/edge/history/test_clock.py", "wall_clock_that_jumps", 30, "jumps, and one", 1),
    ),
    Row(
        "behind",
        "who is far behind retention gets a gap for each hole, however often those that said so are dropped",
        partial(multiplied, "tests/edge/history/test_stores.py", "who_is_behind", 10, "times it dropped", 24),
    ),
    Row(
        "commands",
        "killed among commands: none is carried out without a trace, and none has two",
        partial(multiplied, "tests/attacks/test_killed_among_commands.py", "killed_among_commands", 20, "kills", 3),
    ),
    Row("cut", "three consumers notice a cut of 30 s within 4 s, and get every record", network_cut),
    Row("soak", "200,000 frames with faults: memory and descriptors flat, counts balance", soak),
    Row(
        "fuzz",
        "whatever comes in is answered or refused, and nothing invalid accepted",
        partial(multiplied, "tests/edge/sockets/test_fuzz.py", "", 50, "inputs", 20_000),
    ),
    Row(
        "kills",
        "killed at any moment, nothing announced or acknowledged is lost",
        partial(multiplied, FAULTS, "killed_at_any_moment", 20, "kills", 10),
    ),
    Row("camera", "a camera that is pulled is told lost within 2 s, is back within 5 s, and no part is OK", camera),
    Row(
        "modbus",
        "10,000 triggers of two PLCs, with and without faults: no Pass for a black part, no other part's verdict",
        all_plans,
    ),
    Row(
        "registers", "a record is in the registers within 10 ms (p99); over 100,000 parts memory is flat", registers_row
    ),
    Row("pairing", "on 33 lines no part is judged by another's picture, and 99 % are where the bound holds", all_lines),
    Row("pictures", "no faulty picture is OK, and of 1,000 healthy ones at most 2 give a false alarm", pictures),
    Row(
        "bundles",
        "no malformed or hostile bundle is accepted, and none crashes the reader",
        partial(multiplied, "tests/edge/security/test_trust.py", "hostile", 100, "inputs", 2000),
    ),
    Row(
        "floods",
        "floods of connections and subscriptions: the station lives, serves whom it served, takes <= 32 MiB more",
        partial(multiplied, "tests/edge/sockets/test_floods.py", "", 10, "seconds of each flood", 4),
    ),
    Row(
        "ids",
        "part ids that differ stay different on the wire and as names of files",
        partial(multiplied, "tests/edge/core/test_ids.py", "", 100, "sets of ids", 200),
    ),
    Row("drift", "a drift has its right name in 95 % and within 8 blocks; clean lines drift in 1 % at most", drift),
    Row("silent", "a station that falls silent is at Alertmanager's webhook within 20 s", silent),
    Row("challenge", "no challenge passes wrongly, no piece is let through, 99 % without a fault pass", challenges),
    Row(
        "links",
        "no picture is written, read or removed through a link that somebody planted",
        partial(multiplied, "tests/edge/pictures/test_planted_links.py", "", 25, "pictures", 8),
    ),
    Row("page-kills", "the page killed 100 times over 5,000 parts: each part once in its read model", page.kills),
    Row(
        "page-model", "1,000,000 parts: read at 3,000 records/s, each screen within 300 ms, counted right", page.million
    ),
    Row("page-live", "10 parts a second in 5 tabs: record to document within 250 ms (p95), 128 MiB", page.browsers),
    Row("page-review", "one key a part in Review, the next picture painted within 300 ms (p95)", looking.review),
    Row("page-cost", "the page and 5 readers of its events cost the daemon 5 % of processor time a part", page.beside),
)
