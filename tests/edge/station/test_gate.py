"""When inspections become alerts."""

from datetime import datetime, timezone

import pytest

from edge.core.errors import SettingsError
from edge.core.types import Acquisition, AlertKind, Gap, GapCause, Inspection, Reason, Verdict
from edge.station.gate import AlertGate, DropMerger, GateRule

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
FREE = Acquisition.FREE
VERDICTS = {"G": Verdict.GOOD, "D": Verdict.DEFECTIVE, "U": Verdict.UNDECIDED, "R": Verdict.UNDECIDED}
REASONS = {"U": Reason.ENGINE_ERROR, "R": Reason.REVIEW}


def alerts(rule: GateRule, verdicts: str, period_s: float = 0.1, acquisition: Acquisition = FREE) -> list[str]:
    """One letter for each frame: what the gate said to it ('.' for nothing)."""
    gate, said = AlertGate(rule, acquisition), []
    for i, letter in enumerate(verdicts):
        out = gate.update(Inspection(i + 1, int(i * period_s * 1e9), NOW, VERDICTS[letter], reason=REASONS.get(letter)))
        said.append(out[0].kind.value[0] if out else ".")
    return said


def test_a_triggered_part_stands_for_itself() -> None:
    assert "".join(alerts(GateRule(), "GDDGUUD", acquisition=Acquisition.TRIGGERED)) == ".dd.uud"


def test_k_of_n_frames_raise_one_alert_until_it_is_cleared() -> None:
    assert "".join(alerts(GateRule(2, 3), "GDGGDDDDGGG")) == ".....d...c."


def test_a_single_bad_frame_raises_nothing_in_a_stream() -> None:
    assert set(alerts(GateRule(2, 3), "GDGGGDGGG")) == {"."}


def test_a_defect_that_stays_is_repeated_after_the_hold_off() -> None:
    assert "".join(alerts(GateRule(2, 3, hold_off_s=0.35), "DDDDDDDD")) == ".d...d.."


def test_a_blind_stream_says_so_once_until_it_sees_again() -> None:
    assert "".join(alerts(GateRule(2, 3), "GUUUGU")) == ".u...u"


def test_undecided_frames_never_count_towards_cleared() -> None:
    assert "c" not in alerts(GateRule(2, 3), "DDUUU")


def test_every_triggered_part_in_review_is_told() -> None:
    assert "".join(alerts(GateRule(), "GRRGD", acquisition=Acquisition.TRIGGERED)) == ".uu.d"


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ("GRGGGRGG", "........"),  # one noisy frame is no reason to call a person
        ("GRRRRGGRR", "..u.....u"),  # k of n are, once, and again when it was over
        ("GRDRGG", "...u.."),  # the same part: now it looks a little better, now a little worse
        ("GDDRRGG", "..d...c"),  # a defect alert stands already
        ("GRRUUG", "..uu.."),  # being blind is another thing, and is told
        ("DDRRR", ".d..."),  # review is not good: it clears nothing
    ],
)
def test_a_stream_in_review_is_told_by_k_of_n(verdicts: str, said: str) -> None:
    assert "".join(alerts(GateRule(2, 3), verdicts)) == said


def test_a_gap_is_an_undecided_alert() -> None:
    gap = Gap(4, 9, GapCause.CAMERA_LOST, NOW)
    (alert,) = AlertGate(GateRule(2, 3), FREE).undecided(gap)
    assert alert.kind is AlertKind.UNDECIDED and alert.gap is gap


def test_overwritten_frames_of_a_stream_raise_no_alert_but_overwritten_parts_do() -> None:
    gap = Gap(4, 9, GapCause.OVERWRITTEN, NOW)
    assert AlertGate(GateRule(2, 3), FREE).undecided(gap) == ()
    assert AlertGate(GateRule(), Acquisition.TRIGGERED).undecided(gap)[0].gap is gap


def test_a_stream_that_alerts_on_every_frame_is_cleared_too() -> None:
    assert "".join(alerts(GateRule(1, 1), "GDDGGD")) == ".d.c.d"


def test_drops_are_merged_to_one_gap_a_period_and_none_is_lost() -> None:
    now = [0.0]
    merger = DropMerger(FREE, period_s=1.0, clock=lambda: now[0])
    out = []
    for i in range(30):
        now[0] = i / 10
        out += merger.add(Gap(2 * i, 2 * i, GapCause.OVERWRITTEN, NOW))
    out += merger.flush()
    assert 3 <= len(out) <= 4 and sum(gap.count for gap in out) == 30
    assert out[-1].last_id == 58


def test_a_lost_camera_is_told_at_once_after_the_drops_before_it() -> None:
    merger = DropMerger(FREE, period_s=1.0, clock=lambda: 0.0)
    merger.add(Gap(1, 1, GapCause.OVERWRITTEN, NOW))
    drop, lost = Gap(3, 3, GapCause.OVERWRITTEN, NOW), Gap(4, 4, GapCause.CAMERA_LOST, NOW)
    assert merger.add(drop) == [] and merger.add(lost) == [drop, lost]


@pytest.mark.parametrize(("k", "n"), [(0, 1), (3, 2), (-1, 5)])
def test_an_impossible_rule_is_refused(k: int, n: int) -> None:
    with pytest.raises(SettingsError, match="k of n"):
        GateRule(k, n)
