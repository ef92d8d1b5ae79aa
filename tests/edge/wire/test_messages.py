"""The wire format and the records on it, from the requirement: strict frames, finite numbers, an OK that is earned."""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.core.errors import EdgeError, SettingsError
from edge.core.types import Alert, AlertKind, GapCause, Reason, ScaleScore, Verdict
from edge.wire.encoding import to_body, to_frames
from edge.wire.facts import HealthSnapshot, Stamp
from edge.wire.messages import MAX_BODY_BYTES, Station, WireError, as_historical, decode, dump_object
from edge.wire.recording import (
    alert_record,
    birth_record,
    death_record,
    gap_record,
    heartbeat_record,
    result_record,
    rfc3339,
    state_record,
)
from edge.wire.records import Record, ResultRecord
from edge.wire.soundness import sendable, severity_of
from edge.wire.uuid7 import Uuid7
from edge.wire.vocabulary import Kind, StationState
from tests.edge import samples
from tests.edge.samples import EPOCH, MOMENT

ALL_RECORDS: list[Record] = [
    birth_record(samples.origin(), samples.stamp()),
    death_record(samples.origin(), samples.stamp(), "stopped"),
    heartbeat_record(samples.origin(), samples.stamp(), samples.health()),
    state_record(samples.origin(), samples.stamp(), StationState.DEGRADED),
    result_record(samples.origin(), samples.stamp(), samples.good(), 12.5),
    alert_record(samples.origin(), samples.stamp(), samples.alert(samples.defective())),
    gap_record(samples.origin(), samples.stamp(), samples.gap(3, 9)),
]


def body_of(inspection: Any, **changes: Any) -> dict[str, Any]:
    return to_body(result_record(samples.origin(**changes), samples.stamp(), inspection))


def a_result() -> ResultRecord:
    return result_record(samples.origin(), samples.stamp(), samples.good())


def valid_frames(seq: int = 5) -> list[bytes]:
    return list(to_frames(result_record(samples.origin(), samples.stamp(seq), samples.good())))


# --- frames ---


def test_frames_are_topic_seq_epoch_properties_body() -> None:
    topic, seq, epoch, properties, body = valid_frames(seq=258)

    assert topic == b"ei1/plant/line1/st4/result/"
    assert seq == bytes([0, 0, 0, 0, 0, 0, 1, 2])
    assert epoch == EPOCH
    assert json.loads(properties) == {"content_type": "application/json", "schema": "edge-inspect.result/1.3"}
    assert json.loads(body)["part_id"] == "P1"


@pytest.mark.parametrize("record", ALL_RECORDS, ids=lambda record: record.KIND.value)
def test_every_kind_survives_the_wire(record: Record) -> None:
    message = decode(to_frames(record))

    assert (message.kind, message.seq, message.epoch) == (record.KIND.value, 1, EPOCH)
    assert message.body == to_body(record)
    assert message.is_transient is (record.KIND is Kind.HEARTBEAT)
    assert not message.is_historical


def test_an_unknown_value_is_left_out_and_null_is_never_sent() -> None:
    for record in ALL_RECORDS:
        assert b"null" not in to_frames(record)[4]
    assert "trigger_id" not in body_of(samples.good())
    assert body_of(samples.good())["defects"] == []


def test_sent_again_a_message_is_historical_and_its_body_unchanged() -> None:
    frames = valid_frames()

    again = as_historical(frames)

    assert decode(again).is_historical
    assert again[:3] == frames[:3]
    assert again[4] == frames[4]


@pytest.mark.parametrize("seq", [-1, 2**64])
def test_a_number_outside_64_bits_is_refused(seq: int) -> None:
    with pytest.raises(ValueError, match="u64"):
        to_frames(replace(ALL_RECORDS[0], seq=seq))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_never_goes_out(number: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        to_frames(replace(a_result(), anomaly_score=number))
    with pytest.raises(ValueError, match="JSON"):
        dump_object({"score": number})


def test_a_body_over_the_limit_is_refused_on_both_sides() -> None:
    with pytest.raises(ValueError, match="at most 32768"):
        to_frames(replace(a_result(), result_evaluation_details="x" * MAX_BODY_BYTES))
    with pytest.raises(WireError, match="at most 32768"):
        decode([*valid_frames()[:4], b'{"text":"' + b"x" * MAX_BODY_BYTES + b'"}'])


def with_frame(index: int, frame: bytes) -> list[bytes]:
    frames = valid_frames()
    frames[index] = frame
    return frames


def with_body(**changes: Any) -> list[bytes]:
    return with_frame(4, json.dumps({**json.loads(valid_frames()[4]), **changes}).encode())


def with_properties(**changes: Any) -> list[bytes]:
    return with_frame(3, json.dumps({**json.loads(valid_frames()[3]), **changes}).encode())


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ([], "5 frames"),
        (valid_frames()[:4], "5 frames"),
        ([*valid_frames(), b""], "5 frames"),
        (with_frame(0, b"ei2/plant/line1/st4/result/"), "knows wire version ei1 only"),
        (with_frame(0, b"ei1/plant/line1/st4/result"), "is not ei1/"),
        (with_frame(0, b"ei1/plant/line1/s t/result/"), "is not ei1/"),
        (with_frame(0, b"ei1/" + b"x" * 300), "topic has 304 bytes"),
        (with_frame(0, b"\xff\xfe"), "knows wire version"),
        (with_frame(1, b"\0" * 7), "seq has 8 bytes"),
        (with_frame(2, b"\0" * 15), "epoch 16"),
        (with_frame(3, b"[]"), "must be a JSON object"),
        (with_frame(3, b"{}"), "content_type"),
        (with_properties(schema="edge-inspect.result/2.0"), "major version 1 only"),
        (with_properties(schema="edge-inspect.alert/1.2"), "is not edge-inspect.result/"),
        (with_properties(schema=7), "is not edge-inspect.result/"),
        (with_properties(content_type="image/jpeg"), "content_type"),
        (with_frame(4, b"not json"), "body is not JSON"),
        (with_frame(4, b"\xff"), "body is not JSON"),
        (with_frame(4, '{"a": 1}'.encode("utf-16")), "body is not JSON"),
        (with_frame(4, b'{"anomaly_score": NaN}'), "NaN is not a JSON number"),
        (with_frame(4, b'{"anomaly_score": -Infinity}'), "-Infinity is not a JSON number"),
        (with_frame(4, b'{"anomaly_score": 1e999}'), "too large"),
        (with_frame(4, b"[" * 30_000), "body is not JSON"),
        (with_frame(4, b'{"n": ' + b"9" * 9000 + b"}"), "body"),
        (with_body(seq=6), "body says seq 6"),
        (with_body(seq=5.0), "body says seq 5.0"),
        (with_body(kind="alert"), "body says kind"),
        (with_body(epoch="00" * 16), "body says epoch"),
    ],
)
def test_a_malformed_message_is_refused_with_the_reason(frames: list[bytes], why: str) -> None:
    with pytest.raises(WireError, match=why) as caught:
        decode(frames)
    assert isinstance(caught.value, EdgeError)


def test_a_later_minor_version_with_unknown_fields_is_read() -> None:
    schema = "edge-inspect.result/1.7"
    frames = with_body(schema=schema, colour_of_the_part="blue")
    frames[3] = with_properties(schema=schema, compression=None)[3]

    assert decode(frames).body["colour_of_the_part"] == "blue"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=64), max_size=7))
def test_no_bytes_make_decode_fail_otherwise_than_by_refusal(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        decode(frames)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 4), st.integers(0, 400), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_leaves_a_readable_message(index: int, at: int, flip: int) -> None:
    frames = valid_frames()
    frame = bytearray(frames[index])
    frame[at % len(frame)] ^= flip
    frames[index] = bytes(frame)

    try:
        message = decode(frames)
    except WireError:
        return
    assert message.seq == struct.unpack(">Q", frames[1])[0]


# --- stations ---


@pytest.mark.parametrize("name", ["", "a/b", "a b", "ü", "x" * 33, "a\n", "*"])
def test_a_topic_part_that_would_break_a_filter_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match="line"):
        Station(line=name)


# --- verdicts ---


@pytest.mark.parametrize(
    ("inspection", "evaluation", "state"),
    [
        (samples.good(), 1, 1),
        (samples.defective(), 2, 1),
        (samples.undecided(reason=Reason.REVIEW), 3, 1),
        (samples.undecided(reason=Reason.LATE), 3, 1),
        (samples.undecided(reason=Reason.ENGINE_ERROR), 3, 4),
        (samples.undecided(reason=Reason.NON_FINITE), 3, 4),
        (samples.undecided(reason=Reason.QUEUE_FULL), 3, 3),
    ],
)
def test_verdicts_become_evaluations(inspection: Any, evaluation: int, state: int) -> None:
    body = body_of(inspection)

    assert (body["result_evaluation"], body["result_state"]) == (evaluation, state)
    assert body.get("reason") == (inspection.reason.value if inspection.reason else None)


@pytest.mark.parametrize(
    ("detail", "fault"),
    [
        ("blurred: sharpness 0.1, good images have 0.3 or more", "blurred"),
        ("damaged in transfer: 900 of 1000 bytes came", "damaged in transfer"),
        ("roi ((0, 0), (1, 1)): it leaves nothing", None),
        ("of one piece", None),
    ],
)
def test_a_picture_that_is_not_fit_says_its_fault_in_a_word(detail: str, fault: str | None) -> None:
    body = body_of(samples.undecided(reason=Reason.HEALTH_GATE, detail=detail))
    assert (body["result_evaluation"], body["reason"], body.get("picture_fault")) == (3, "health_gate", fault)
    assert "picture_fault" not in body_of(samples.undecided(reason=Reason.LATE, detail=detail))


def test_a_state_says_why_and_what_to_do_where_no_part_does() -> None:
    body = to_body(state_record(samples.origin(), samples.stamp(), StationState.DEGRADED, "the lot " * 99, "look"))
    assert (body["state"], len(body["cause"]), body["advice"]) == ("degraded", 512, "look")
    assert "cause" not in to_body(state_record(samples.origin(), samples.stamp(), StationState.RUNNING))


def test_a_part_in_review_goes_out_with_its_score_scales_and_defects() -> None:
    seen = samples.defective(7, verdict=Verdict.UNDECIDED, score=2.5, reason=Reason.REVIEW, detail="look at the part")
    message = decode(to_frames(result_record(samples.origin(), samples.stamp(), seen)))

    assert sendable(seen) is seen
    assert (message.body["result_evaluation"], message.body["result_state"], message.body["severity"]) == (3, 1, 500)
    assert (message.body["reason"], message.body["result_evaluation_details"]) == ("review", "look at the part")
    assert (message.body["anomaly_score"], message.body["threshold"]) == (2.5, 3.0)
    assert len(message.body["defects"]) == len(message.body["scales"]) == 1


def test_birth_says_where_review_begins_and_nothing_where_there_is_none() -> None:
    with_zone = to_body(birth_record(samples.origin(review_threshold=2.0), samples.stamp()))

    assert with_zone["review_threshold"] == 2.0
    assert "review_threshold" not in to_body(birth_record(samples.origin(), samples.stamp()))
    with pytest.raises(ValueError, match="review_threshold"):
        samples.origin(review_threshold=math.nan)


UNSOUND = [
    (samples.good(score=math.nan), Reason.NON_FINITE),
    (samples.good(score=math.inf), Reason.NON_FINITE),
    (samples.good(score=np.float32("nan")), Reason.NON_FINITE),
    (samples.good(threshold=math.nan), Reason.NON_FINITE),
    (samples.defective(defects=(replace(samples.defect(), area_mm2=math.inf),)), Reason.NON_FINITE),
    (samples.good(scales=(ScaleScore(17, math.nan, 0.0, 1.0),)), Reason.NON_FINITE),
    (samples.undecided(reason=Reason.ENGINE_ERROR, score=math.nan), Reason.ENGINE_ERROR),
    (samples.good(score=None), Reason.ENGINE_ERROR),
    (samples.good(threshold=None), Reason.ENGINE_ERROR),
    (samples.good(verdict=Verdict.UNDECIDED, reason=None), Reason.ENGINE_ERROR),
    (samples.good(late=True), Reason.LATE),
]


@pytest.mark.parametrize(("inspection", "reason"), UNSOUND)
def test_an_unsound_inspection_is_refused_and_can_be_sent_as_undecided_only(inspection: Any, reason: Reason) -> None:
    with pytest.raises(ValueError, match="UNDECIDED"):
        body_of(inspection)

    body = body_of(sendable(inspection))

    assert (body["result_evaluation"], body["reason"]) == (3, reason.value)
    assert "anomaly_score" not in body
    assert body["part_id"] == inspection.part_id


def test_a_sound_inspection_is_sent_as_it_is() -> None:
    inspection = samples.defective(late=True)

    assert sendable(inspection) is inspection
    assert body_of(inspection)["late"] is True


def test_severity_is_1_for_good_500_at_the_threshold_and_rises_with_the_score() -> None:
    severities = [severity_of(samples.defective(score=score, threshold=3.0)) for score in (3.0, 6.0, 12.0, 3e9)]

    assert severity_of(samples.good()) == 1
    assert severities == [500, 750, 875, 1000]
    assert severity_of(samples.undecided()) == 500


@pytest.mark.parametrize("threshold", [-0.4, 0.0, 0.2])
def test_severity_rises_from_500_around_a_threshold_near_0_too(threshold: float) -> None:
    """On the scale of quantiles a threshold may lie at 0 or below; a part just above it is no total loss."""
    above = (0.0, 0.5, 1.5, 3e9)
    severities = [severity_of(samples.defective(score=threshold + by, threshold=threshold)) for by in above]

    assert severities == [500, 750, 875, 1000]


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
@example(5e-324, 1e9)
def test_severity_always_stays_in_its_range(score: float, threshold: float) -> None:
    assert 500 <= severity_of(samples.defective(score=score, threshold=threshold)) <= 1000


# --- contents ---


def test_a_result_says_what_was_measured() -> None:
    body = to_body(result_record(samples.origin(deadline_ms=80.0), samples.stamp(), samples.defective(7), 42.5))

    assert body["image"] == {"frame_id": 7, "width_px": 640, "height_px": 480}
    assert body["acquired"] == "2026-03-04T05:06:07.123456Z"
    assert (body["latency_ms"], body["deadline_ms"], body["processing_duration_ms"]) == (42.5, 80.0, 23.5)
    assert body["internal_recipe"] == {"id": "washer", "version": "3", "hash": "ab" * 32, "hash_algorithm": "sha256"}
    (defect,) = body["defects"]
    assert defect["bbox_px"] == [10, 20, 30, 40]
    assert defect["driven_by"] == {"patch_size": 33, "term": "regression_error"}


def test_numbers_of_numpy_become_plain_numbers() -> None:
    body = body_of(samples.good(score=np.float32(0.5), threshold=np.float64(2.5), frame_size=(np.int64(3), 4)))

    assert (body["anomaly_score"], body["threshold"], body["image"]["height_px"]) == (0.5, 2.5, 3)


def test_only_the_32_highest_defects_are_sent_and_the_rest_is_admitted() -> None:
    defects = tuple(samples.defect(score) for score in range(1, 41))

    body = body_of(samples.defective(defects=defects))

    assert [found["score_max"] for found in body["defects"]] == list(range(40, 8, -1))
    assert body["is_partial"] is True
    assert body_of(samples.defective())["is_partial"] is False


def test_a_long_polygon_is_thinned_to_64_of_its_own_points() -> None:
    found = samples.defect(points=1000)

    polygon = body_of(samples.defective(defects=(found,)))["defects"][0]["polygon_px"]

    assert len(polygon) == 64
    assert set(map(tuple, polygon)) <= set(found.polygon_px)


def test_the_largest_record_fits() -> None:
    corner = (65535, 65535)
    widest = replace(
        samples.defect(),
        box_px=(*corner, *corner),
        centroid_px=(-1.2345678901234567e-200,) * 2,
        polygon_px=(corner,) * 5000,
        score_max=-1.2345678901234567e-200,
        score_mean=-1.2345678901234567e-200,
        area_px=1.2345678901234567e-200,
        area_mm2=1.2345678901234567e-200,
        length_mm=1.2345678901234567e-200,
    )
    long_id = "\N{GRINNING FACE}" * 5000
    inspection = samples.defective(
        defects=(widest,) * 40, scales=samples.good().scales * 3, part_id=long_id, trigger_id=long_id
    )
    where = samples.origin(product_id=long_id, batch_id=long_id, job_id=long_id)
    gap = samples.gap(1, 9000, part_ids=(long_id,) * 9000, detail=long_id)

    alert = Alert(AlertKind.DEFECT, MOMENT, inspection, gap)
    result = result_record(where, samples.stamp(2**63), inspection)
    assert len(to_frames(result)[4]) <= MAX_BODY_BYTES
    assert len(to_frames(gap_record(where, samples.stamp(), gap))[4]) <= MAX_BODY_BYTES
    assert len(to_frames(alert_record(where, samples.stamp(), replace(alert, gap=None)))[4]) <= MAX_BODY_BYTES


def test_a_file_name_that_is_no_text_still_goes_out() -> None:
    """Python reads undecodable bytes of a file name as lone surrogates, which UTF-8 refuses."""
    frames = to_frames(result_record(samples.origin(), samples.stamp(), samples.good(part_id="a\udcff\x1b[2Jb")))

    assert re.fullmatch(r"a\?\?\[2Jb…[0-9a-f]{16}", decode(frames).body["part_id"])


def test_a_gap_is_not_decidable_and_names_the_parts_it_can() -> None:
    body = to_body(gap_record(samples.origin(), samples.stamp(), samples.gap(3, 9, part_ids=("a", "b"))))

    assert (body["result_evaluation"], body["reason"], body["is_partial"]) == (3, "gap", True)
    assert (body["gap"]["first_frame_id"], body["gap"]["last_frame_id"], body["gap"]["count"]) == (3, 9, 7)
    full = to_body(gap_record(samples.origin(), samples.stamp(), samples.gap(1, 1, GapCause.QUEUE_FULL)))
    assert full["reason"] == "queue_full"


def test_an_alert_is_about_an_inspection_or_a_gap_and_never_about_nothing() -> None:
    about_gap = Alert(AlertKind.UNDECIDED, MOMENT, gap=samples.gap(3, 9))

    defect = to_body(alert_record(samples.origin(), samples.stamp(), samples.alert(samples.defective(4))))
    blind = to_body(alert_record(samples.origin(), samples.stamp(), about_gap))

    assert (defect["alert"], defect["result_evaluation"], defect["image"]["frame_id"]) == ("defect", 2, 4)
    assert (blind["alert"], blind["result_evaluation"], blind["gap"]["count"]) == ("undecided", 3, 7)
    with pytest.raises(ValueError, match="inspection or a gap"):
        alert_record(samples.origin(), samples.stamp(), Alert(AlertKind.UNDECIDED, MOMENT))


def test_a_birth_tells_no_password() -> None:
    where = samples.origin(camera_uri="rtsp://admin:secret@10.0.0.7:554/live")

    assert birth_record(where, samples.stamp()).camera_uri == "rtsp://10.0.0.7:554/live"


def test_a_heartbeat_carries_the_head_and_counts_that_balance() -> None:
    body = to_body(heartbeat_record(samples.origin(), samples.stamp(77), samples.health(), 2))

    assert (body["seq"], body["head_seq"], body["sink_failures"]) == (77, 77, 2)
    assert body["captured"] == body["inspected"] + body["skipped"] + body["undecided"] + body["in_flight"]


@pytest.mark.parametrize("change", [{"fps": math.nan}, {"uptime_s": math.inf}, {"state": "dancing"}])
def test_impossible_health_is_refused_where_it_is_made(change: dict[str, Any]) -> None:
    facts = {name: getattr(samples.health(), name) for name in HealthSnapshot.__slots__}

    with pytest.raises(ValueError):
        HealthSnapshot(**{**facts, **change})


def test_a_threshold_that_is_not_finite_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="image_threshold"):
        samples.origin(image_threshold=math.nan)


def test_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="UTC"):
        rfc3339(MOMENT.replace(tzinfo=None))
    with pytest.raises(ValueError, match="UTC"):
        state_record(samples.origin(), Stamp(EPOCH, 1, "", MOMENT.replace(tzinfo=None)), StationState.RUNNING)


def test_only_good_is_ok() -> None:
    for inspection in (samples.good(), samples.defective(), *(samples.undecided(reason=reason) for reason in Reason)):
        is_ok = body_of(inspection)["result_evaluation"] == 1
        assert is_ok is (inspection.verdict is Verdict.GOOD)


# --- uuid7 ---


def test_ids_are_of_version_7_and_carry_the_time() -> None:
    made = Uuid7(lambda: 0x0195_610C_3C83)()

    assert (made.version, made.variant) == (7, UUID("0195610c-3c83-7000-8000-000000000001").variant)
    assert made.int >> 80 == 0x0195_610C_3C83


def test_ids_rise_while_the_clock_stands_still_or_steps_back() -> None:
    clock = iter([1000, 1000, 1000, 3, 999, 1001, 1000])
    make = Uuid7(lambda: next(clock))

    ids = [make() for _ in range(7)]

    assert ids == sorted(set(ids))
    assert {made.version for made in ids} == {7}
