"""Attacks on the page over HTTP, as somebody on the network or with too low a role would try them: none succeeds.

Each is one test. What asks for a command and is refused leaves a line in the page's audit: `refused` counts them.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from edge.page.app import ROUTES
from edge.page.users import Role
from tests.page.conftest import PASSWORD, USERS, Served
from tests.patience import WAIT_S, wait_until

PART = "0195610c-3c83-7000-8000-000000000001"  # of nobody
WORD = f"about={PART}&label=unsure"
SLOW_S = 10.0  # what a head and a body may take
Forgery = Callable[[Served, dict[str, str]], tuple[dict[str, str], str]]


def audit_of(page: Served, outcome: str = "refused") -> list[dict[str, str]]:
    file = page.folder / "audit.jsonl"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return [line for line in map(json.loads, lines) if line["outcome"] == outcome]


@contextmanager
def refused(page: Served, times: int = 1) -> Iterator[None]:
    """What is done in the block is refused so many times, and the page's audit says so."""
    before = len(audit_of(page))
    done = len(audit_of(page, "done"))
    yield
    assert len(audit_of(page)) == before + times
    assert len(audit_of(page, "done")) == done


def ours(page: Served, user: str) -> dict[str, str]:
    """The headers that our own pages' forms come with."""
    return {"Cookie": page.login(user), "Origin": page.url, "Sec-Fetch-Site": "same-origin"}


def token(page: Served, user: str) -> str:
    return page._token({"Cookie": page.login(user)})


def a_rejected(page: Served) -> str:
    """The result_id of a rejected part."""
    body = page.ask("GET", "/s/top/review?label=all&reason=rejected", "otto")[1]
    return body.partition('name="about" value="')[2][:36]


def hear(page: Served, request: bytes, within_s: float = WAIT_S) -> bytes:
    """What comes back for these bytes, until the page closes."""
    with closing(socket.create_connection(("127.0.0.1", page.port), within_s)) as connection:
        connection.settimeout(within_s)
        connection.sendall(request)
        return drained(connection)


def drained(connection: socket.socket) -> bytes:
    heard = b""
    try:
        while chunk := connection.recv(65536):
            heard += chunk
    except ConnectionError:
        pass
    return heard


# --- forged forms: another site's page makes our user's browser send them ---

FORGERIES: dict[str, Forgery] = {
    "without a token": lambda page, own: (own, WORD),
    "an empty token": lambda page, own: (own, f"{WORD}&csrf="),
    "another user's token": lambda page, own: (own, f"{WORD}&csrf={token(page, 'theo')}"),
    "the cookie's value as token": lambda page, own: (own, f"{WORD}&csrf={own['Cookie'].partition('=')[2]}"),
    "a token that is no ASCII": lambda page, own: (own, f"{WORD}&csrf=%C3%A4"),
    "from another site": lambda page, own: ({**own, "Sec-Fetch-Site": "cross-site"}, full(page)),
    "from a neighbouring host": lambda page, own: ({**own, "Sec-Fetch-Site": "same-site"}, full(page)),
    "from another origin": lambda page, own: ({**own, "Origin": "http://evil.example"}, full(page)),
    "from an origin that begins as ours": lambda page, own: ({**own, "Origin": f"{page.url}.evil"}, full(page)),
    "from no origin (a sandboxed frame)": lambda page, own: ({**own, "Origin": "null"}, full(page)),
    "which says nothing of where from": lambda page, own: ({"Cookie": own["Cookie"]}, full(page)),
    "as plain text": lambda page, own: ({**own, "Content-Type": "text/plain"}, full(page)),
    "as JSON": lambda page, own: ({**own, "Content-Type": "application/json"}, json.dumps({"about": PART})),
    "as an upload": lambda page, own: ({**own, "Content-Type": "multipart/form-data; boundary=x"}, "--x--"),
}


def full(page: Served) -> str:
    """With the right token: all but where it comes from is as it should be."""
    return f"{WORD}&csrf={token(page, 'otto')}"


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_form_is_not_taken(page: Served, forgery: str) -> None:
    headers, body = FORGERIES[forgery](page, ours(page, "otto"))
    with refused(page):
        assert page.raw("POST", "/s/top/review", headers, body)[0] == 403


def test_nothing_is_changed_by_following_a_link(page: Served) -> None:
    for method, path, _, _ in ROUTES:
        if method == "POST" and not any(one[:2] == ("GET", path) for one in ROUTES):
            status = page.raw("GET", f"{path.replace('{station}', 'top')}?{full(page)}", ours(page, "otto"))[0]
            assert status == 405, path
    assert page.raw("GET", "/s/top/review", {**ours(page, "otto"), "X-HTTP-Method-Override": "POST"})[0] == 200
    for method in ("PUT", "PATCH", "DELETE", "TRACE"):
        assert page.raw(method, "/s/top/review", ours(page, "otto"), full(page))[0] == 405


# --- sessions ---


def test_a_session_that_was_set_beforehand_is_not_the_one_that_a_login_gives(page: Served) -> None:
    """Fixation: the victim logs in with the attacker's cookie, be it made up or of a session of his own."""
    page.cookies.pop("vera", None)
    for cookie in ("edge-page=chosen-by-somebody", page.login("vera")):
        page.cookies.pop("vera", None)
        headers = {"Cookie": cookie, "Origin": page.url, "Sec-Fetch-Site": "same-origin"}
        answer = page.raw("POST", "/login", headers, f"name=otto&password={PASSWORD.replace(' ', '+')}")
        given = answer[2]["set-cookie"].partition(";")[0]
        assert answer[0] == 303 and given != cookie
        assert page.raw("GET", "/s/top/line", {"Cookie": cookie})[0] == 303  # it is nobody's now
        assert page.raw("GET", "/s/top/line", {"Cookie": given})[0] == 200


def test_what_the_file_of_sessions_says_is_no_cookie(page: Served) -> None:
    page.login("anna")
    for digest in json.loads((page.folder / "sessions.json").read_text("utf-8")):
        assert page.raw("GET", "/users", {"Cookie": f"edge-page={digest}"})[0] == 303


def test_a_stolen_cookie_ends_with_the_logout_and_with_another_password(page: Served) -> None:
    page.cookies.pop("theo", None)
    stolen = page.login("theo")
    assert page.ask("POST", "/logout", "theo")[0] == 303
    assert page.raw("GET", "/s/top/line", {"Cookie": stolen})[0] == 303
    page.cookies.pop("theo", None)
    stolen = page.login("theo")
    assert page.ask("POST", "/users", "anna", what="password", name="theo", password=PASSWORD)[0] == 303
    assert page.raw("GET", "/s/top/line", {"Cookie": stolen})[0] == 303
    page.cookies.pop("theo", None)


def test_a_cookie_that_is_no_token_is_nobodys(page: Served) -> None:
    for value in ("", "x" * 5000, "null", "0", "../sessions.json", '{"name": "anna"}', "%00", "\xe4"):
        assert page.raw("GET", "/users", {"Cookie": f"edge-page={value}"})[0] == 303, value


# --- passwords ---


def test_guessing_is_slowed_down_for_the_name_and_the_address_whatever_the_headers_say(page: Served) -> None:
    try:
        for number, waited_s in enumerate((0, 0, 0, 0, 0, 1.1, 2.1)):
            time.sleep(waited_s)  # the next wait is twice as long: 4 s for what follows
            form = {"name": "anna", "password": f"guess number {number}"}
            assert page.ask("POST", "/login", **form)[0] == 403
        for forwarded in ("10.0.0.1", "127.0.0.2"):
            headers = {"Origin": page.url, "X-Forwarded-For": forwarded, "Forwarded": f"for={forwarded}"}
            with refused(page):
                assert page.raw("POST", "/login", headers, "name=anna&password=guess")[0] == 429
        with refused(page):  # the right one too: who guesses does not learn it
            assert page.ask("POST", "/login", name="anna", password=PASSWORD)[0] == 429
    finally:
        page.kill()  # tries are not kept
        page.start()


def test_a_wrong_name_and_a_wrong_password_look_alike(page: Served) -> None:
    try:
        answers = [
            page.ask("POST", "/login", name=name, password="not the password")[:2] for name in ("anna", "nobody")
        ]
        assert answers[0] == answers[1] and answers[0][0] == 403
    finally:
        page.kill()
        page.start()


@pytest.mark.parametrize(
    "onward",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/x\r\nSet-Cookie: a=b"],
)
def test_a_login_leads_nowhere_else(page: Served, onward: str) -> None:
    status, _, headers = page.ask("POST", "/login", name="vera", password=PASSWORD, next=onward)
    assert status == 303 and headers["location"] == "/" and "a=b" not in headers["set-cookie"]


# --- roles: each address that changes something, by everybody who may not ---


def test_no_role_reaches_what_is_above_it(page: Served) -> None:
    for name in USERS:
        page.login(name)
    for method, path, least, _ in ROUTES:
        address = path.replace("{station}", "top")
        for name, word in USERS.items():
            if method == "POST" and least is not None and Role[word.upper()] < least:
                form = {"about": PART, "label": "unsure", "number": "1", "reason": "x", "text": "x", "confirmed": "yes"}
                with refused(page):
                    assert page.ask("POST", address, name, **form)[0] == 403, (address, name)


def test_nobody_raises_himself(page: Served) -> None:
    for name in ("vera", "otto", "theo"):
        page.login(name)
        with refused(page):
            assert page.ask("POST", "/users", name, what="role", name=name, role="engineer")[0] == 403
    with refused(page):
        assert page.ask("POST", "/account", "otto", present="wrong", password=PASSWORD, role="engineer")[0] == 409
    users = json.loads((page.folder / "users.json").read_text("utf-8"))
    assert "engineer" not in json.dumps({name: one for name, one in _by_name(users) if name != "anna"})


def _by_name(users: object) -> list[tuple[str, object]]:
    return list(users.items()) if isinstance(users, dict) else [(str(one.get("name")), one) for one in users]  # type: ignore[attr-defined]


# --- files ---

OUTSIDE = (
    "/s/top/evidence/../users.json",
    "/s/top/evidence/%2e%2e/users.json",
    "/s/top/evidence/..%2f..%2fusers.json",
    "/s/top/evidence/%252e%252e/users.json",
    "/s/top/screen/..%2f..%2fusers.json",
    "/s/top/screen/%252e%252e/users.json",
    "/s/top/evidence/%2fetc/passwd",
    "/s/top/evidence/ab/%00.png",
    "/s/top/evidence/..\\..\\users.json",
    "/static/../users.py",
    "/static/..%2f..%2f..%2fetc%2fpasswd",
    "/static/%2e%2e/app.py",
    "/s/..%2ftop/evidence/ab/x.png",
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_name_leads_out_of_a_folder(page: Served, path: str) -> None:
    status, body, _ = page.raw("GET", path, {"Cookie": page.login("anna")})
    assert status in (400, 404) and not {"argon2", "root:", "import "} & set(body.split('"'))


def test_a_file_that_was_planted_or_changed_is_not_served(page: Served) -> None:
    body = page.ask("GET", "/s/top/review?label=all&reason=rejected", "vera")[1]
    uri = body.partition("/s/top/evidence/")[2].partition('"')[0]
    file, addresses = page.folder / "evidence" / uri, [f"/s/top/{what}/{uri}" for what in ("evidence", "screen")]
    assert [page.ask("GET", address, "vera")[0] for address in addresses] == [200, 200]
    whole = file.read_bytes()
    secret = page.folder / "users.json"
    try:
        for plant in (lambda: file.write_bytes(whole + b"<script>"), lambda: _link(file, secret)):
            plant()
            for address in addresses:
                status, served, _ = page.ask("GET", address, "vera")
                assert status == 404 and "script" not in served and "argon2" not in served
    finally:
        file.unlink()
        file.write_bytes(whole)
    stranger = page.folder / "evidence" / "ab" / f"{'ab' * 32}.png"
    stranger.parent.mkdir(exist_ok=True)
    stranger.write_bytes(whole)  # there, and never told of
    for what in ("evidence", "screen"):
        assert page.ask("GET", f"/s/top/{what}/ab/{stranger.name}", "anna")[0] == 404


def _link(file: Path, target: Path) -> None:
    file.unlink()
    file.symlink_to(target)


# --- markup ---

MARKUP = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'{{7*7}}"


def test_markup_in_a_part_id_is_text_on_every_screen(page: Served) -> None:
    about = a_rejected(page)
    with closing(apsw.Connection(str(page.folder / "page.db"))) as db:
        db.set_busy_timeout(10_000)
        db.execute(
            "UPDATE parts SET part_id = ?, batch = ? WHERE result_id = ?",
            (MARKUP, MARKUP, bytes.fromhex(about.replace("-", ""))),
        )
    for path in (f"/s/top/part/{about}", f"/s/top/review?label=all&part={about}", "/s/top/parts", "/s/top/line"):
        status, body, headers = page.ask("GET", path, "otto")
        assert status == 200 and "<script>alert" not in body and "<img src=x" not in body
        assert "script-src 'self'" in headers["content-security-policy"]
    assert "&lt;script&gt;alert(1)" in page.ask("GET", f"/s/top/part/{about}", "otto")[1]


def test_markup_in_what_is_asked_for_is_text(page: Served) -> None:
    from urllib.parse import quote

    for path in ("/s/top/log?text=", "/s/top/parts?part_id=", "/s/top/review?recipe=1&driver=", "/login?next=/"):
        body = page.ask("GET", path + quote(MARKUP), "anna")[1]
        assert "<script>alert" not in body and "<img src=x" not in body
    assert page.ask("POST", "/users", "anna", what="add", name=MARKUP, role="viewer", password=PASSWORD)[0] == 409
    assert "<script>alert" not in page.ask("GET", "/users", "anna")[1]


def test_a_note_with_markup_is_text_in_the_log_and_one_that_is_too_long_is_refused(page: Served) -> None:
    about = a_rejected(page)
    assert page.ask("POST", "/s/top/note", "otto", about=about, text=MARKUP)[0] == 303
    wait_until(lambda: "alert(1)" in page.ask("GET", "/s/top/log?kind=audit", "vera")[1], "the note never came")
    assert "<script>alert" not in page.ask("GET", "/s/top/log?kind=audit", "vera")[1]
    with refused(page):
        assert page.ask("POST", "/s/top/note", "otto", about=about, text="x" * 201)[0] == 409


def test_a_filter_is_a_value_and_never_sql(page: Served) -> None:
    from urllib.parse import quote

    for evil in ("' OR 1=1 --", "1; DROP TABLE parts", "%' UNION SELECT hash FROM users --"):
        for name in (
            "label",
            "reason",
            "driver",
            "recipe",
            "size",
            "region",
            "shift",
            "order",
            "part",
            "part_id",
            "after",
        ):
            assert page.ask("GET", f"/s/top/parts?{name}={quote(evil)}", "vera")[0] == 200
    assert "/s/top/part/" in page.ask("GET", "/s/top/parts?label=all", "vera")[1]


# --- bodies and heads ---


def test_a_huge_body_is_refused_whether_or_not_it_says_how_long_it_is(page: Served) -> None:
    own = ours(page, "otto")
    with refused(page):
        assert page.raw("POST", "/s/top/note", own, "text=" + "x" * 20_000)[0] == 413
    head = b"POST /s/top/note HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in own.items()).encode()
    chunks = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    with refused(page):
        heard = hear(page, head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + 3 * chunks)
        assert heard.startswith(b"HTTP/1.1 413")


def test_a_form_of_thousands_of_fields_is_refused(page: Served) -> None:
    with refused(page):
        assert page.raw("POST", "/s/top/review", ours(page, "otto"), "&".join(["a=1"] * 3000))[0] == 413


def test_a_form_that_is_no_text_is_refused(page: Served) -> None:
    with refused(page):
        assert page.raw("POST", "/s/top/review", ours(page, "otto"), "\xff\xfe")[0] in (403, 413)


def test_a_huge_head_is_refused(page: Served) -> None:
    heard = hear(page, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 4") or heard == b""
    assert page.raw("GET", "/login", {})[0] == 200


def test_a_request_of_two_lengths_is_refused(page: Served) -> None:
    """Smuggling: what is in front of us, and we, would not agree on where it ends."""
    head = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    two = (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: xchunked\r\n")
    for lengths in two:
        assert hear(page, head + lengths + b"Connection: close\r\n\r\nabcdef").startswith(
            (b"HTTP/1.1 400", b"HTTP/1.1 501")
        )


def test_who_sends_slowly_is_let_go_be_it_a_head_a_second_head_or_a_body(page: Served) -> None:
    first = b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    own = "".join(f"{name}: {value}\r\n" for name, value in ours(page, "otto").items()).encode()
    body = b"POST /s/top/note HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    body += own + b"Content-Length: 16000\r\n\r\n"
    with refused(page), ThreadPoolExecutor(4) as threads:  # the body's command
        lasted = list(threads.map(lambda begun: _drip(page, begun), (b"", first, first + first, body)))
    assert max(lasted) < 3 * SLOW_S, lasted


def _drip(page: Served, begun: bytes) -> float:
    """Seconds until the page closes a connection on which a byte comes now and then."""
    began_s = time.monotonic()
    with closing(socket.create_connection(("127.0.0.1", page.port), WAIT_S)) as connection:
        connection.sendall(begun)
        connection.settimeout(0.5)
        while time.monotonic() - began_s < 4 * SLOW_S:
            try:
                connection.sendall(b"x")
                while connection.recv(65536):
                    pass
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    return time.monotonic() - began_s


# --- around it ---


def test_no_other_name_no_frame_and_no_guess_of_a_type(page: Served) -> None:
    assert page.raw("GET", "/login", {"Host": "evil.example"})[0] == 400
    headers = page.raw("GET", "/login", {})[2]
    assert "frame-ancestors 'none'" in headers["content-security-policy"] and headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in page.raw("GET", "/s/top/line", {"Origin": "http://evil.example"})[2]
    assert "server" not in headers


def test_a_name_that_is_given_to_the_station_is_never_the_senders_choice(page: Served) -> None:
    about = a_rejected(page)
    assert page.ask("POST", "/s/top/pin", "otto", about=about, pinned="yes", actor="anna", by="anna")[0] == 303
    wait_until(lambda: "PIN" in page.ask("GET", f"/s/top/part/{about}", "vera")[1], "the audit record never came")
    body = page.ask("GET", f"/s/top/part/{about}", "vera")[1]
    assert "page/otto" in body and "page/anna" not in body and ">anna<" not in body
