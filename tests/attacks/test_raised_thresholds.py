"""A threshold raised past parts that nobody looked at, by any path: proposals, files, races, other commands, restarts.

Each attack has a station with 60 good parts and rejects at 120 (nobody looked), 130 (called good), 140 (called scrap)
and 190, and a threshold of 100. It says how high the threshold may stand afterwards, 100 unless it lowered it itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.core.commissioned import commissioning_file
from edge.core.commissioning import Commissioning, write_commissioning
from edge.core.errors import BundleError, EdgeError
from edge.core.types import Challenged
from edge.line.proposal import SCHEMA, write_proposal
from edge.sockets.requests import Request
from edge.station.commissions import FOLDER
from edge.station.thresholds import MOST_MOVES
from edge.wire.vocabulary import Outcome
from tests.edge.station.proposing import Line

Attack = Callable[["Station"], "float | None"]
ATTACKS: dict[str, Attack] = {}
RAISED = 150.0


class Station(Line):
    """With rejects: what people said of each is in its name."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.good()
        self.unseen, self.accepted, self.scrap, self.far = self.parts(120.0, 130.0, 140.0, 190.0)
        self.say(self.accepted)
        self.say(self.scrap, "scrap")

    @property
    def three(self) -> tuple[str, ...]:
        return self.unseen, self.accepted, self.scrap

    def say_all_good(self) -> Station:
        for one in self.three:
            self.say(one)
        return self

    def raw(self, **changes: Any) -> bytes:
        """A proposal that says all that it likes."""
        body = json.loads(write_proposal(self.proposal(RAISED, accepted=self.three)))
        return json.dumps({**body, **changes}).encode()

    def command_raw(self, raw: bytes) -> str:
        return self.command(self.put(raw))

    def write_commissioning(self, threshold: float, parts: int = 60, **changes: Any) -> Path:
        """Beside the bundle, with its own statistics."""
        path = self.folder / "bolt.bundle"
        self.commissioning = "none"
        bundle = self.bundle()
        self.commissioning = None
        calibration = replace(bundle.manifest.calibration("fp32"), image_threshold=threshold, **changes)
        made = Commissioning(bundle.digest, "fp32", "brightness 1", "folder:/", "2026-01-02", parts, calibration)
        file = commissioning_file(path)
        file.write_bytes(write_commissioning(made))
        return file


def attack(function: Attack) -> Attack:
    ATTACKS[function.__name__] = function
    return function


def on_the_form(name: str, make: Callable[[Station], bytes]) -> None:
    """Every reject is accepted, so that nothing but the form is in the way."""
    ATTACKS[name] = lambda station: station.say_all_good().command_raw(make(station)) and None


# --- whom it names ---


@attack
def names_nobody(s: Station) -> None:
    s.propose(RAISED)


@attack
def names_some(s: Station) -> None:
    s.propose(RAISED, accepted=(s.accepted,))


@attack
def names_one_that_nobody_spoke_of(s: Station) -> None:
    s.say(s.scrap)
    s.propose(RAISED, accepted=s.three)


@attack
def names_one_that_is_scrap(s: Station) -> None:
    s.say(s.unseen)
    s.propose(RAISED, accepted=s.three)


@attack
def was_called_good_and_taken_back(s: Station) -> None:
    s.say_all_good().say(s.unseen, "unknown")
    s.propose(RAISED, accepted=s.three)


@attack
def was_called_good_and_then_for_rework(s: Station) -> None:
    s.say_all_good().say(s.accepted, "rework")
    s.propose(RAISED, accepted=s.three)


@attack
def feedback_that_was_refused(s: Station) -> None:
    s.say(s.unseen, outcome=Outcome.REFUSED), s.say(s.scrap, outcome=Outcome.REFUSED)
    s.propose(RAISED, accepted=s.three)


@attack
def feedback_that_is_damaged(s: Station) -> None:
    s.say_all_good()
    row = s.journal.head_position
    s.journal.stage("UPDATE records SET body = CAST(replace(CAST(body AS TEXT), 'accept', 'accepd') AS BLOB) "
                    "WHERE position = ?", row)  # fmt: skip
    s.journal.commit()
    s.propose(RAISED, accepted=s.three)


@attack
def one_at_the_very_threshold(s: Station) -> None:
    s.say_all_good().parts(RAISED)
    s.propose(RAISED, accepted=s.three)


@attack
def names_strangers_in_their_place(s: Station) -> None:
    s.say(s.far)
    s.propose(RAISED, accepted=(s.accepted, s.far))


@attack
def names_good_parts(s: Station) -> None:
    (good,) = s.parts(10.0)
    s.say(good)
    s.propose(RAISED, accepted=(s.accepted, good))


@attack
def names_a_piece_of_a_challenge(s: Station) -> None:
    (piece,) = s.parts(120.0, challenge=Challenged("0195610c-3c83-7000-8000-000000000003", "scratch"))
    s.say(piece)
    s.propose(RAISED, accepted=(s.accepted, piece))


@attack
def names_a_simulated_part(s: Station) -> None:
    (part,) = s.parts(120.0, is_simulated=True)
    s.say(part)
    s.propose(RAISED, accepted=(s.accepted, part))


@attack
def names_a_part_of_another_recipe(s: Station) -> None:
    s.recipe("other.bundle")
    (part,) = s.parts(120.0)
    s.say(part)
    s.recipe()
    s.propose(RAISED, accepted=(s.accepted, part))


@attack
def names_parts_twice(s: Station) -> None:
    s.say_all_good().command_raw(s.raw(accepted=[s.accepted] * 3))


@attack
def leaves_them_out_as_bad(s: Station) -> None:
    s.say(s.unseen, "reject")
    s.propose(RAISED, left_out=(s.unseen, s.scrap), accepted=(s.accepted,))


@attack
def leaves_out_and_accepts(s: Station) -> None:
    s.say_all_good().command_raw(s.raw(left_out=list(s.three)))


@attack
def more_than_forty(s: Station) -> None:
    many = s.say_all_good().parts(*[110.0] * 40)
    for one in many:
        s.say(one)
    s.propose(RAISED, accepted=tuple(many[:37]) + s.three)


# --- which parts it counts ---


@attack
def a_range_without_them(s: Station) -> None:
    s.propose(RAISED, last_seq=61)


@attack
def a_range_that_is_still_to_come(s: Station) -> None:
    s.say_all_good().propose(RAISED, accepted=s.three, last_seq=s.journal.head + 1000)


@attack
def a_range_of_too_few(s: Station) -> None:
    s.say_all_good().propose(RAISED, accepted=s.three, last_seq=30)


@attack
def a_range_backwards(s: Station) -> None:
    s.say_all_good().propose(RAISED, accepted=s.three, first_seq=9, last_seq=3)


@attack
def for_another_recipe(s: Station) -> None:
    s.say_all_good().propose(RAISED, accepted=s.three, recipe_hash="c" * 64)


@attack
def for_another_commissioning(s: Station) -> None:
    s.say_all_good().propose(RAISED, accepted=s.three, commissioning_hash="c" * 64)


# --- lowered first, so that nobody has been rejected yet ---


@attack
def lowered_a_little_and_raised(s: Station) -> float:
    s.propose(99.0)
    s.good()
    s.propose(RAISED)
    return 99.0


@attack
def lowered_twice_and_raised(s: Station) -> float:
    for threshold in (99.0, 98.0):
        s.propose(threshold)
        s.good()
    s.propose(RAISED)
    return 98.0


@attack
def lowered_and_raised_over_a_restart(s: Station) -> float:
    s.propose(99.0)
    s.restart().good()
    s.propose(RAISED)
    return 99.0


@attack
def an_old_proposal_again_after_it_was_lowered(s: Station) -> float:
    raw = write_proposal(s.proposal(90.0))
    s.command_raw(raw)
    s.good()
    s.propose(50.0)
    s.parts(70.0)
    s.command_raw(raw)
    return 50.0


@attack
def rolled_back_after_it_was_lowered(s: Station) -> float:
    s.propose(50.0)
    s.parts(70.0)
    s.roll_back()
    return 50.0


@attack
def rolled_back_twice(s: Station) -> float:
    s.propose(90.0)
    s.good()
    s.propose(50.0)
    s.parts(70.0, 95.0)
    s.roll_back(), s.roll_back()
    return 50.0


@attack
def rolled_back_to_another_recipe_and_here_again(s: Station) -> float:
    s.recipe("other.bundle"), s.recipe()
    s.propose(50.0)
    s.parts(70.0)
    s.roll_back(), s.recipe("other.bundle"), s.roll_back(), s.roll_back(), s.roll_back()
    s.recipe()
    return 50.0


@attack
def moved_so_often_that_it_is_forgotten(s: Station) -> float:
    key = next(iter(s.thresholds._standing))
    stands = s.thresholds._standing[key]
    s.thresholds._standing[key] = replace(stands, hashes=tuple(f"{n:064x}" for n in range(MOST_MOVES)))
    s.propose(99.0)
    s.good()
    s.propose(RAISED)
    return 100.0


# --- at the same time ---


@attack
def rejected_while_it_is_counted(s: Station) -> None:
    s.say_all_good().good(250)
    steps = s.commissions.command(request(s, s.raw(last_seq=s.journal.head)))
    next(steps)
    s.parts(110.0)
    finish(steps)


@attack
def rejected_and_not_told_yet(s: Station) -> None:
    raw = s.say_all_good().raw()
    told = s.begin(s.put(raw))
    s.judged(110.0)
    with pytest.raises(EdgeError):
        s.taken(told)


@attack
def rejected_before_and_told_after(s: Station) -> None:
    part = s.say_all_good().judged(110.0)
    told = s.begin(s.put(s.raw()))
    s.tell(part)
    with pytest.raises(EdgeError):
        s.taken(told)


@attack
def rejected_more_often_than_the_loop_remembers(s: Station) -> None:
    told = s.say_all_good().begin(s.put(s.raw()))
    s.judged(110.0)
    for _ in range(300):
        s.judged(500.0)
    with pytest.raises(EdgeError):
        s.taken(told)


@attack
def two_at_once(s: Station) -> float:
    s.say_all_good()
    low = s.begin(s.put(write_proposal(s.proposal(50.0)), "low.json"))
    s.command(s.put(s.raw(), "high.json"))
    with pytest.raises(EdgeError):
        s.begin(s.put(s.raw(), "high.json"))
    if not low.done():
        s.taken(low)
    s.parts(70.0)
    return 50.0


@attack
def a_recipe_that_was_made_ready_before_it_was_lowered(s: Station) -> float:
    ready = s.recipes._prepare(lambda: s.bundle())
    while not s.recipes.is_ready:
        pass
    change = s.recipes.due()
    s.recipes._offer(change)  # type: ignore[arg-type]
    s.command(s.put(write_proposal(s.proposal(50.0))))
    s.thresholds.taken(replaced(s, 50.0))
    with pytest.raises(EdgeError):
        s.taken(ready)
    return 100.0


@attack
def killed_before_it_was_taken(s: Station) -> None:
    s.say_all_good().begin(s.put(s.raw()))


# --- while something drifts ---


@attack
def a_drift(s: Station) -> None:
    s.say_all_good().drift()
    s.propose(RAISED, accepted=s.three)


@attack
def a_drift_and_lowered(s: Station) -> float:
    s.say_all_good().drift()
    s.propose(99.0)
    s.good()
    s.propose(RAISED, accepted=s.three)
    return 99.0


@attack
def a_drift_and_a_restart(s: Station) -> None:
    s.say_all_good().drift()
    s.restart().propose(RAISED, accepted=s.three)


@attack
def a_drift_and_another_recipe_and_back(s: Station) -> None:
    s.say_all_good().drift()
    s.recipe("other.bundle"), s.good(), s.recipe()
    s.propose(RAISED, accepted=s.three)


@attack
def a_drift_and_rolled_back(s: Station) -> float:
    s.propose(99.5)
    s.drift()
    s.roll_back()
    return 99.5


# --- files ---


@attack
def a_commissioning_beside_the_bundle(s: Station) -> None:
    s.write_commissioning(RAISED)
    s.recipe()


@attack
def a_commissioning_that_says_more_parts(s: Station) -> None:
    s.write_commissioning(RAISED, parts=9999)
    s.recipe()


@attack
def a_commissioning_that_is_a_link(s: Station) -> None:
    file = s.write_commissioning(RAISED)
    file.replace(s.folder / "elsewhere.json")
    file.symlink_to(s.folder / "elsewhere.json")
    s.recipe()


@attack
def a_commissioning_that_was_lowered_and_then_removed(s: Station) -> float:
    file = s.write_commissioning(80.0)
    s.recipe()
    assert s.threshold == 80
    s.parts(90.0)
    file.unlink()
    s.recipe()
    return 80.0


@attack
def a_commissioning_that_was_lowered_and_is_not_wanted_any_more(s: Station) -> float:
    s.write_commissioning(80.0)
    s.recipe()
    s.parts(90.0)
    s.commissioning = "none"
    s.recipe()
    return 80.0


@attack
def a_commissioning_put_back_after_it_was_lowered(s: Station) -> float:
    before = s.write_commissioning(95.0).read_bytes()
    s.recipe()
    s.write_commissioning(80.0)
    s.recipe()
    s.parts(90.0)
    commissioning_file(s.folder / "bolt.bundle").write_bytes(before)
    s.recipe()
    return 80.0


@attack
def edited_after_it_was_lowered_by_command(s: Station) -> float:
    s.write_commissioning(95.0)
    s.recipe()
    s.good()
    s.propose(50.0)
    s.parts(70.0)
    s.write_commissioning(94.0)
    s.recipe()
    return 50.0


@attack
def written_anew_after_it_was_looked_at(s: Station) -> None:
    facts = s.say_all_good().put(write_proposal(s.proposal(50.0)))
    s.put(s.raw())
    assert "SHA-256" in s.command(facts)


@attack
def a_link_to_a_proposal(s: Station) -> None:
    raw = s.say_all_good().raw()
    (s.folder / "p.json").write_bytes(raw)
    (s.folder / FOLDER / "p.json").symlink_to(s.folder / "p.json")
    s.command({"file": "p.json", "sha256": hashlib.sha256(raw).hexdigest()})


@attack
def a_folder_that_is_a_link(s: Station) -> None:
    raw = s.say_all_good().raw()
    (s.folder / "elsewhere").mkdir()
    (s.folder / "elsewhere" / "p.json").write_bytes(raw)
    (s.folder / FOLDER).rmdir()
    (s.folder / FOLDER).symlink_to(s.folder / "elsewhere")
    s.command({"file": "p.json", "sha256": hashlib.sha256(raw).hexdigest()})


@attack
def a_pipe(s: Station) -> None:
    os.mkfifo(s.folder / FOLDER / "p.json")
    s.command({"file": "p.json", "sha256": "0" * 64})


@attack
def a_name_that_leads_elsewhere(s: Station) -> None:
    raw = s.say_all_good().raw()
    (s.folder / "p.json").write_bytes(raw)
    for name in ("../p.json", str(s.folder / "p.json"), "./p.json", "..", "p.json\0", "p.json\n", ""):
        s.command({"file": name, "sha256": hashlib.sha256(raw).hexdigest()})


@attack
def a_file_that_never_ends(s: Station) -> None:
    s.say_all_good().command_raw(s.raw() + b" " * (1 << 20))


# --- the form ---

for number in ("NaN", "Infinity", "-Infinity", "1e308", "-1e308", "true", '"150"', "[150]", "null", "1" + "0" * 400):
    on_the_form(
        f"threshold_{number[:9]}",
        lambda s, number=number: s.raw().replace(b'"threshold": 150.0', b'"threshold": ' + number.encode()),  # type: ignore[misc]
    )
on_the_form("threshold_twice", lambda s: s.raw().replace(b'"threshold"', b'"threshold": 50.0, "threshold"'))
on_the_form("schema_true", lambda s: s.raw(schema=True))
on_the_form("schema_2", lambda s: s.raw(schema=SCHEMA + 1))
on_the_form("more_names", lambda s: s.raw(force=True))
on_the_form("fewer_names", lambda s: s.raw().replace(b', "why": "as people saw them"', b""))
on_the_form("no_reason", lambda s: s.raw(why=" "))
on_the_form("too_long_a_reason", lambda s: s.raw(why="x" * 201))
on_the_form("a_number_that_is_true", lambda s: s.raw(first_seq=True))
on_the_form("ids_that_are_none", lambda s: s.raw(left_out=["%"]))
on_the_form("no_json", lambda s: b"\xff" + s.raw())
on_the_form("a_list", lambda s: b"[" + s.raw() + b"]")
on_the_form("too_deep", lambda s: b"[" * 100_000)


def request(s: Station, raw: bytes) -> Any:
    return Request(b"", "COMMISSION", b"1", s.put(raw))


def finish(steps: Any) -> None:
    with pytest.raises(EdgeError):
        list(steps)


def replaced(s: Station, threshold: float) -> Any:
    """What runs, as if its threshold had been lowered."""
    current = s.recipes.current
    calibration = replace(current.calibration, image_threshold=threshold, map_threshold=threshold)
    manifest = replace(current.bundle.manifest, calibrations={"fp32": calibration})
    return current.rejudged(replace(current.bundle, manifest=manifest))


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    made = Station(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_no_path_raises_a_threshold_against_the_rule(name: str, station: Station) -> None:
    """W102; at once and after a restart, which may be refused."""
    most = ATTACKS[name](station) or 100.0
    assert station.threshold <= most
    station.close()
    try:
        station.open()
    except BundleError:  # a file on disk wants more than stands
        for file in station.folder.glob("*.commissioning.json"):
            file.unlink()
        station.commissioning = "none"
        return
    assert station.threshold <= most


def test_there_are_fifty_attacks_and_what_they_do_would_be_allowed_if_it_were_honest(station: Station) -> None:
    assert len(ATTACKS) >= 50
    assert station.say_all_good().command_raw(station.raw()).startswith("threshold 150 from the next frame on")
    assert station.threshold == RAISED
    station.restart()
    assert station.threshold == RAISED
