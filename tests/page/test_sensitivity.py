"""Sensitivity without a station: counts equal a recount, what may be proposed, the next parts, what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from edge.core.promise import Rates, choose_threshold, images_for, promise_at
from edge.page import sensitivity as pure
from edge.page.desk import Asked, Desk
from edge.page.drifts import Drift
from edge.page.model import scores
from edge.page.model.filling import Filling
from edge.page.model.questions import Questions
from edge.page.model.schema import connect, open_model
from edge.page.model.scores import Scored
from edge.page.model.steps import at_percent, step_of
from edge.page.next_parts import MOST, run_of, suspicious, to_keep
from edge.page.pictures import hottest
from edge.pictures.evidence import _npz
from edge.wire.messages import Message
from edge.wire.recording import birth_record, history_gap_record, result_record
from edge.wire.vocabulary import HistoryRecord, LossCause
from tests.edge import samples
from tests.page.test_read_model import ORIGIN, message, said, stamp

LIMIT = 3.0
VALUES = [float(one) for one in np.random.default_rng(5).gumbel(1.6, 0.6, 300)]
LAMP = Drift("brightness", "lamp", "", 0, 1.0, 2.0, None, None)


def part(seq: int, score: float, **facts: bool) -> Message:
    made = samples.defective if score > LIMIT else samples.good
    return message(result_record(ORIGIN, stamp(seq), replace(made(seq, score=score), **facts)))


def scored(number: int, score: float = 1.0, label: str | None = None) -> Scored:
    return Scored(number, f"id-{number}", 1 if score <= LIMIT else 2, score, label)


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Filling]:
    open_model(tmp_path / "page.db").close()
    db = connect(tmp_path / "page.db")
    yield Filling(db, "top")
    db.close()


def filled(filling: Filling) -> list[Message]:
    """A birth, 300 parts, one of them twice, and one as a piece of a challenge."""
    messages = [message(birth_record(ORIGIN, stamp(1))), *(part(seq, value) for seq, value in enumerate(VALUES, 2))]
    piece = part(400, 2.0)
    piece.body["challenge"] = {"run_id": "x", "evaluation": 1}
    filling.take(messages)
    filling.take([messages[5], piece])
    return messages


@pytest.mark.parametrize("percent", [50, 80, 93, 100, 107, 150, 200])
def test_the_answer_is_a_recount_of_the_parts(filling: Filling, tmp_path: Path, percent: int) -> None:
    filled(filling)
    found = pure.answer(scores.steps(Questions(tmp_path / "page.db"), 1, 1), LIMIT, percent)
    limit = at_percent(LIMIT, percent)
    passed, rejected = ([v for v in VALUES if (v > LIMIT) is is_above] for is_above in (False, True))
    assert rejected and found.rejects == pure.Of(sum(v > limit for v in passed), len(passed))
    assert found.passes == pure.Of(sum(v <= limit for v in rejected), len(rejected))
    newly = scores.rejected_between(Questions(tmp_path / "page.db"), 1, [1], LIMIT, limit, 1000)
    assert [one.score for one in newly] == sorted(v for v in rejected if v <= limit)


def test_simulated_parts_are_in_the_chart_and_count_for_nothing_as_at_the_station(
    filling: Filling, tmp_path: Path
) -> None:
    filled(filling)
    filling.take([part(seq, score, is_simulated=True) for seq, score in ((501, 1.0), (502, 4.0), (503, 1.0))])
    asked = Questions(tmp_path / "page.db")
    assert sum(scores.steps(asked, 1, 1).values()) == len(VALUES) + 3
    assert scores.simulated(asked, 1, 1, 1000) == 3 and scores.simulated(asked, 1, 1, 1) == 3
    counted = scores.newest(asked, 1, 1, 1000)
    assert [one.score for one in counted] == VALUES[::-1]
    assert scores.after(asked, 1, counted[0].number, 9) == []
    between = scores.rejected_between(asked, 1, [1], LIMIT, 99.0, 1000)
    assert [one.score for one in between] == sorted(v for v in VALUES if v > LIMIT)


def test_nothing_is_proposed_by_fewer_parts_than_a_promise_takes() -> None:
    parts = [scored(number) for number in range(images_for(0.05))]
    assert pure.few(parts) is None
    assert pure.few(parts[1:]) == pure.Problem("few", {"n": "58", "least": "59"})
    assert pure.few([*parts[1:], scored(99, 4.0, "true_reject")]) is not None


def test_what_the_journal_drops_is_counted_no_more(filling: Filling, tmp_path: Path) -> None:
    filled(filling)
    lost = HistoryRecord(first_seq=1, last_seq=101, epoch=samples.EPOCH.hex(), cause=LossCause.RETENTION)
    filling.take([message(history_gap_record(ORIGIN, stamp(500), lost))])
    steps = scores.steps(Questions(tmp_path / "page.db"), 1, 1)
    left = [step_of(value, LIMIT) for value in VALUES[100:]]
    assert sorted(step for (step, _), n in steps.items() for _ in range(n)) == sorted(left)
    filling.forget_all()
    assert scores.steps(Questions(tmp_path / "page.db"), 1, 1) == {}


def test_words_about_parts_are_counted_and_what_was_called_bad_is_no_part_of_the_promise(
    filling: Filling, tmp_path: Path
) -> None:
    filled(filling)
    worst = int(np.argmax(VALUES)) + 2
    filling.take([said(500, worst, '{"disposition":"reject","label":"true_reject"}')])
    asked = Questions(tmp_path / "page.db")
    assert scores.said_of(asked, 1, 1, "true_reject", max(VALUES)) == (1, 1)
    assert scores.said_of(asked, 1, 1, "true_reject", LIMIT) == (1, 0)
    newest = scores.newest(asked, 1, 1, 1000)
    assert len(newest) == 300 and newest[0].score == VALUES[-1]
    good = np.array([value for value in VALUES[::-1] if value != max(VALUES)])
    assert pure.promise(newest, 2.5) == promise_at(good, 2.5) and len(good) == 299
    assert pure.promise(newest[: images_for(0.05) - 1], 2.5) is None


def test_a_score_that_equals_a_limit_passes_and_the_next_float_does_not() -> None:
    assert step_of(LIMIT, LIMIT) == 100 and step_of(float(np.nextafter(LIMIT, 9)), LIMIT) == 101
    assert at_percent(LIMIT, 100) == LIMIT and at_percent(0.1, 90) < 0.1  # near 0 a unit is .5


def test_a_higher_limit_asks_for_a_look_at_each_and_a_lower_one_for_nothing() -> None:
    newly = [scored(number, 3.5, "false_reject") for number in range(3)]
    seen = {one.result_id for one in newly}

    def no(parts: list[Scored], opened: set[str], drifts: list[Drift]) -> str | None:
        found = pure.raised(parts, opened, drifts)
        return None if found is None else found.key

    assert no(newly, seen, []) is None and no([], set(), []) is None
    assert no(newly, seen - {"id-1"}, []) == "open"
    assert no([*newly[:2], scored(2, 3.5, "unsure")], seen, []) == "open"
    assert no([*newly[:2], scored(2, 3.5, "true_reject")], seen, []) == "scrap"
    many = [scored(number, 3.5, "false_reject") for number in range(41)]
    assert (
        no(many, {one.result_id for one in many}, []) == "many"
        and no(many[:40], {o.result_id for o in many}, []) is None
    )
    assert no(newly, seen, [LAMP]) == "drift"


def test_a_histogram_has_every_part_once_and_stays_in_its_field() -> None:
    steps = {(-1000, 1): 3, (40, 1): 10_000, (99, 3): 2, (101, 2): 7, (900, 2): 1}
    bars, most = pure.bars(steps)
    assert most == 10_000 and {one.kind for one in bars} == {"ok", "nok", "und"}
    assert all(one.x >= 92 and one.x + one.width <= 632.1 and one.y >= 43.9 for one in bars)
    assert pure.bars({}) == ([], 1)


# --- the next parts ---

ASKED = Asked(59, 0.05, 0, "theo", 0, "ab", 1, "cd", "", {})


def test_what_is_offered_is_the_fewest_parts_for_each_promise() -> None:
    assert [(one.parts, one.rate, one.allowed) for one in pure.choices()] == [
        (59, 0.05, 0), (99, 0.03, 0), (149, 0.02, 0), (299, 0.01, 0)
    ]  # fmt: skip
    assert to_keep(run_of(ASKED, [])) == 118 and to_keep(run_of(replace(ASKED, n=299), [])) == MOST


def test_a_bad_part_is_left_out_and_another_takes_its_place_and_an_unsure_one_is_decided_first() -> None:
    came = [scored(number, 1 + number / 100) for number in range(70)]
    words = {one.result_id: "good" for one in came[:59]}
    run = run_of(replace(ASKED, said=words), came)
    assert run.is_done and len(run.parts) == 59
    run = run_of(replace(ASKED, said={**words, "id-3": "bad", "id-7": "bad"}), came)
    assert (len(run.parts), run.kept, [one.number for one in run.waiting], run.is_done) == (61, 59, [59, 60], False)
    unsure = {**words, "id-3": "unsure"}
    assert not run_of(replace(ASKED, said=unsure), came).is_done
    done = run_of(replace(ASKED, said={**words, "id-58": "bad", "id-59": "good"}), came)
    values = np.array([one.score for one in came if one.number != 58 and one.number <= 59])
    assert done.is_done and done.threshold() == choose_threshold(values, Rates(0.05))
    assert done.threshold()[1].rejected == ASKED.allowed
    assert not run_of(ASKED, came[:30]).is_full


def test_a_part_that_was_rejected_or_scores_unlike_the_others_is_looked_at_twice() -> None:
    came = [scored(number, 1 + 0.01 * (number % 5)) for number in range(20)] + [scored(20, 2.0), scored(21, 4.0)]
    run = run_of(ASKED, came)
    assert [suspicious(run, one) for one in came] == [None] * 20 + ["unlike", "not_ok"]
    assert suspicious(run_of(ASKED, came[18:21]), came[20]) is None  # too few to say


def test_the_region_of_a_map_is_where_it_is_highest() -> None:
    x, y, width, height = hottest(_npz(samples.anomaly_map()))
    assert (x, y, width, height) == (0.25, 4 / 12, 0.25, 4 / 12)


def test_a_restart_of_the_page_loses_no_look_and_a_damaged_file_asks_for_all_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk-top.json")
    desk.open("theo", "a")
    desk.ask(ASKED)
    desk.say("a", "bad")
    desk.say("b", "good")
    desk.say("b", None)
    again = Desk(tmp_path / "desk-top.json")
    assert again.opened("theo") == {"a"} and again.opened("anna") == frozenset()
    assert again.asked == replace(ASKED, said={"a": "bad"})
    (tmp_path / "desk-top.json").write_text('{"opened": {"theo": ["a"]}')
    with capture_logs() as logs:
        assert Desk(tmp_path / "desk-top.json").opened("theo") == frozenset()
    assert [one["log_level"] for one in logs] == ["warning"]
