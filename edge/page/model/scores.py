"""What Sensitivity asks of the read model: scores counted, and those few parts that a threshold decides, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from edge.page.model.questions import Questions
from edge.page.model.rows import PIECE
from edge.page.model.schema import EPOCH_BITS, STATION_BITS

_SEQ = (1 << EPOCH_BITS) - 1
_COUNTED = (
    f"score IS NOT NULL AND is_simulated = 0 AND reason IS NOT '{PIECE}'"  # at the station, as `edge.history.recount`
)
_ROWS_A_PART = 4  # that are looked at, at most: others are pieces, of another recipe, or have no score


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
            f"AND score <= ? AND {_COUNTED} ORDER BY score LIMIT ?",
            (station, recipe, above, up_to, most),
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
    """A recipe's newest parts of this epoch that count for a promise, the newest first."""
    among, values = _latest(questions, station, recipe, most)
    return _scored(questions, f"{among} AND {_COUNTED} ORDER BY number DESC LIMIT ?", (*values, most))


def simulated(questions: Questions, station: int, recipe: int, most: int) -> int:
    """How many parts `newest` passes over since no camera took their pictures: the station counts none of them."""
    among, values = _latest(questions, station, recipe, most)
    found = questions.connection.execute(f"SELECT count(*) FROM parts {among} AND is_simulated <> 0", values)
    return int(found.get)


def after(questions: Questions, station: int, number: int, most: int) -> list[Scored]:
    """The parts that came after that record and count for a promise, the oldest first."""
    high = ((number >> EPOCH_BITS) + 1) << EPOCH_BITS  # of its epoch
    return _scored(
        questions,
        f"WHERE number > ? AND number < ? AND {_COUNTED} ORDER BY number LIMIT ?",
        (number, min(high, (station + 1) << STATION_BITS), most),
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


def _latest(questions: Questions, station: int, recipe: int, most: int) -> tuple[str, tuple[object, ...]]:
    """A condition for a recipe's parts among the newest rows of this epoch, and its values."""
    epoch = place(questions, station)[2] >> EPOCH_BITS
    among = "WHERE number IN (SELECT number FROM parts WHERE number >= ? AND number < ? ORDER BY number DESC LIMIT ?)"
    low, high = epoch << EPOCH_BITS, (epoch + 1) << EPOCH_BITS
    return f"{among} AND recipe = ?", (low, high, _ROWS_A_PART * most, recipe)


def _scored(questions: Questions, where: str, values: tuple[object, ...]) -> list[Scored]:
    rows = questions.connection.execute(
        f"SELECT number, result_id, evaluation, score, label FROM parts {where}", values
    )
    return [Scored(number, str(UUID(bytes=about)), *rest) for number, about, *rest in rows]
