"""What the screens are made of, without a browser or a station: users, sessions, shifts, words, alarms, frames."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.core.errors import SettingsError
from edge.page.alarms import BEHIND, alarm_of
from edge.page.book import Progress
from edge.page.frames import as_jpeg
from edge.page.live import Now
from edge.page.pictures import NotServed, evidence, for_screen, map_png
from edge.page.sessions import ABSOLUTE_S, IDLE_S, LONGEST_S, Sessions, Tries
from edge.page.shifts import read_shifts, shift_at, shift_before
from edge.page.stations import read_stations
from edge.page.users import Role, UserRefused, Users
from edge.page.words import LANGUAGES, chosen_language, words_in

PASSWORD = "a horse is no battery"
PAGE = Path(__file__).resolve().parents[2] / "edge" / "page"
WELL = Now({"state": "running", "head_seq": 9, "camera_state": "streaming"}, None, None, None, 0.1, None, (), 0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1e9

    def __call__(self) -> float:
        return self.now_s


# --- users ---


def test_a_password_is_kept_as_argon2id_and_checked_and_can_be_changed(tmp_path: Path) -> None:
    users = Users(tmp_path / "users.json")
    users.add("anna", Role.ENGINEER, PASSWORD)
    text = (tmp_path / "users.json").read_text()
    assert "$argon2id$" in text and PASSWORD not in text
    assert users.checked("anna", PASSWORD) and not users.checked("anna", PASSWORD + " ")
    assert users.checked("nobody", PASSWORD) is None
    Users(tmp_path / "users.json").change("anna", password="another horse then")  # another process
    assert users.checked("anna", PASSWORD) is None and users.checked("anna", "another horse then")


@pytest.mark.parametrize(
    ("name", "password"), [("anna", "too short"), ("an na", PASSWORD), ("../a", PASSWORD), ("", PASSWORD)]
)
def test_a_bad_name_or_password_is_refused(tmp_path: Path, name: str, password: str) -> None:
    with pytest.raises(UserRefused):
        Users(tmp_path / "users.json").add(name, Role.VIEWER, password)


# --- sessions ---


@pytest.mark.parametrize(
    ("role", "is_loopback", "idle_s", "is_over"),
    [
        (Role.VIEWER, True, 30 * ABSOLUTE_S, False),
        (Role.VIEWER, False, ABSOLUTE_S + 1, True),
        (Role.OPERATOR, True, IDLE_S + 1, False),
        (Role.OPERATOR, True, ABSOLUTE_S + 1, True),
        (Role.TECHNICIAN, True, IDLE_S - 1, False),
        (Role.ENGINEER, True, IDLE_S + 1, True),
    ],
)
def test_how_long_a_session_lasts(tmp_path: Path, role: Role, is_loopback: bool, idle_s: float, is_over: bool) -> None:
    clock = Clock()
    sessions = Sessions(tmp_path / "sessions.json", is_loopback=is_loopback, clock_s=clock)
    token = sessions.begin("anna")
    clock.now_s += idle_s
    again = Sessions(tmp_path / "sessions.json", is_loopback=is_loopback, clock_s=clock)  # the page was restarted
    assert (again.name_of(token, lambda name: role) is None) == is_over
    assert sessions.name_of("no token", lambda name: role) is None


def test_a_feed_keeps_no_session_alive_and_a_user_who_is_gone_has_none(tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(tmp_path / "sessions.json", is_loopback=True, clock_s=clock)
    token = sessions.begin("anna")
    for _ in range(4):
        clock.now_s += IDLE_S / 3
        sessions.name_of(token, lambda name: Role.ENGINEER, is_use=False)
    assert sessions.name_of(token, lambda name: Role.ENGINEER) is None
    assert sessions.name_of(sessions.begin("anna"), lambda name: None) is None


def test_tries_wait_twice_as_long_each_time_and_never_longer_than_five_minutes() -> None:
    clock = Clock()
    tries = Tries(clock)
    waits = []
    for _ in range(16):
        waits.append(tries.wait_s("name anna", "address here"))
        tries.failed("name anna", "address here")
    assert waits[:8] == [0, 0, 0, 0, 0, 1, 2, 4] and waits[-1] == LONGEST_S
    assert tries.wait_s("name otto") == 0
    tries.succeeded("name anna")
    assert tries.wait_s("name anna") == 0


# --- shifts ---


def local(day: int, hour: int, minute: int = 0) -> int:
    """Milliseconds of a moment in March on this machine's clock."""
    return round(1000 * datetime(2026, 3, day, hour, minute).astimezone().timestamp())


def test_a_night_shift_begins_the_day_before() -> None:
    begins = read_shifts("22:00 06:00 14:00")
    shift = shift_at(begins, local(4, 1, 30))
    assert (shift.since_ms, shift.until_ms) == (local(3, 22), local(4, 6))
    assert shift_before(begins, shift).until_ms == shift.since_ms


@pytest.mark.parametrize("text", ["", "6:00", "24:00", "06:07", "06:00,14:00"])
def test_shifts_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--shifts"):
        read_shifts(text)


# --- words ---


def test_both_languages_say_the_same_things_with_the_same_values() -> None:
    english, german = (json.loads((PAGE / "words" / f"{one}.json").read_text("utf-8")) for one in LANGUAGES)
    assert english.keys() == german.keys()
    for key in english:
        if english[key] == "{advice}":  # the station's own words, which are English
            continue
        assert set(re.findall(r"{(\w+)}", english[key])) == set(re.findall(r"{(\w+)}", german[key])), key


def test_every_word_that_a_screen_asks_for_is_there() -> None:
    files = [*PAGE.rglob("*.html"), *PAGE.rglob("*.py")]
    asked = {
        key for file in files for key in re.findall(r"""\bt\(["']([a-z_.]+[a-z_])["'][,)]""", file.read_text("utf-8"))
    }
    assert len(asked) > 100 and asked <= words_in("en").keys


def test_numbers_and_languages() -> None:
    assert words_in("en").number(1234.5, 1) == "1,234.5" and words_in("de").number(1234.5, 1) == "1.234,5"
    assert chosen_language(None, "fr, de-AT;q=0.8, en;q=0.5") == "de"
    assert chosen_language("de", "en") == "de" and chosen_language("xx", "") == "en"


# --- alarms ---


def test_grey_when_all_is_well() -> None:
    assert alarm_of(WELL, Progress(9), words_in("en")) is None


@pytest.mark.parametrize(
    ("now", "progress", "says"),
    [
        (replace(WELL, age_s=3.5), Progress(9), "does not answer"),
        (
            replace(WELL, heartbeat={**(WELL.heartbeat or {}), "camera_state": "lost", "state": "critical"}),
            Progress(9),
            "lost",
        ),
        (
            replace(WELL, heartbeat={**(WELL.heartbeat or {}), "state": "degraded"}, state={"cause": "the lamp"}),
            Progress(9),
            "the lamp",
        ),
        (WELL, Progress(9, "no space"), "no space"),
        (replace(WELL, heartbeat={**(WELL.heartbeat or {}), "head_seq": BEHIND + 10}), Progress(9), "9 of"),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_one_alarm_with_its_cause_and_what_to_do(now: Now, progress: Progress, says: str, language: str) -> None:
    alarm = alarm_of(now, progress, words_in(language))
    assert alarm is not None and alarm.what and alarm.cause and alarm.action
    if language == "en":
        assert says in f"{alarm.what} {alarm.cause}"


# --- pictures and stations ---


def test_evidence_that_was_changed_or_is_a_link_is_not_served(tmp_path: Path) -> None:
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"  # of b"test"
    file = tmp_path / "9f" / f"{digest}.png"
    file.parent.mkdir()
    file.write_bytes(b"test")
    assert evidence(tmp_path, f"9f/{digest}.png", digest) == b"test"
    file.write_bytes(b"tesT")
    with pytest.raises(NotServed, match="SHA-256"):
        evidence(tmp_path, f"9f/{digest}.png", digest)
    file.unlink()
    file.symlink_to("/etc/passwd")
    for uri in (f"9f/{digest}.png", "../users.json", "9f/../../x.png"):
        with pytest.raises(NotServed):
            evidence(tmp_path, uri, digest)


def test_a_map_that_is_none_is_not_drawn() -> None:
    with pytest.raises(NotServed):
        map_png(b"PK no zip at all")


def test_a_screen_gets_a_picture_of_its_size_and_a_small_one_as_it_is() -> None:
    large = np.random.default_rng(0).integers(0, 256, (1500, 3000, 3), np.uint8)
    shown = for_screen(_png(large))
    assert shown is not None
    assert cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR).shape == (640, 1280, 3)
    assert for_screen(_png(large[:1280, :1280])) is None
    with pytest.raises(NotServed, match="decoded"):
        for_screen(_png(large)[:2000])
    with pytest.raises(NotServed):
        for_screen(b"no picture at all")


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def test_a_large_picture_is_made_small_enough_with_its_outline() -> None:

    jpeg = as_jpeg(np.zeros((200, 2560, 3), np.uint8), [[[100, 50], [300, 50], [300, 150], [100, 150]]])
    seen = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert seen.shape == (100, 1280, 3) and seen[25, 100].max() > 60 and seen[80, 1000].max() < 20


def test_a_file_of_stations_says_which_line_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "page.ini"
    both = "live = tcp://127.0.0.1:5556\nreplay = tcp://127.0.0.1:5557\n"
    file.write_text(f"[top]\n{both}")
    (station,) = read_stations(file)
    assert station.control == "ipc:///run/edge-inspect/top/control.sock" and station.may_change_recipes
    for text, said in (
        ("[top]\nlive = x\n", "replay is missing"),
        (f"[top]\n{both}life = z\n", "there is no life"),
        (f"[top]\n{both}control = /run/control.sock\n", "control = /run"),
        (f"[top]\n{both}keys = {tmp_path / 'none'}\n", "none"),
        ("".join(f"[s{n}]\n{both}" for n in range(9)), "9 sections"),
        ("live = x\n", "page.ini"),
    ):
        file.write_text(text)
        with pytest.raises(SettingsError, match=said):
            read_stations(file)
