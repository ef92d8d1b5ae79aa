"""The lines of which it is promised that no part ever gets another part's picture, and how many are judged.

`python -m tests.faults pairing` runs all of them, on 2,000 parts each; the suite samples some in `test_lines`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.pairing.line import Options, Outcome, run

JUDGED = 0.99  # wherever the declared bound is true and one inspection is shorter than the period
AT_ONCE = 4
JITTER = 0.01
BUSY = 30  # processes beside a line, of which each would take a core


def lines(parts: int) -> Iterator[tuple[str, Options, float]]:
    """Each line's name, what it is, and the share of its parts that must be judged."""
    for latency in (0.0, 0.05, 0.2, 1.0):
        declared = f"{max(0, 1000 * latency - 25):g}-{1000 * latency + 45:g}"
        for period, window in ((0.12, 110.0), (0.2, 190.0), (0.5, 480.0)):
            options = Options(
                parts,
                period=period,
                window=window,
                latency=latency,
                jitter=JITTER,
                declared=declared,
                fps=60,
                dated=True,
            )
            yield f"latency {latency:g} s, period {period:g} s", options, JUDGED
    seen = {"latency": 0.05, "jitter": JITTER, "declared": "25-95"}
    yield "lead of half a period", Options(parts, period=0.3, lead=0.15, window=140.0, dated=True, **seen), JUDGED
    yield "the first frames lost", Options(parts, cuts={0}, **seen), 0.9
    for times in (1, 2, 4):
        yield f"overload × {times}", Options(parts, inference=0.2 * times * 1.05, **seen), 0.0
    yield "SIGSTOP of the daemon", Options(parts, stop_daemon=0.7, **seen), 0.5
    yield "SIGSTOP of the client", Options(parts, stop_client=0.7, dated=True, **seen), 0.5
    yield "camera cuts", Options(parts, cuts=set(range(50, parts, 100)), **seen), 0.5
    stepped = Options(parts, latency=0.05, declared="0-100", step=(parts // 2, 0.4))
    yield "a latency that steps from .05 to .4 s, .1 declared", stepped, 0.45
    yield "a camera that says when it exposed", Options(parts, gige="clock", latency=0.05, jitter=JITTER), JUDGED
    yield "a camera that says so, overload × 2", Options(parts, gige="clock", inference=0.42), 0.0
    yield "a camera that says so, SIGSTOP of the daemon", Options(parts, gige="clock", stop_daemon=0.7), 0.5
    yield "a camera that exposes for each trigger", Options(parts, gige="release", latency=0.02), JUDGED
    yield "a camera that does so, SIGSTOP of the daemon", Options(parts, gige="release", stop_daemon=0.7), 0.3
    hardware = {"hardware": True, "period": 0.3, "pulse": 0.08, "window": 160.0, "latency": 0.02, "declared": "0-60"}
    yield "hardware", Options(parts, **hardware), JUDGED
    strays = set(range(100, parts, 200))
    yield "hardware, frames lost", Options(parts, lose=strays, **hardware), 0.9
    yield "hardware, stray frames", Options(parts, extra=strays, **hardware), 0.9
    yield "hardware, triggers 0 to 1.5 periods late", Options(parts, late=0.45, **hardware), 0.0
    slow = {"latency": 0.2, "jitter": JITTER, "declared": "175-245", "busy": BUSY}
    yield "a busy machine", Options(parts // 2, window=190.0, dated=True, **slow), 0.3
    yield "a busy machine, lead", Options(parts // 2, period=0.3, lead=0.15, window=140.0, dated=True, **slow), 0.3
    yield "a busy machine, triggers without a date", Options(parts // 2, period=0.4, window=200.0, **slow), 0.3


def all_lines(folder: Path, share: float) -> tuple[bool, dict[str, Any]]:
    """Whether every line kept what is promised; the figures of those that came nearest to not."""
    every = list(lines(max(40, round(2000 * share))))
    outcomes: dict[str, Outcome] = {}

    def pass_by(at_once: int, wanted: Callable[[Options], bool]) -> None:
        group = [(folder / f"line{number}", one) for number, (_, one, _) in enumerate(every) if wanted(one)]
        with ThreadPoolExecutor(at_once) as pool:
            runs = list(pool.map(lambda one: run(*one), group))
        outcomes.update(zip((name for name, one, _ in every if wanted(one)), runs, strict=True))

    with ThreadPoolExecutor(2) as lanes:  # there is one GigE camera
        beside = lanes.submit(pass_by, 1, lambda one: bool(one.gige))
        lanes.submit(pass_by, AT_ONCE, lambda one: not one.gige and not one.busy).result()
        beside.result()
    pass_by(1, lambda one: one.busy > 0)  # they use all of the machine
    broken = [name for name, _, wanted in every if not _keeps(outcomes[name], wanted)]
    fully = [outcomes[name].share for name, _, wanted in every if wanted == JUDGED]
    every_one = outcomes.values()
    figures: dict[str, Any] = {
        "lines": len(every),
        "parts": sum(one.parts for one in every_one),
        "judged by another part's picture": sum(len(one.wrong) for one in every_one),
        "of these, where this machine itself was late": sum(len(one.untimely & {*one.wrong}) for one in every_one),
        "told OK so": sum(len(one.wrong_ok) for one in every_one),
        "judged where the bound is true, at least": f"{min(fully):.3f}",
        "on a busy machine, at least": f"{min(outcomes[name].share for name, one, _ in every if one.busy):.3f}",
    }
    return not broken, figures | ({"broken": "; ".join(broken)} if broken else {})


def _keeps(outcome: Outcome, wanted: float) -> bool:
    return not outcome.wrong and outcome.share >= wanted
