"""What people and a PLC say to a station, through a real daemon: batches, notes, labels, recipes by number."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from click.testing import CliRunner

from deploy.cli import cli
from edge.client.control import Control, ask
from edge.core.errors import SettingsError
from edge.demo.run import BUNDLE
from edge.station.recipe_table import Recipe, RecipeTable, read_table, table_text
from edge.wire.messages import Message
from tests.edge.stub import Stub, end
from tests.patience import WAIT_S

LETTERS = "ab"


def a_recipe(number: int, name: str, **changes: Any) -> Recipe:
    facts = {"sha256": name[0] * 64, "product": name, "version": 1, "promise": "at most 1 %"}
    return Recipe(number=number, bundle=f"{name}.bundle", **{**facts, **changes})


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    """A daemon whose parts are asked for, with a recipe table; any bundle's digest is its first letter, 64 times."""
    (tmp_path / "recipes.json").write_text(table_text([a_recipe(7, "acorn"), a_recipe(8, "bolt")]))
    made = Stub(tmp_path, pause_s=0.01)
    made.settings |= {"trigger": "control", "recipes": str(tmp_path / "recipes.json")}
    yield made
    Stub.end_all()


def records(stub: Stub, kind: str) -> list[Message]:
    return [message for message in stub.history() if message.kind == kind]


def test_results_carry_the_batch_of_their_trigger_also_after_a_crash(stub: Stub) -> None:
    """W76."""
    control = stub.settings["control"]
    process = stub.start()
    with Control(control) as station:

        def trigger(part_id: str) -> None:
            until_taken(station, part_id)

        trigger("P1")
        assert station.ask("BATCH", {"batch_id": "B-7", "product_id": "washer-gold", "actor": "anna"})[0] == "DONE"
        trigger("P2")
        until_told(stub, 2)
        process.kill()
        process.wait()
        process = stub.start()
        trigger("P3")
        assert station.ask("STATUS")[1]["batch_id"] == "B-7"
        assert station.ask("BATCH", {"batch_id": ""})[0] == "DONE"
        trigger("P4")
    batches = {one.body["part_id"]: (one.body.get("batch_id"), one.body["product_id"]) for one in until_told(stub, 4)}
    gold = ("B-7", "washer-gold")
    assert batches == {"P1": (None, "bolt"), "P2": gold, "P3": gold, "P4": (None, "bolt")}
    audits = [one.body for one in records(stub, "audit") if one.body["command"] == "batch"]
    assert [(one["outcome"], one.get("actor")) for one in audits] == [("done", "anna"), ("done", None)]
    assert end(process, signal.SIGTERM)[0] == 0


def until_taken(station: Control, part_id: str) -> None:
    """A station that starts says not_ready for a moment, or is not there."""
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        answer, facts = station.ask("TRIGGER", {"part_id": part_id, "valid_for_ms": 60_000}, WAIT_S)
        if answer == "DONE":
            return
        assert "not_ready" in facts["reason"], facts
    raise AssertionError(f"{part_id} was never taken")


def until_told(stub: Stub, count: int) -> list[Message]:
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        if len(found := records(stub, "result")) >= count:
            return found
    raise AssertionError(f"{count} results never came")


def test_a_number_runs_the_bundle_of_the_table_and_is_told_in_every_result(stub: Stub) -> None:
    """W75."""
    control = stub.settings["control"]
    process = stub.start()
    told = ask(control, "RECIPES", {}, WAIT_S)[1]
    assert [(one["number"], one["product"], one["is_there"]) for one in told["recipes"]] == [
        (7, "acorn", False),
        (8, "bolt", False),
    ]
    assert not told["has_more"] and "number" not in told
    with Control(control) as station:
        until_taken(station, "P1")
        assert station.ask("RECIPE", {"number": 7})[0] == "DONE"
        until_taken(station, "P2")
        assert station.ask("RECIPES", {"after": 7})[1]["recipes"][0]["number"] == 8
        assert station.ask("RECIPES")[1]["number"] == station.ask("STATUS")[1]["number"] == 7
        for wrong in ({"number": 9}, {"number": 0}, {"number": "7"}, {"number": 7, "bundle": "x"}):
            answer, facts = station.ask("RECIPE", wrong)
            assert answer == "REFUSED", facts
    numbers = {one.body["part_id"]: one.body["internal_recipe"].get("number") for one in until_told(stub, 2)}
    assert numbers == {"P1": None, "P2": 7}
    assert records(stub, "birth")[-1].body["internal_recipe"]["number"] == 7
    assert end(process, signal.SIGTERM)[0] == 0


def test_a_bundle_that_was_replaced_under_its_number_is_refused(stub: Stub, tmp_path: Path) -> None:
    """W75: the daemon of this test says of a bundle's file what its name begins with."""
    table = table_text([a_recipe(7, "acorn"), a_recipe(8, "bolt", sha256="c" * 64)])
    process = stub.start()
    (tmp_path / "recipes.json").write_text(table)  # read when it is asked for, without a restart
    answer, facts = ask(stub.settings["control"], "RECIPE", {"number": 8}, WAIT_S)
    assert (answer, "cccccccccccc" in facts["reason"]) == ("REFUSED", True)
    (tmp_path / "recipes.json").write_text("{")
    answer, facts = ask(stub.settings["control"], "RECIPE", {"number": 7}, WAIT_S)
    assert answer == "REFUSED" and "edge-deploy recipes" in facts["reason"]
    assert ask(stub.settings["control"], "STATUS", {}, WAIT_S)[0] == "STATUS"
    assert end(process, signal.SIGTERM)[0] == 0


def test_notes_and_labels_are_on_record_and_what_does_not_fit_is_refused(stub: Stub) -> None:
    """W77."""
    process = stub.start()
    with Control(stub.settings["control"]) as station:
        until_taken(station, "P1")
        (result,) = until_told(stub, 1)
        about = result.body["result_id"]
        said = {"disposition": "accept", "label": "Kratzer zulässig", "about": about}
        assert station.ask("FEEDBACK", said)[0] == "DONE"
        assert station.ask("NOTE", {"text": "lens cleaned", "actor": "anna"})[0] == "DONE"
        assert station.ask("NOTE", {"text": "x" * 200, "part_id": "P1"})[0] == "DONE"
        for verb, wrong in (
            ("FEEDBACK", {**said, "label": "x" * 33}),
            ("FEEDBACK", {**said, "label": ""}),
            ("NOTE", {"text": "x" * 201}),
            ("NOTE", {"text": "two\nlines"}),
            ("NOTE", {}),
            ("NOTE", {"text": "x", "about": "P1"}),
            ("BATCH", {"batch_id": "x" * 129}),
        ):
            assert station.ask(verb, wrong)[0] == "REFUSED", (verb, wrong)
    audits = [one.body for one in records(stub, "audit") if one.body["command"] in ("note", "feedback", "batch")]
    assert [one["outcome"] for one in audits] == 3 * ["done"] + 7 * ["refused"]
    assert json.loads(audits[0]["arguments"])["label"] == "Kratzer zulässig"
    assert [one.get("about_result_id") for one in audits[:3]] == [about, None, about]
    assert end(process, signal.SIGTERM)[0] == 0


def test_a_picture_of_each_part_comes_after_its_record_and_says_which(stub: Stub, tmp_path: Path) -> None:
    """W78."""
    stub.settings["frames"] = f"ipc://{tmp_path}/f.sock"
    process = stub.start()
    seen: dict[str, Any] = {}
    with zmq.Context() as context, context.socket(zmq.SUB) as reader, Control(stub.settings["control"]) as station:
        reader.set(zmq.LINGER, 0)
        reader.subscribe(b"")
        reader.connect(stub.settings["frames"])
        for number in range(100):
            until_taken(station, f"P{number}")
            if reader.poll(2000 if seen else 50):  # the first parts pass before the subscription is there
                result_id, facts, pixels = reader.recv_multipart()
                seen[result_id.decode()] = json.loads(facts), len(pixels)
            if len(seen) == 5:
                break
    told = {one.body["result_id"]: one.body for one in until_told(stub, 5)}
    assert len(seen) == 5 and seen.keys() <= told.keys()
    for result_id, (facts, size) in seen.items():
        assert facts["part_id"] == told[result_id]["part_id"] and size == np.prod(facts["shape"])
        assert facts["measures"] == told[result_id]["measures"]
        assert facts["verdict"] == told[result_id]["result_evaluation"]
    assert end(process, signal.SIGTERM)[0] == 0


# --- the table's file ---


def test_edge_deploy_writes_a_table_that_the_station_reads(tmp_path: Path) -> None:
    table = tmp_path / "recipes.json"
    shown = CliRunner().invoke(cli, ["recipes", str(table), f"7={BUNDLE}", "--text", "left"], catch_exceptions=False)
    assert shown.exit_code == 0 and "machined" in shown.output and "at most" in shown.output
    read = RecipeTable(table)
    path, digest = read.bundle_of(7)
    assert path.samefile(BUNDLE) and read.number_of(digest) == 7 and read.recipes[7].text == "left"
    assert read.told()["recipes"][0] == {**asdict(read.recipes[7]), "is_there": True, "is_commissioned": False}
    with pytest.raises(SettingsError, match="one bundle"):
        CliRunner().invoke(cli, ["recipes", str(table), f"8={BUNDLE}"], catch_exceptions=False)
    CliRunner().invoke(cli, ["recipes", str(table), "--remove", "7"], catch_exceptions=False)
    assert read_table(table) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 2, "recipes": []}',
        '{"format": 1}',
        '{"format": 1, "recipes": [7]}',
        table_text([a_recipe(7, "acorn")]).replace("7", "0"),
        table_text([a_recipe(7, "acorn")]).replace("7", '"7"'),
        table_text([a_recipe(7, "acorn"), a_recipe(7, "bolt")]),
        table_text([a_recipe(7, "acorn"), a_recipe(8, "almond")]),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_with_its_name_and_what_to_do(tmp_path: Path, text: str) -> None:
    (table := tmp_path / "recipes.json").write_text(text)
    with pytest.raises(SettingsError, match=r"recipes\.json"):
        RecipeTable(table)


def test_a_long_table_is_told_in_pieces(tmp_path: Path) -> None:
    many = [a_recipe(number, "x", sha256=f"{number:064x}") for number in range(1, 251)]
    (table := tmp_path / "recipes.json").write_text(table_text(many))
    read, numbers, after = RecipeTable(table), [], 0
    while True:
        told = read.told(after)
        numbers += [one["number"] for one in told["recipes"]]
        if not told["has_more"]:
            break
        after = numbers[-1]
    assert numbers == list(range(1, 251))
