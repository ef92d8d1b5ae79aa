"""What an engineer asks first: who speaks with the station, what is free, is its record whole; a file to send."""

from __future__ import annotations

import json
import re

from edge.page.support import support_file
from tests.page.conftest import Served
from tests.patience import wait_until


def test_station_says_who_speaks_with_it_and_what_is_free(page: Served) -> None:
    about = re.findall(r"/s/top/part/([0-9a-f-]{36})", page.ask("GET", "/s/top/parts", "otto")[1])[0]
    assert page.ask("POST", "/s/top/note", "otto", about=about, text="looked at in the lab")[0] == 303

    def is_said() -> bool:
        body = page.ask("GET", "/s/top/station", "vera")[1]
        assert "starlette" in body and "BSD" in body
        is_whole = len(re.findall(r"[\d.,]+ of [\d.,]+ GB free", body)) == 2
        is_named = "page/otto" in body and re.search(r"<td>page\b", body) is not None  # who commanded; a consumer
        return "<td>NOTE</td>" in body and is_whole and is_named

    wait_until(is_said, "the command never came back, or the station does not answer")


def test_a_support_file_has_what_helps_and_nobodys_name(page: Served) -> None:
    assert "/support" not in page.ask("GET", "/s/top/station", "otto")[1]
    assert "/support" in page.ask("GET", "/s/top/station", "theo")[1]
    status, body, headers = page.ask("GET", "/s/top/support", "theo")
    told = json.loads(body)
    assert status == 200 and "attachment" in headers["content-disposition"]
    assert told["status"]["state"] == "running" or told["status"]["cause"]
    assert told["birth"]["software"]["engine"] == "onnxruntime" and told["heartbeat"]["inspected"] > 0
    assert {one["name"] for one in told["versions"]} >= {"edge-inspect", "starlette"} and told["disks"][0]["free_bytes"]
    for secret in (str(page.folder), "page/otto", "machined-0-", "demo:machined", page.live, "looked at in the lab"):
        assert secret not in body, secret


def test_a_field_that_nobody_named_is_not_in_a_support_file() -> None:
    given = {"heartbeat": {"state": "running", "new_field": "a product's name", "rates": [1.5, None, "x"]}, "at": True}
    told = {"heartbeat": {"state": "running", "new_field": "(16 characters)", "rates": [1.5, None, "(1 characters)"]}}
    assert support_file(given) == {**told, "at": True}
    deep: object = "secret"
    for _ in range(50):
        deep = [deep]
    assert "secret" not in json.dumps(support_file({"state": deep}))


def test_the_record_is_proved_on_demand_and_the_book_goes_on(page: Served) -> None:
    assert "Verify the record" not in page.ask("GET", "/s/top/log", "otto")[1]
    assert page.ask("POST", "/s/top/log", "theo")[0] == 303
    wait_until(lambda: "Whole:" in page.ask("GET", "/s/top/log", "vera")[1], "it was never proved")
    records = re.search(r"Whole: ([\d,]+) records", page.ask("GET", "/s/top/log", "vera")[1])
    assert records and int(records[1].replace(",", "")) > 2
    seen = page.ask("GET", "/s/top/parts?label=all", "vera")[1]
    wait_until(lambda: page.ask("GET", "/s/top/parts?label=all", "vera")[1] != seen, "the book follows no more")


def test_a_good_part_shows_its_measures_also_when_it_is_no_longer_among_the_newest(page: Served) -> None:
    """The read model has a row of it only: the rest is the station's."""
    found = {"number": 0}

    def oldest_good() -> bool:
        body = page.ask("GET", f"/s/top/parts?part_id=machined-0-{found['number']:06d}", "vera")[1]
        parts = re.findall(r"/s/top/part/([0-9a-f-]{36})", body)
        if not parts:
            return False
        shown = page.ask("GET", f"/s/top/part/{parts[0]}", "vera")[1]
        is_good = re.search(r"<h1>.*shape ok", shown, re.DOTALL) is not None
        found["number"] += not is_good
        return is_good and "Brightness" in shown

    wait_until(oldest_good, "no good part showed its measures")
    page.kill()
    page.start()  # it has heard nothing live of that part now
    wait_until(oldest_good, "its record was not fetched from the journal")
