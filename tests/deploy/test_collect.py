"""From what people said of rejected parts to a folder of their images: the right ones, whole, and where from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from deploy.collect import _of_station
from deploy.collected_page import page_of
from deploy.sampled import is_drawn, sampled
from deploy.station_history import Said, StationHistory, _keep, require_one_product
from edge.commands import instance
from edge.commands.edge_control import ask
from edge.core.collected import (
    FILE,
    PAGE,
    Collection,
    CollectionError,
    checked_images,
    labelled_below,
    read_collection,
    write_collection,
)
from edge.core.errors import SourceError
from edge.core.images import read_image
from edge.demo.run import BUNDLE
from edge.pictures.evidence import drawn_at
from tests.deploy.conftest import Run
from tests.edge.stub import Stub
from tests.patience import WAIT_S, wait_until

PARTS = 40  # of the stub's, every fifth of them defective


class Line(Stub):
    """A station that keeps evidence of all its parts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, pause_s=0.01)
        self.evidence = folder / "evidence"
        self.settings |= {"evidence": str(self.evidence), "evidence_good_share": 1.0}

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--replay", self.replay, "--evidence", str(self.evidence))

    def records(self, kind: str) -> list[dict[str, Any]]:
        return [message.body for message in self.history() if message.kind == kind]

    def rejected(self, count: int) -> list[dict[str, Any]]:
        """So many rejected parts, with their evidence."""
        bad: list[dict[str, Any]] = []

        def are_there() -> bool:
            found = self.history()
            bad[:] = [one.body for one in found if one.kind == "result" and one.body["result_evaluation"] == 2]
            return len(bad) >= count and sum(one.kind == "evidence" for one in found) >= PARTS

        wait_until(are_there, "no evidence was told, or too few rejected parts")
        return bad[:count]

    def say(self, about: str, **facts: str) -> None:
        disposition = {"disposition": facts.pop("disposition", "accept")}
        answer = ask(self.settings["control"], "FEEDBACK", {"about": about, **disposition, **facts}, WAIT_S)
        assert answer[0] == "DONE", answer


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    station = Line(tmp_path_factory.mktemp("line"))
    station.start()
    yield station
    Stub.end_all()


def test_what_was_called_a_false_reject_at_last_is_collected_with_where_it_is_from(
    line: Line, edge_deploy: Run, tmp_path: Path
) -> None:
    first, second, third, fourth = line.rejected(4)
    line.say(first["result_id"], label="false_reject", actor="anna")
    line.say(second["result_id"], label="true_reject", disposition="scrap")
    line.say(third["result_id"], label="false_reject")
    line.say(third["result_id"], label="unsure", disposition="unknown")  # taken back
    line.say(fourth["result_id"])  # accepted, and not said why
    out = tmp_path / "more-good"
    done = edge_deploy("collect", *line.flags, "--label", "false_reject", "--out", out)
    assert done.exit_code == 0, done.output
    found = read_collection(out)
    assert found is not None and not found.is_sample
    (part,) = found.parts
    assert (part.result_id, part.part_id, part.actor) == (first["result_id"], first["part_id"], "anna")
    assert (part.score, part.threshold) == (first["anomaly_score"], first["threshold"])
    assert part.recipe_hash == first["internal_recipe"]["hash"]
    assert part.regions[0].box_px == tuple(first["defects"][0]["bbox_px"])
    (image,) = checked_images(out, found)
    assert read_image(image)[8:16, 16:24, 0].min() == 200  # the stub's spot
    assert sorted(path.name for path in out.iterdir()) == sorted([FILE, PAGE, image.name])
    page = (out / PAGE).read_text("utf-8")
    assert image.name in page and "drove it" in page and first["part_id"] in page and "anna" in page
    assert labelled_below(tmp_path) == (out, "false_reject")
    refused = edge_deploy(
        "commission", BUNDLE, "--source", f"folder:{tmp_path}", "--commissioning", tmp_path / "c.json"
    )
    assert isinstance(refused.exception, SourceError) and "cannot judge" in str(refused.exception)
    assert str(out / PAGE) in done.stdout
    refused = edge_deploy("collect", *line.flags, "--label", "false_reject", "--out", out)
    assert refused.exit_code == 2 and "a folder of its own" in refused.output


def test_evidence_that_was_changed_or_is_gone_is_left_out_by_name(line: Line, edge_deploy: Run, tmp_path: Path) -> None:
    parts = line.rejected(7)[4:]
    for part in parts:
        line.say(part["result_id"], label="odd")
    copies = tmp_path / "evidence"
    kept = {one["about_result_id"]: one["evidence"] for one in line.records("evidence")}
    uris = [next(f["uri"] for f in kept[part["result_id"]] if f["role"] == "image") for part in parts]
    (copies / uris[0]).parent.mkdir(parents=True)
    (copies / uris[0]).write_bytes((line.evidence / uris[0]).read_bytes() + b"x")
    flags = ("--replay", line.replay, "--evidence", copies, "--label", "odd")
    none = edge_deploy("collect", *flags, "--out", tmp_path / "out")
    assert isinstance(none.exception, CollectionError) and "another SHA-256" in str(none.exception)
    assert not (tmp_path / "out").exists()
    (copies / uris[1]).parent.mkdir(parents=True, exist_ok=True)
    (copies / uris[1]).write_bytes((line.evidence / uris[1]).read_bytes())
    done = edge_deploy("collect", *flags, "--out", tmp_path / "out")
    assert done.exit_code == 0 and f"left out: {parts[0]['part_id']}: " in done.stderr
    found = read_collection(tmp_path / "out")
    assert found is not None and [part.part_id for part in found.parts] == [parts[1]["part_id"]]


def test_a_label_that_nobody_gave_says_so(line: Line, edge_deploy: Run, tmp_path: Path) -> None:
    done = edge_deploy("collect", *line.flags, "--label", "nobody", "--out", tmp_path / "out")
    assert "no image of a part labelled nobody" in str(done.exception)
    for flags in ((), ("--label", "x", "--sample", "0.5")):
        wrong = edge_deploy("collect", *line.flags, *flags, "--out", tmp_path / "out")
        assert wrong.exit_code == 2 and "one of them" in wrong.output


# --- a sample drawn before the verdict ---


def an_id(number: int) -> str:
    return f"0195610c-3c83-7000-8000-{number:012x}"


def body(number: int, good: bool, **changed: Any) -> dict[str, Any]:
    return {
        "kind": "result",
        "result_id": an_id(number),
        "part_id": f"P{number}",
        "created": f"2026-03-04T05:06:{number // 10:02}.{number % 10}00000Z",
        "result_evaluation": 1 if good else 2,
        "anomaly_score": 1.0 if good else 5.0,
        "threshold": 3.0,
        "internal_recipe": {"id": "bolt", "version": "1", "hash": "ab"},
        **changed,
    }


def a_history(count: int = 40, without: range = range(0)) -> StationHistory:
    """Every tenth part rejected; no picture of good ones in `without`."""
    found = StationHistory("plant/line/st")
    for number in range(count):
        one = body(number, good=number % 10 != 5)
        found.results[one["result_id"]] = one
        if not (number in without and one["result_evaluation"] == 1):
            digest = hashlib.sha256(one["result_id"].encode()).hexdigest()
            found.images[one["result_id"]] = f"{digest[:2]}/{digest}.png", digest
    return found


def label_all(found: StationHistory, labels: dict[int, str]) -> StationHistory:
    for number, label in labels.items():
        found.said[an_id(number)] = Said("accept" if label == "false_reject" else "scrap", label, "anna", "…")
    return found


def test_a_sample_is_of_all_parts_whatever_the_verdict_and_of_the_rejected_the_good_ones() -> None:
    found = label_all(a_history(), {5: "false_reject", 15: "true_reject", 25: "false_reject", 35: "rework"})
    found.said[an_id(7)] = Said("scrap", None, "mes", "…")  # passed, and found bad later
    names = {seen.name for seen in sampled(found).parts}
    assert names == {f"P{n}" for n in range(40)} - {"P15", "P35", "P7"}
    del found.said[an_id(25)]
    with pytest.raises(CollectionError, match="1 rejected parts of the sample have no label: P25"):
        sampled(found)


def test_the_draw_is_by_the_records_id_alone_and_at_the_stations_own_share() -> None:
    ids = [an_id(number) for number in range(2000)]
    drawn = [one for one in ids if is_drawn({"kind": "result", "result_id": one, "anomaly_score": 9.0}, 0.1)]
    assert drawn == [one for one in ids if drawn_at(one) < 0.1] and 150 < len(drawn) < 250
    assert not is_drawn({"kind": "result", "result_id": drawn[0]}, 0.1)  # not inspected
    assert not is_drawn({"kind": "alert", "result_id": drawn[0], "anomaly_score": 9.0}, 0.1)  # no part


def test_a_sample_begins_behind_what_was_dropped_and_one_with_holes_is_none() -> None:
    labels = dict.fromkeys((5, 15, 25, 35), "false_reject")
    dropped = label_all(a_history(without=range(12)), labels)  # the oldest good ones go first
    assert [seen.name for seen in sampled(dropped).parts] == [f"P{n}" for n in range(12, 40)]  # P5, kept, is not in it
    late = label_all(a_history(without=range(36, 40)), labels)  # not told yet
    assert [seen.name for seen in sampled(late).parts] == [f"P{n}" for n in range(36)]
    for hole in (range(12, 13), range(40)):
        with pytest.raises(CollectionError, match="no larger than the station's --evidence-good-share"):
            sampled(label_all(a_history(without=hole), labels))


def test_a_sample_of_a_station_is_taken_whole_or_not_at_all(line: Line, edge_deploy: Run, tmp_path: Path) -> None:
    out, first = tmp_path / "drawn", line.rejected(9)
    passed = [one for one in line.records("result") if one["result_evaluation"] == 1]
    good = min(drawn_at(one["result_id"]) for one in passed if one["created"] < first[8]["created"])
    three = sorted(drawn_at(one["result_id"]) for one in first[:8])[2]
    share = round(max(three, good) + 1e-6, 6)  # three of the eight, or more, and a part that passed
    flags = (*line.flags, "--sample", share, "--until", first[8]["created"], "--out", out)
    bad = [one for one in first[:8] if drawn_at(one["result_id"]) < share]
    line.say(bad[2]["result_id"], label="unsure")
    refused = edge_deploy("collect", *flags)
    assert isinstance(refused.exception, CollectionError) and "have no label" in str(refused.exception)
    for one in bad:
        line.say(one["result_id"], label="false_reject" if one is bad[0] else "true_reject")
    done = edge_deploy("collect", *flags)
    assert done.exit_code == 0, done.output
    found = read_collection(out)
    assert found is not None and found.is_sample and found.share == share and found.since == found.parts[0].created
    results = [one for one in line.records("result") if one["created"] < first[8]["created"]]
    drawn = [one for one in results if drawn_at(one["result_id"]) < share]
    expected = [one["part_id"] for one in drawn if one["result_evaluation"] == 1 or one == bad[0]]
    assert [part.part_id for part in found.parts] == expected and len(expected) > 1
    assert labelled_below(out) is None


# --- where a station is ---


def test_a_service_says_where_its_records_and_pictures_are_and_flags_say_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {
        "STATE_DIRECTORY": "/var/lib/edge-inspect/line1",
        "EDGE_INSPECT_EVIDENCE": "evidence",
        "EDGE_INSPECT_REPLAY": "tcp://0.0.0.0:5600",
    }
    monkeypatch.setattr(instance, "environment_of", lambda name: settings)
    kept = Path("/var/lib/edge-inspect/line1/evidence")
    assert _of_station("line1", None, None) == ("tcp://127.0.0.1:5600", kept)
    assert _of_station("line1", "tcp://st:1", Path("/copy")) == ("tcp://st:1", Path("/copy"))
    assert _of_station(None, None, Path("here")) == ("tcp://127.0.0.1:5557", Path("here"))
    with pytest.raises(click.UsageError, match="--evidence FOLDER"):
        _of_station(None, None, None)


# --- the folder itself ---


def test_parts_of_several_products_are_not_mixed() -> None:
    found = a_history(4)
    found.results[an_id(3)]["internal_recipe"] = {"id": "nut", "version": "1", "hash": "cd"}
    parts = [found.seen(an_id(number)) for number in range(4)]
    with pytest.raises(CollectionError, match="bolt, nut; say which: --product"):
        require_one_product(parts, None)
    assert [seen.name for seen in require_one_product(parts, "nut")] == ["P3"]
    assert require_one_product(parts[:3], None) == parts[:3]


def test_a_path_that_a_record_names_is_never_followed_out_of_the_folder() -> None:
    found = StationHistory()
    digest = "ab" * 32
    for uri in (f"../{digest}.png", f"/etc/{digest}.png", f"cd/{digest}.png", f"ab/{digest}.jpg"):
        file = {"uri": uri, "role": "image", "sha256": digest}
        _keep(found, {"is_dropped": False, "about_result_id": an_id(1), "evidence": [file]})
    assert found.images == {}


def test_a_collection_comes_back_as_it_was_written_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    part = a_history(1).seen(an_id(0)).collected(Said("accept", "false_reject", "anna", "then"))
    whole = Collection("false_reject", None, "a/b/c", "now", (part,))
    (tmp_path / FILE).write_bytes(write_collection(whole))
    assert read_collection(tmp_path) == whole and read_collection(tmp_path / "none") is None
    with pytest.raises(CollectionError, match="collect it again"):
        checked_images(tmp_path, whole)  # its image is not there
    (tmp_path / part.image).write_bytes(b"another")
    with pytest.raises(CollectionError, match="not what was collected"):
        checked_images(tmp_path, whole)
    body = json.loads(write_collection(whole))
    for wrong in ({**body, "format": 2}, {**body, "parts": [{"image": "../x.png"}]}, [], {}):
        (tmp_path / FILE).write_text(json.dumps(wrong))
        with pytest.raises(CollectionError, match="damaged"):
            read_collection(tmp_path)
    body["parts"][0]["image"] = "../../x.png"
    (tmp_path / FILE).write_text(json.dumps(body))
    with pytest.raises(CollectionError, match="damaged"):
        read_collection(tmp_path)


def test_the_page_escapes_what_comes_from_the_line() -> None:
    part = a_history(1).seen(an_id(0)).collected(None)
    evil = replace(part, part_id="<script>alert(1)</script>", actor='"><b>', said="x")
    page = page_of(Collection("false_reject", None, "a/b/c", "now", (evil,)), {part.image: (32, 32)})
    assert "<script" not in page and "&lt;script&gt;" in page and '"><b>' not in page
