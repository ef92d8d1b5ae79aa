"""When inspections become alerts."""

from datetime import datetime, timezone

import pytest

from edge.core.errors import SettingsError
from edge.core.types import AlertKind, Gap, GapCause, Inspection, Reason, Verdict
from edge.gate import AlertGate, GateRule

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
VERDICTS = {"G": Verdict.GOOD, "D": Verdict.DEFECTIVE, "U": Verdict.UNDECIDED}


def alerts(rule: GateRule, verdicts: str, period_s: float = 0.1) -> list[str]:
    """One letter for each frame: what the gate said to it ('.' for nothing)."""
    gate, said = AlertGate(rule), []
    for i, letter in enumerate(verdicts):
        reason = Reason.ENGINE_ERROR if letter == "U" else None
        out = gate.update(Inspection(i + 1, int(i * period_s * 1e9), NOW, VERDICTS[letter], reason=reason))
        said.append(out[0].kind.value[0] if out else ".")
    return said


def test_a_triggered_part_stands_for_itself() -> None:
    assert "".join(alerts(GateRule(), "GDDGUUD")) == ".dd.uud"


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


def test_a_gap_is_an_undecided_alert() -> None:
    gap = Gap(4, 9, GapCause.OVERWRITTEN, NOW)
    (alert,) = AlertGate(GateRule(2, 3)).undecided(gap)
    assert alert.kind is AlertKind.UNDECIDED and alert.gap is gap


@pytest.mark.parametrize(("k", "n"), [(0, 1), (3, 2), (-1, 5)])
def test_an_impossible_rule_is_refused(k: int, n: int) -> None:
    with pytest.raises(SettingsError, match="k of n"):
        GateRule(k, n)
