"""The shipped JSON Schema is the code's, and what the code sends is valid by it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge.core.types import Alert, AlertKind, Challenged, Measures, Reason, Verdict
from edge.wire.encoding import to_body
from edge.wire.recording import (
    alert_record,
    birth_record,
    challenge_record,
    death_record,
    drift_record,
    gap_record,
    heartbeat_record,
    result_record,
    state_record,
)
from edge.wire.records import RECORDS, Record
from edge.wire.schema import SCHEMA_FILE, build_schema, schema_text
from edge.wire.validation import checks_of, require_valid
from edge.wire.vocabulary import (
    ChallengeItemRecord,
    ChallengeState,
    DriftState,
    HoldRecord,
    Kind,
    ResultEvaluation,
    StationState,
)
from tests.edge import samples

OLD = Path(__file__).parents[2] / "wire"  # what earlier versions said, for as long as their consumers run
WHERE = samples.origin(
    deadline_ms=80.0,
    boot_id="b",
    product_id="p",
    batch_id="q",
    job_id="r",
    trigger="control",
    trigger_window_ms=80.0,
    camera_latency_ms=(40.0, 70.0),
)
RECORDS_TO_CHECK: list[Record] = [
    result_record(WHERE, samples.stamp(), samples.good(asked_ns=1, is_repeat=True), 1.0),
    birth_record(WHERE, samples.stamp()),
    death_record(WHERE, samples.stamp(), "stopped"),
    heartbeat_record(WHERE, samples.stamp(), samples.health()),
    state_record(WHERE, samples.stamp(), StationState.RUNNING),
    result_record(WHERE, samples.stamp(), samples.good(), 1.0),
    result_record(samples.origin(), samples.stamp(), samples.defective(part_id=None, frame_size=None)),
    result_record(WHERE, samples.stamp(), samples.undecided()),
    result_record(
        WHERE, samples.stamp(), samples.undecided(reason=Reason.REVIEW, score=2.0, defects=(samples.defect(),))
    ),
    birth_record(samples.origin(review_threshold=2.0, forecast=samples.FORECAST), samples.stamp()),
    alert_record(WHERE, samples.stamp(), samples.alert(samples.defective())),
    alert_record(WHERE, samples.stamp(), Alert(AlertKind.UNDECIDED, samples.MOMENT, gap=samples.gap(1, 2))),
    gap_record(WHERE, samples.stamp(), samples.gap(1, 5, part_ids=("a",))),
    result_record(WHERE, samples.stamp(), samples.good(measures=Measures(118.2, 0.0, 0.21, 0.98, (3, -2)))),
    result_record(
        WHERE,
        samples.stamp(),
        samples.undecided(reason=Reason.REVIEW, challenge=Challenged("r", "p", Verdict.DEFECTIVE, Verdict.GOOD)),
    ),
    birth_record(samples.origin(promise=samples.PROMISE, bands=samples.BANDS), samples.stamp()),
    heartbeat_record(WHERE, samples.stamp(), replace(samples.health(), frames_dropped=3, challenge_due_s=60.0)),
]
ITEM = ChallengeItemRecord(piece="p", expected=ResultEvaluation.NOT_OK, evaluation=ResultEvaluation.OK, problem="good")
NEW_KINDS: list[Record] = [  # what a consumer of an earlier version passes over
    challenge_record(
        WHERE,
        samples.stamp(),
        ChallengeState.FAILED,
        cause="it was aborted",
        run_id="r",
        items=(ITEM,),
        hold=HoldRecord(epoch="00" * 16, after_seq=4),
    ),
    challenge_record(WHERE, samples.stamp(), ChallengeState.OVERDUE, hold=HoldRecord()),
    drift_record(
        WHERE,
        samples.stamp(),
        measure="brightness",
        cause="lamp",
        advice="check the lamp",
        state=DriftState.BEGUN,
        baseline=118.0,
        now=105.0,
        limit=80.0,
        since=samples.MOMENT,
        reaches_limit_s=3600.0,
    ),
]


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without room for unknown fields, so that a misspelt one is found."""
    schema = copy.deepcopy(schema)
    for definition in schema["$defs"].values():
        definition["additionalProperties"] = False
    return schema


def test_the_shipped_schema_is_up_to_date() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "run python -m edge.wire.schema --write"


def test_the_schema_is_a_valid_schema_with_one_choice_for_each_kind() -> None:
    schema = build_schema()

    jsonschema.Draft202012Validator.check_schema(schema)
    assert {record.KIND for record in RECORDS} == set(Kind)
    assert len(schema["oneOf"]) == len(Kind) + 1  # a gap speaks of parts or of history


@pytest.mark.parametrize("record", [*RECORDS_TO_CHECK, *NEW_KINDS], ids=lambda record: record.KIND.value)
def test_every_record_is_valid(record: Record) -> None:
    body = json.loads(json.dumps(to_body(record)))

    jsonschema.Draft202012Validator(build_schema()).validate(body)
    jsonschema.Draft202012Validator(closed(build_schema())).validate(body)


@pytest.mark.parametrize(
    "change",
    [
        {"severity": 0},
        {"severity": 1001},
        {"result_evaluation": 4},
        {"reason": "because"},
        {"kind": "alert"},
        {"schema": "edge-inspect.result/2.0"},
        {"epoch": "xyz"},
        {"site": "a/b"},
        {"anomaly_score": "high"},
        {"threshold": None},
        {"latency_ms": -1},
        {"created": "2026-03-04 05:06:07"},
        {"defects": [{"defect_id": 0}]},
    ],
)
def test_a_wrong_record_is_not_valid(change: dict[str, Any]) -> None:
    body = {**to_body(result_record(WHERE, samples.stamp(), samples.good())), **change}

    assert not jsonschema.Draft202012Validator(build_schema()).is_valid(body)


@pytest.mark.parametrize("missing", ["result_id", "result_evaluation", "acquired", "image", "is_partial", "schema"])
def test_a_record_without_a_required_field_is_not_valid(missing: str) -> None:
    body = to_body(result_record(WHERE, samples.stamp(), samples.good()))
    del body[missing]

    assert not jsonschema.Draft202012Validator(build_schema()).is_valid(body)


@pytest.mark.parametrize("version", sorted(one.name for one in OLD.iterdir() if one.is_dir()))
@pytest.mark.parametrize("record", RECORDS_TO_CHECK, ids=lambda record: record.KIND.value)
def test_a_consumer_of_an_earlier_version_takes_every_record(version: str, record: Record) -> None:
    """W40: what is new are fields that it ignores; no enumeration has gained a value."""
    body = json.loads(json.dumps(to_body(record)))
    schema = json.loads((OLD / version / "record.schema.json").read_text())

    require_valid(record.KIND.value, body, checks_of(schema))
    old = {**body, "schema": f"edge-inspect.{record.KIND.value}/{version}"}
    jsonschema.Draft202012Validator(schema).validate(old)


@pytest.mark.parametrize("version", sorted(one.name for one in OLD.iterdir() if one.is_dir()))
def test_a_kind_that_an_earlier_version_does_not_know_is_passed_over(version: str) -> None:
    """W40: its own schema says nothing of it, so its decoder has nothing against it."""
    schema = json.loads((OLD / version / "record.schema.json").read_text())
    for record in NEW_KINDS:
        require_valid(record.KIND.value, json.loads(json.dumps(to_body(record))), checks_of(schema))


@pytest.mark.parametrize("version", sorted(one.name for one in OLD.iterdir() if one.is_dir()))
def test_records_of_an_earlier_version_are_still_read(version: str) -> None:
    for text in (OLD / version / "records.jsonl").read_text().splitlines():
        body = json.loads(text)
        require_valid(body["kind"], body)
