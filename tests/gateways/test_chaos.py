"""That the fault matrix' row `modbus` can fail: one wrong word among all that a PLC said, and it is found."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from tests.gateways.chaos import ENOUGH, KINDS, held
from tests.gateways.plant import THRESHOLD, Outcome, outcome_of
from tests.pairing.line import code_of

NAMES = [f"P{number:05d}" for number in range(ENOUGH)]
GOOD = next(number for number in range(ENOUGH) if code_of(number) < THRESHOLD)
BLACK = next(number for number in range(ENOUGH) if code_of(number) >= THRESHOLD)


def said(number: int, **changes: Any) -> dict[str, Any]:
    verdict = "pass" if code_of(number) < THRESHOLD else "fail"
    return {"part": NAMES[number], "verdict": verdict, "score": float(code_of(number)), **changes}


def told(answers: list[dict[str, Any]], **changes: Any) -> Outcome:
    every = {name: 1 for name, _ in KINDS}
    facts = {"answers": answers, "unsound": 0, "wrong_echoes": 0, "faults": Counter(every), **changes}
    return outcome_of(NAMES, SimpleNamespace(**facts))  # type: ignore[arg-type]


RIGHT = [said(number) for number in range(ENOUGH)]


def test_a_line_on_which_all_is_right_has_held() -> None:
    assert held(told(RIGHT), ENOUGH, has_faults=True) and held(told(RIGHT), ENOUGH, has_faults=False)


@pytest.mark.parametrize(
    "outcome",
    [
        told([*RIGHT[:BLACK], said(BLACK, verdict="pass"), *RIGHT[BLACK + 1 :]]),
        told([*RIGHT[:GOOD], said(GOOD, score=float(code_of(GOOD + 1))), *RIGHT[GOOD + 1 :]]),
        told(RIGHT, unsound=1),
        told(RIGHT, wrong_echoes=1),
        told([*RIGHT, said(GOOD)]),
        told([]),
        told(RIGHT[: ENOUGH // 2]),
        told(RIGHT, faults=Counter({name: 1 for name, _ in KINDS[1:]})),
    ],
    ids=["a black part passes", "another part's picture", "two bits at once", "another part's name", "told twice",
         "nothing is judged", "it died on the way", "a fault that never came"],
)  # fmt: skip
def test_one_wrong_word_is_found(outcome: Outcome) -> None:
    assert not held(outcome, ENOUGH, has_faults=True)


def test_a_line_without_faults_must_judge_nearly_all() -> None:
    undecided = [said(number, verdict="undecided") if number % 50 == 0 else said(number) for number in range(ENOUGH)]
    assert not held(told(undecided), ENOUGH, has_faults=False)
