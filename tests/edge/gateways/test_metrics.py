"""What the exporter makes of a station's messages; who scrapes it is in tests/gateways."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from edge.core.types import Reason
from edge.gateways.metrics import StationFigures
from edge.gateways.metrics_command import command, lag_of
from edge.wire.encoding import to_frames
from edge.wire.facts import Stamp
from edge.wire.messages import Message, as_historical, decode
from edge.wire.recording import birth_record, gap_record, heartbeat_record, result_record
from edge.wire.records import Record
from tests.edge import samples

ORIGIN = samples.origin()
WHO = {"site": "plant", "line": "line1", "station": "st4"}


def heard(record: Record, *, is_historical: bool = False) -> Message:
    frames = to_frames(record)
    return decode(as_historical(frames) if is_historical else frames)


def stamp(seq: int) -> Stamp:
    return Stamp(samples.EPOCH, seq, samples.RESULT_ID, samples.MOMENT)


class Scraped:
    """Figures that took these messages, and what a registry finds in them."""

    def __init__(self, *messages: Message) -> None:
        self.now_s = 100.0
        self.figures, self.registry = StationFigures(lambda: self.now_s), CollectorRegistry()
        self.registry.register(self.figures)
        for message in messages:
            self.figures.take(message)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"edge_inspect_{name}", {**WHO, **labels})


def test_parts_are_counted_by_verdict_reason_and_recipe_and_old_ones_are_not() -> None:
    scraped = Scraped(
        heard(result_record(ORIGIN, stamp(1), samples.good())),
        heard(result_record(ORIGIN, stamp(2), samples.good())),
        heard(result_record(ORIGIN, stamp(3), samples.defective())),
        heard(result_record(ORIGIN, stamp(4), samples.undecided(reason=Reason.HEALTH_GATE))),
        heard(gap_record(ORIGIN, stamp(5), samples.gap(10, 14))),
        heard(result_record(ORIGIN, stamp(1), samples.good()), is_historical=True),
    )

    def parts(verdict: str, reason: str = "none") -> float | None:
        return scraped.value("parts_total", verdict=verdict, reason=reason, recipe="washer 3")

    assert (parts("ok"), parts("not_ok")) == (2, 1)
    assert (parts("not_decidable", "health_gate"), parts("not_decidable", "gap")) == (1, 5)
    assert scraped.value("records_missed_total") == 0


def test_latency_and_score_are_histograms_in_base_units() -> None:
    scraped = Scraped(
        heard(result_record(ORIGIN, stamp(1), samples.good(score=1.5, threshold=3.0), 30.0)),
        heard(result_record(ORIGIN, stamp(2), samples.defective(score=6.0, threshold=3.0), 700.0)),
    )
    assert scraped.value("latency_seconds_bucket", le="0.05") == 1
    assert scraped.value("latency_seconds_count") == 2
    assert scraped.value("latency_seconds_sum") == pytest.approx(0.73)
    assert scraped.value("score_ratio_bucket", le="0.6") == 1 and scraped.value("score_ratio_bucket", le="+Inf") == 2
    assert scraped.value("score_ratio_sum") == pytest.approx(2.5)


def test_a_hole_in_the_numbers_is_counted() -> None:
    scraped = Scraped(
        heard(result_record(ORIGIN, stamp(1), samples.good())), heard(result_record(ORIGIN, stamp(5), samples.good()))
    )
    assert scraped.value("records_missed_total") == 3


def test_a_heartbeats_age_grows_and_old_records_do_not_make_it_younger() -> None:
    scraped = Scraped(heard(heartbeat_record(ORIGIN, stamp(1), samples.health())))
    assert scraped.value("heartbeat_age_seconds") == 0
    assert scraped.value("state", state="running") == 1 and scraped.value("state", state="critical") == 0
    scraped.now_s += 7
    scraped.figures.take(heard(birth_record(ORIGIN, stamp(1)), is_historical=True))
    assert scraped.value("heartbeat_age_seconds") == 7
    info = {"version": "0.1.0", "engine": "onnxruntime 1.20", "recipe": "washer 3"}
    assert scraped.value("info", **info, hash="ab" * 6, commissioning="none") == 1


def test_before_the_station_has_spoken_its_silence_is_a_figure_already() -> None:
    scraped = Scraped()
    scraped.now_s += 5
    unknown = dict.fromkeys(WHO, "unknown")
    assert scraped.registry.get_sample_value("edge_inspect_heartbeat_age_seconds", unknown) == 5


def test_what_drifts_is_one_and_afterwards_nought() -> None:
    drifting: Any = heard(heartbeat_record(ORIGIN, stamp(1), samples.health()))
    drifting.body["drifting"] = ["brightness"]
    scraped = Scraped(drifting)
    assert scraped.value("drift", measure="brightness") == 1
    scraped.figures.take(heard(heartbeat_record(ORIGIN, stamp(1), samples.health())))
    assert scraped.value("drift", measure="brightness") == 0


def test_a_consumers_lag_is_what_it_has_not_acknowledged() -> None:
    own, older = samples.EPOCH.hex(), "00" * 16
    consumers = [
        {"consumer": "mes", "epoch": own, "seq": 40},
        {"consumer": "page", "epoch": own, "seq": 42},
        {"consumer": "old", "epoch": older, "seq": 9},
    ]
    lag = lag_of({"epoch": own, "head_seq": 42, "consumers": consumers})
    assert lag == {"mes": 2, "page": 0, "old": 42}
    scraped = Scraped()
    scraped.figures.lag(lag)
    unknown = dict.fromkeys(WHO, "unknown")
    assert scraped.registry.get_sample_value("edge_inspect_journal_lag", {**unknown, "consumer": "mes"}) == 2


@pytest.mark.parametrize("wrong", ["9877", "127.0.0.1", ":9877", "host:0", "host:99999", "host:http"])
def test_a_wrong_address_is_refused_with_how_to_write_it(wrong: str) -> None:
    answer = CliRunner().invoke(command, ["--listen", wrong])
    assert answer.exit_code == 2 and "HOST:PORT" in answer.output
