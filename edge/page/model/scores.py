"""What Sensitivity asks of the read model: scores counted, and those few parts that a threshold decides, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from edge.page.model.questions import Questions
from edge.page.model.rows import PIECE
from edge.page.model.schema import EPOCH_BITS, STATION_BITS

_SEQ = (1 << EPOCH_BITS) - 1


class Scored(NamedTuple):
    """A part with a score. number: of its record, seq within it; label: what people said of it."""

    number: int
    result_id: str
    evaluation: int
    score: float
    label: str | None


def seq_of(number: int) -> int:
    """Of a record, within its epoch."""
    return number & _SEQ


def steps(questions: Questions, station: int, recipe: int) -> dict[tuple[int, int], int]:
    """Parts by step and evaluation."""
    rows = questions.connection.execute(
        "SELECT step, evaluation, parts FROM scores WHERE station = ? AND recipe = ? AND parts > 0 ORDER BY step",
        (station, recipe),
    )
    return {(step, evaluation): parts for step, evaluation, parts in rows}


def rejected_between(
    questions: Questions, station: int, recipes: Sequence[int], above: float, up_to: float, most: int
) -> list[Scored]:
    """Parts that these recipes rejected with a score above one threshold and not above another, the lowest first."""
    found = [
        one
        for recipe in recipes
        for one in _scored(
            questions,
            "INDEXED BY parts_rejected_score WHERE station = ? AND recipe = ? AND evaluation = 2 AND score > ? "
            "AND score <= ? AND reason IS NOT ? ORDER BY score LIMIT ?",
            (station, recipe, above, up_to, PIECE, most),
        )
    ]
    return sorted(found, key=lambda one: one.score)[:most]


def said_of(questions: Questions, station: int, recipe: int, label: str, score: float) -> tuple[int, int]:
    """Of the parts that people gave this label: how many there are, and how many score no higher."""
    found = questions.connection.execute(
        "SELECT count(*), coalesce(sum(score <= ?), 0) FROM parts INDEXED BY parts_said WHERE station = ? "
        "AND recipe = ? AND label = ? AND score IS NOT NULL",
        (score, station, recipe, label),
    ).get
    return int(found[0]), int(found[1])


def newest(questions: Questions, station: int, recipe: int, most: int) -> list[Scored]:
    """A recipe's newest parts of this epoch that have a score, the newest first; looks at 4 times as many at most."""
    epoch = place(questions, station)[2] >> EPOCH_BITS
    return _scored(
        questions,
        f"WHERE number IN (SELECT number FROM parts WHERE number >= ? AND number < ? ORDER BY number DESC "
        f"LIMIT {4 * most}) AND recipe = ? AND score IS NOT NULL AND reason IS NOT ? ORDER BY number DESC LIMIT ?",
        (epoch << EPOCH_BITS, (epoch + 1) << EPOCH_BITS, recipe, PIECE, most),
    )


def after(questions: Questions, station: int, number: int, most: int) -> list[Scored]:
    """The parts that came after that record and have a score, the oldest first."""
    high = ((number >> EPOCH_BITS) + 1) << EPOCH_BITS  # of its epoch
    return _scored(
        questions,
        "WHERE number > ? AND number < ? AND score IS NOT NULL AND reason IS NOT ? ORDER BY number LIMIT ?",
        (number, min(high, (station + 1) << STATION_BITS), PIECE, most),
    )


def without_score(questions: Questions, low: int, high: int) -> int:
    """How many parts between these two records' numbers have no score: undecided, or never inspected."""
    return int(
        questions.connection.execute(
            "SELECT total(parts) FROM parts WHERE number BETWEEN ? AND ? AND score IS NULL", (low, high)
        ).get
    )


def recipe_number(questions: Questions, recipe_hash: str, commissioning: str) -> int:
    """The read model's own number of a recipe; 0 for one that no part was judged by yet."""
    known = questions.recipes()
    key = recipe_hash, commissioning
    return next((number for number, one in known.items() if (one["hash"], one["commissioning"]) == key), 0)


def place(questions: Questions, station: int) -> tuple[str, int, int]:
    """Where the read model is: epoch in hex, seq, and the number of that record; ("", 0, 0) while it is empty."""
    found = questions.connection.execute(
        "SELECT s.epoch, s.seq, e.number FROM stations s JOIN epochs e ON e.station = s.number AND e.epoch = s.epoch "
        "WHERE s.number = ?",
        (station,),
    ).get
    if found is None:
        return "", 0, 0
    epoch, seq, number = found
    return epoch.hex(), seq, (station << STATION_BITS) | (number << EPOCH_BITS) | seq


def number_of(questions: Questions, station: int, epoch: str, seq: int) -> int | None:
    """The number of that record; None for an epoch that is not known."""
    number = questions.connection.execute(
        "SELECT number FROM epochs WHERE station = ? AND epoch = ?", (station, bytes.fromhex(epoch))
    ).get
    return None if number is None else (station << STATION_BITS) | (number << EPOCH_BITS) | seq


def _scored(questions: Questions, where: str, values: tuple[object, ...]) -> list[Scored]:
    rows = questions.connection.execute(
        f"SELECT number, result_id, evaluation, score, label FROM parts {where}", values
    )
    return [Scored(number, str(UUID(bytes=about)), *rest) for number, about, *rest in rows]
