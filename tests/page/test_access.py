"""Who may what: by role, by session, by form; and what leaves a trace. Asked over HTTP, as anybody could."""

from __future__ import annotations

import json
import re
import stat

import pytest

from edge.page.app import ROUTES
from edge.page.users import Role
from tests.page.conftest import USERS, Served
from tests.patience import wait_until

SAMPLE = {
    "{station}": "top",
    "{result_id}": "0195610c-3c83-7000-8000-000000000001",
    "{folder}": "ab",
    "{file}": "x.png",
}


def filled(path: str) -> str:
    for name, value in SAMPLE.items():
        path = path.replace(name, value)
    return path


@pytest.mark.parametrize(("method", "path", "least"), [(m, p, r) for m, p, r, _ in ROUTES if r is not None])
def test_every_address_asks_for_its_role(page: Served, method: str, path: str, least: Role) -> None:
    status = page.ask(method, filled(path))[0]
    assert status in (303, 403) and (method == "GET" or status == 403)
    below = [name for name, role in USERS.items() if Role[role.upper()] < least]
    for name in below:
        assert page.ask(method, filled(path), name)[0] == 403
    above = next(name for name, role in USERS.items() if Role[role.upper()] >= least)
    if method == "GET":
        assert page.ask(method, filled(path), above)[0] in (200, 303, 404)


def test_a_forged_form_is_refused_whatever_it_lacks_and_leaves_a_trace(page: Served) -> None:
    own = {"Cookie": page.login("otto"), "Origin": page.url, "Sec-Fetch-Site": "same-origin"}
    body = "about=0195610c-3c83-7000-8000-000000000001&label=unsure"
    for headers in (
        own,  # no token
        {**own, "Origin": "http://elsewhere.example"},
        {**own, "Sec-Fetch-Site": "cross-site"},
        {"Cookie": own["Cookie"]},
    ):
        assert page.raw("POST", "/s/top/review", headers, body)[0] == 403
    audit = [json.loads(line) for line in (page.folder / "audit.jsonl").read_text().splitlines()]
    refused = [line for line in audit if line["what"] == "POST /s/top/review" and line["outcome"] == "refused"]
    assert len([line for line in refused if line["by"] == "otto"]) >= 4


def test_a_body_that_is_too_large_is_refused(page: Served) -> None:
    own = {"Cookie": page.login("otto"), "Origin": page.url, "Sec-Fetch-Site": "same-origin"}
    assert page.raw("POST", "/s/top/note", own, "text=" + "x" * 20_000)[0] == 413


def test_five_wrong_passwords_make_the_sixth_wait_and_the_right_one_too(page: Served) -> None:
    answers: list[int] = []
    while len(answers) < 12 and 429 not in answers:  # on a starved machine the sixth has waited; then the next one must
        answers.append(page.ask("POST", "/login", name="nobody", password="wrong " * 3)[0])
    assert answers[:5] == [403] * 5 and answers[-1] == 429
    page.kill()  # tries are not kept: the address that tried may log in again below
    page.start()


def test_a_session_begins_anew_with_each_login_and_ends_with_logout(page: Served) -> None:
    page.cookies.clear()
    given = page.raw("POST", "/login", {"Cookie": "edge-page=chosen-by-somebody", "Origin": page.url,
        "Sec-Fetch-Site": "same-origin"}, "name=vera&password=a+horse+is+no+battery")[2]["set-cookie"]  # fmt: skip
    assert "chosen-by-somebody" not in given
    assert "HttpOnly" in given and "samesite=strict" in given.lower()
    cookie = page.login("vera")
    assert page.ask("POST", "/logout", "vera")[0] == 303
    assert page.raw("GET", "/s/top/line", {"Cookie": cookie})[0] == 303
    page.cookies.clear()


def test_secrets_are_for_the_pages_user_alone_and_no_token_is_kept(page: Served) -> None:
    token = page.login("anna").partition("=")[2]
    for name in ("users.json", "sessions.json", "audit.jsonl"):
        file = page.folder / name
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert token not in file.read_text()


def test_another_host_name_is_refused(page: Served) -> None:
    """A name of somebody else's that was made to point here (DNS rebinding)."""
    assert page.raw("GET", "/login", {"Host": "evil.example"})[0] == 400


@pytest.mark.parametrize(
    "path", ["/s/top/evidence/../users.json", "/s/top/evidence/%2e%2e/users.json", "/static/..%2fapp.py"]
)
def test_no_file_is_served_but_those_that_are_named(page: Served, path: str) -> None:
    status, body, _ = page.ask("GET", path, "anna")
    assert status == 404 and "argon2" not in body and "import" not in body


def test_every_answer_carries_the_policy(page: Served) -> None:
    for path in ("/login", "/nowhere", "/static/line.js", "/s/top/line"):
        headers = page.raw("GET", path, {})[2]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_style_and_script_are_kept_by_a_browser_until_they_change(page: Served) -> None:
    """A screen is not painted before its style is there."""
    addresses = re.findall(r'"(/static/[^"]+)"', page.ask("GET", "/login")[1])
    assert len(addresses) == 3
    for address in addresses:
        assert "immutable" in page.raw("GET", address, {})[2]["cache-control"]
        assert page.raw("GET", address.partition("?")[0], {})[2]["cache-control"] == "no-cache"


def test_a_word_reaches_the_station_under_the_name_of_who_said_it(page: Served) -> None:
    about = page.ask("GET", "/s/top/review?reason=rejected", "otto")[1].partition('name="about" value="')[2][:36]
    assert page.ask("POST", "/s/top/review", "otto", about=about, label="false_reject")[0] == 303
    wait_until(lambda: "page/otto" in page.ask("GET", f"/s/top/part/{about}", "vera")[1], "the audit record never came")
    assert "FEEDBACK" in page.ask("GET", "/s/top/log?kind=audit", "vera")[1]


def test_what_the_station_refuses_is_said_and_noted(page: Served) -> None:
    status, body, _ = page.ask("POST", "/s/top/recipes", "theo", number="8", reason="a new product")
    assert status == 409 and "Not done" in body
    assert page.ask("POST", "/s/top/recipes", "theo", number="7", reason="")[0] == 409
    assert "RECIPE" in (page.folder / "audit.jsonl").read_text()


def test_killed_and_without_its_read_model_it_knows_everything_again(page: Served) -> None:
    before = page.ask("GET", "/s/top/parts", "vera")[1]
    oldest = before.rpartition('href="/s/top/part/')[2][:36]
    page.kill()
    for name in ("page.db", "page.db-wal", "page.db-shm"):
        (page.folder / name).unlink(missing_ok=True)
    page.start()
    wait_until(lambda: page.ask("GET", f"/s/top/part/{oldest}", "vera")[0] == 200, "it was never read again")


def test_the_last_engineer_stays(page: Served) -> None:
    assert page.ask("POST", "/users", "anna", name="anna", what="remove")[0] == 409
    assert page.ask("POST", "/users", "anna", name="bert", what="add", role="viewer", password="too short")[0] == 409
    assert (
        page.ask("POST", "/users", "anna", name="bert", what="add", role="viewer", password="long enough it is")[0]
        == 303
    )
    assert page.ask("POST", "/users", "anna", name="bert", what="remove")[0] == 303


def test_the_wheel_has_all_that_the_page_is_made_of(page: Served) -> None:
    folder = page.wheel / "edge" / "page"
    for name in (
        "templates/line.html",
        "templates/report.html",
        "templates/sensitivity.html",
        "templates/next.html",
        "templates/look.html",
        "templates/pieces/answer.html",
        "templates/pieces/next.html",
        "static/report.css",
        "templates/pieces/banner.html",
        "static/line.css",
        "static/line.js",
        "words/de.json",
    ):
        assert (folder / name).is_file()
    assert any("Apache License" in file.read_text("utf-8") for file in page.wheel.glob("*.dist-info/licenses/LICENSE"))
    assert len((folder / "static" / "line.js").read_text().splitlines()) <= 300
