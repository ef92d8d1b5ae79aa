"""COMMISSION: another threshold while the line runs; what it counts, what it keeps, what it refuses."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import edge
from edge.client.control import ask
from edge.core.binomial import binomial_upper_bound
from edge.core.commissioning import moved_text
from edge.core.promise import images_for
from edge.line.proposal import Proposal, ProposalRefused, read_proposal, write_proposal
from edge.sockets.requests import Request
from edge.station.commissions import FOLDER
from edge.wire.messages import Message
from tests.edge.station.proposing import THRESHOLD, Line
from tests.edge.stub import Stub, end
from tests.patience import WAIT_S

DOCUMENT = Path(edge.__file__).parent / "wire" / "WIRE.md"
REQUEST = Request(b"", "COMMISSION", b"1", {})


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path)
    yield made
    made.close()


def test_a_threshold_is_moved_while_the_line_runs_and_its_promise_is_recounted(line: Line) -> None:
    """W100."""
    line.good(98)
    bad, odd = line.parts(150.0, 80.0)
    line.say(bad, "scrap")
    said = line.propose(50.0, left_out=(bad,))
    rate = binomial_upper_bound(1, 99)
    assert said.startswith("threshold 50 from the next frame on, 100 before: at most 4.7 % of good parts rejected")
    assert "from 1 of 99" in said and "1 left out as bad" in said and said.endswith("as people saw them")
    birth = line.births[-1]
    assert (birth.image_threshold, birth.map_threshold) == (50.0, 50.0) and birth.promise is not None
    assert birth.promise.rate == pytest.approx(rate)
    commissioning = line.recipes.current.bundle.commissioning
    assert commissioning is not None and commissioning.moved is not None and commissioning.moved.by == "anna"
    assert birth.internal_recipe.commissioning_hash == commissioning.digest
    assert commissioning.digest == hashlib.sha256(moved_text(commissioning.moved).encode()).hexdigest()
    assert line.parts(80.0) and line.told[-1].result_evaluation == 2  # type: ignore[attr-defined]
    assert odd != bad


def test_a_restart_keeps_it_and_rollback_brings_back_the_one_before(line: Line) -> None:
    """W101."""
    line.good()
    assert line.propose(50.0).startswith("threshold 50")
    line.good()
    assert line.propose(30.0).startswith("threshold 30")
    hash_before = line.births[-1].internal_recipe.commissioning_hash
    line.restart()
    assert line.threshold == 30 and line.births[-1].internal_recipe.commissioning_hash == hash_before
    line.good()
    assert line.propose(25.0).startswith("threshold 25")
    assert line.roll_back().startswith("threshold 30 again, after 25")
    assert line.births[-1].internal_recipe.commissioning_hash == hash_before
    line.restart()
    assert line.threshold == 30
    assert line.recipe("other.bundle").startswith("bolt version") and line.threshold == THRESHOLD
    assert line.recipe().startswith("bolt version") and line.threshold == 30


def test_a_threshold_rises_only_past_parts_that_somebody_looked_at_and_called_good(line: Line) -> None:
    """W102."""
    good = line.good()
    first, second, far = line.parts(120.0, 130.0, 190.0)
    assert "2 parts that were rejected would pass and are not among the accepted" in line.propose(150.0)
    assert "the last FEEDBACK on record is not accept" in line.propose(150.0, accepted=(first, second))
    line.say(first), line.say(second)
    assert first in line.propose(150.0, accepted=(second,))
    line.say(second, "unknown")  # taken back
    assert "not accept" in line.propose(150.0, accepted=(first, second))
    line.say(second)
    assert f"{far}: the last FEEDBACK" in line.propose(150.0, accepted=(first, second, far))
    assert f"{good[3]}: no recorded part" in line.propose(150.0, accepted=(first, second, good[3]))
    assert line.propose(150.0, accepted=(first, second)).startswith("threshold 150 from the next frame on")
    assert line.threshold == 150


def test_more_than_people_look_at_is_for_training(line: Line) -> None:
    line.good()
    rejected = line.parts(*[120.0] * 41)
    for one in rejected:
        line.say(one)
    assert "retrain" in line.propose(150.0, accepted=tuple(rejected[:40]))
    with pytest.raises(ProposalRefused, match="retrain"):
        read_proposal(write_proposal(line.proposal(150.0, accepted=tuple(rejected))))


def test_while_something_drifts_no_threshold_rises_and_any_may_be_lowered(line: Line) -> None:
    """W103."""
    line.drift()
    assert "drifts" in line.propose(150.0)
    assert line.propose(99.0).startswith("threshold 99")
    line.good()
    assert "drifts" in line.propose(150.0)  # it stands for the new threshold, too …
    line.restart()
    assert "drifts" in line.propose(150.0)  # … and over a restart, before any part has come
    assert line.threshold == 99
    line.watch.asked(replace(REQUEST, facts={"mended": "yes"}))
    line.announcer.announce()
    line.good()
    assert line.propose(99.5).startswith("threshold 99.5")


def test_too_few_parts_are_refused_with_the_number_that_would_do(line: Line) -> None:
    line.good(images_for(0.05) - 1)
    assert "58 recorded parts cannot support a promise; 59 can" in line.propose(50.0)
    line.good(1)
    assert line.propose(50.0).startswith("threshold 50")


def test_the_review_zone_stays_where_it_was_fitted_or_gives_way_to_rejection(tmp_path: Path) -> None:
    line = Line(tmp_path, review=80.0)
    try:
        line.good()
        assert line.propose(60.0).startswith("threshold 60")
        assert line.births[-1].review_threshold is None
        assert "1 parts that were rejected would pass" in (line.parts(70.0) and line.propose(90.0))
        assert line.propose(65.0, first_seq=1).startswith("refused: 0 recorded parts")  # … under this threshold
        line.good()
        assert line.propose(65.0).startswith("threshold 65")
        line.good()
        (again,) = line.parts(70.0)
        rejected = tuple(one for one in line_rejects(line) if one)
        for one in rejected:
            line.say(one)
        assert again in rejected and line.propose(90.0, accepted=rejected).startswith("threshold 90")
        assert line.births[-1].review_threshold == 80
    finally:
        line.close()


def line_rejects(line: Line) -> list[str]:
    return [
        one.result_id
        for one in line.told
        if type(one).__name__ == "ResultRecord" and one.result_evaluation == 2  # type: ignore[attr-defined]
    ]


def test_a_stopped_recount_lets_the_line_go_on_and_sees_what_came_meanwhile(line: Line) -> None:
    line.good(250)
    facts = line.put(write_proposal(line.proposal(150.0)))
    steps = line.commissions.command(replace(REQUEST, facts=facts))
    next(steps)  # a slice
    line.parts(120.0)
    with pytest.raises(ProposalRefused, match="1 parts that were rejected would pass"):
        list(steps)
    assert line.threshold == THRESHOLD


def test_a_proposal_reads_back_as_it_was_written() -> None:
    made = Proposal("ab" * 32, None, 3.25, 1, 9, (), (), "Kratzer zulässig")
    assert read_proposal(write_proposal(made)) == made
    body = json.loads(write_proposal(made))
    assert list(body) == [
        "schema", "recipe_hash", "commissioning_hash", "threshold", "first_seq", "last_seq", "left_out", "accepted",
        "why",
    ]  # fmt: skip
    shown = re.search(r"```text\n(.\"schema\": 1.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert shown is not None and read_proposal(shown[1].encode()).threshold == 3.25


# --- a real daemon ---


def records(stub: Stub, kind: str) -> list[Message]:
    return [message for message in stub.history() if message.kind == kind]


def test_a_daemon_takes_a_proposal_by_name_and_tells_who_and_why(tmp_path: Path) -> None:
    """W104: over the socket, with BIRTH and audit; kept over a kill; every picture of the next parts."""
    stub = Stub(tmp_path, pause_s=0.005)
    stub.settings |= {"evidence": str(tmp_path / "evidence"), "evidence_good_share": 0.0}
    process = stub.start()
    try:
        hash_of = moved_by_hand(stub, tmp_path)
        pictures_of_the_next(stub)
        history = stub.history()
        process.kill()
        process.wait()
        process = stub.start()
        again = ask(stub.settings["control"], "STATUS", {}, WAIT_S)[1]
        assert again["commissioning_hash"] == hash_of
        assert end(process, signal.SIGTERM)[0] == 0
    finally:
        Stub.end_all()
    audits = [one.body for one in history if one.body.get("command") == "commission"]
    assert [(one["outcome"], one.get("actor")) for one in audits] == [("done", "anna"), ("refused", "anna")]
    assert "one scratch is too many" in audits[0]["details"]
    birth = [one.body for one in history if one.kind == "birth"][-1]
    assert (birth["image_threshold"], birth["internal_recipe"]["commissioning_hash"]) == (90, hash_of)
    about = {one.body["about_result_id"] for one in history if one.kind == "evidence"}
    good = [one for one in history if one.kind == "result" and one.body["result_evaluation"] == 1]
    assert sum(one.body["result_id"] in about for one in good) in range(8, 12)  # of 12; each fifth is bad


def moved_by_hand(stub: Stub, folder: Path) -> str:
    """A proposal of a lower threshold, done once; the commissioning's hash from then on."""
    control = stub.settings["control"]
    while len(found := records(stub, "result")) < 70:
        pass
    assert (folder / FOLDER).stat().st_mode & 0o777 == 0o770
    recipe = found[-1].body["internal_recipe"]["hash"]
    raw = write_proposal(Proposal(recipe, None, 90.0, 1, found[-1].seq, (), (), "one scratch is too many"))
    (folder / FOLDER / "p.json").write_bytes(raw)
    asked = {"file": "p.json", "sha256": hashlib.sha256(raw).hexdigest(), "actor": "anna"}
    answer, told = ask(control, "COMMISSION", asked, WAIT_S)
    assert answer == "DONE" and told["details"].startswith("threshold 90 from the next frame on"), told
    assert ask(control, "COMMISSION", asked, WAIT_S)[0] == "REFUSED"  # a second time
    return str(ask(control, "STATUS", {}, WAIT_S)[1]["commissioning_hash"])


def pictures_of_the_next(stub: Stub) -> None:
    control = stub.settings["control"]
    assert ask(control, "PIN", {"next": 321}, WAIT_S)[0] == "REFUSED"
    assert ask(control, "PIN", {"next": 12}, WAIT_S)[0] == "DONE"
    while ask(control, "STATUS", {}, WAIT_S)[1].get("pictures_due"):
        pass
