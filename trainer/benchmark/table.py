"""The outcomes as a table for a terminal and as JSON: rows, means, and what the targets ask of all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from trainer.benchmark.outcome import Outcome, outcome_to_json

Value = Callable[[Outcome], float | None]
FIGURES: dict[str, Value] = {
    "AUROC": lambda one: one.image_auroc,
    "PB2": lambda one: one.pb2,
    "PG2": lambda one: one.pg2,
    "PRO": lambda one: one.pro,
    "PRO 5 %": lambda one: one.pro_at_5,
    "AUPIMO": lambda one: one.aupimo,
    "regret": lambda one: one.regret_auroc,
    "r. PB2": lambda one: one.regret_pb2,
    "fit s": lambda one: one.fit_s,
    "GMAC": lambda one: one.gmac,
    "ms": lambda one: one.ms,
}
DECIMALS = {"fit s": 0, "GMAC": 2, "ms": 1}
Failures = Mapping[str, str]


def text_table(outcomes: Sequence[Outcome], failures: Failures) -> str:
    """Two tables, of figures and of what the shipped threshold did; then what holds over all, and what failed."""
    width = max([12, *(len(one.material) + 3 for one in outcomes)])
    lines = ["".join([f"{'material, seed':<{width}}", *(f"{name:>9}" for name in FIGURES)])]
    lines += [_row(f"{one.material} {one.seed}", [one], width) for one in outcomes]
    lines += [
        _row("mean", outcomes, width),
        "",
        f"{'at the shipped threshold':<{width + 14}}{'found':>14}{'rejected':>12}",
    ]
    lines[-1] += f"{'promised':>10}{'kept':>6}{'expected':>10}{'found':>8}   advice"
    lines += [_decided(one, width + 14) for one in outcomes]
    lines += ["", f"{'reference':<{width + 24}}{'AUROC':>9}{'PB2':>9}"]
    for name in dict.fromkeys(name for one in outcomes for name in one.references):
        pairs = [one.references[name] for one in outcomes if name in one.references]
        lines.append(f"{name:<{width + 24}}{_text(mean(p[0] for p in pairs)):>9}{_text(mean(p[1] for p in pairs)):>9}")
    lines += ["", *summary(outcomes)]
    lines += [f"note   {one.material} {one.seed}: {note}" for one in outcomes for note in one.notes]
    lines += [f"FAILED {name}: {why}" for name, why in failures.items()]
    return "\n".join(lines)


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """What holds over all rows, a line each."""
    regrets = {
        "image AUROC": [one.regret_auroc for one in outcomes if one.regret_auroc is not None],
        "PB2": [one.regret_pb2 for one in outcomes if one.regret_pb2 is not None],
    }
    kept = sum(not one.is_contradicted for one in outcomes)
    near = [one.is_estimate_near for one in outcomes if one.is_estimate_near is not None]
    shares = [one.real / one.pb2 for one in outcomes if one.pb2]
    return [
        *(
            f"regret, {name}: mean {_text(mean(lost))}, worst {_text(max(lost, default=None))}"
            for name, lost in regrets.items()
        ),
        f"found at the shipped threshold, of PB2: {_text(mean(shares))}",
        f"promise not contradicted in {kept} of {len(outcomes)}",
        f"estimate within 15 points of the truth in {sum(near)} of {len(near)}",
        f'"use it" where under half is found: {sum(one.is_ill_advised for one in outcomes)}',
    ]


def json_table(outcomes: Sequence[Outcome], failures: Failures) -> str:
    """All rows, the means, the summary and the failures."""
    means = {name: mean(value(one) for one in outcomes) for name, value in FIGURES.items()}
    body = {"rows": [outcome_to_json(one) for one in outcomes], "means": means, "summary": summary(outcomes)}
    return json.dumps({**body, "failures": dict(failures)}, indent=1, allow_nan=False) + "\n"


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _row(name: str, group: Sequence[Outcome], width: int) -> str:
    cells = [f"{_text(mean(value(one) for one in group), DECIMALS.get(key, 3)):>9}" for key, value in FIGURES.items()]
    return f"{name:<{width}}{''.join(cells)}"


def _decided(one: Outcome, width: int) -> str:
    return (
        f"{f'{one.material} {one.seed}':<{width}}{f'{one.found} of {one.bad}':>14}{f'{one.rejected} of {one.good}':>12}"
        f"{one.promised:>10.1%}{'no' if one.is_contradicted else 'yes':>6}{_percent(one.expected):>10}{one.real:>8.0%}"
        f"   {one.advice}"
    )


def _text(value: float | None, decimals: int = 3) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
