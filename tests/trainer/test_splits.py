"""Capture sessions stay whole, or the run says why they do not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.errors import TrainingError
from trainer.good_images import check_good_images
from trainer.runs import Product, Run, prepare_run
from trainer.splits import LEAST, LEAST_IMAGES, Splits, split_good
from trainer.students import StudentConfig


def sessions_of(**counts: int) -> list[str]:
    return [name for name, count in counts.items() for _ in range(count)]


def members(splits: Splits, sessions: list[str]) -> dict[str, set[str]]:
    named = {"train": splits.train, "stats": splits.stats, "threshold": splits.threshold}
    return {name: {sessions[i] for i in indices} for name, indices in named.items()}


def test_seven_one_and_two_of_ten_equal_sessions_go_to_the_three_sets() -> None:
    sessions = sessions_of(**{f"day{i}": 12 for i in range(10)})
    splits, rule = split_good(sessions, seed=0)
    assert (len(splits.train), len(splits.stats), len(splits.threshold)) == (84, 12, 24)
    assert rule.by == "session" and "whole capture sessions (10 sub-folders)" in rule.why
    assert {name: set(chosen) for name, chosen in rule.sessions.items()} == members(splits, sessions)


def test_of_three_unequal_sessions_the_students_get_the_largest_and_statistics_the_smallest() -> None:
    sessions = sessions_of(small=20, large=140, middle=40)
    splits, _ = split_good(sessions, seed=0)
    assert members(splits, sessions) == {"train": {"large"}, "stats": {"small"}, "threshold": {"middle"}}


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ({".": 40}, "no sub-folders"),
        ({"a": 30, "b": 30}, "2 capture sessions, and 3 are the least"),
        ({"a": 90, "b": 5, "c": 5}, "images for threshold; sessions are too unequal (the largest, a, has 90 of 100"),
    ],
)
def test_sessions_too_few_or_too_unequal_are_split_by_image_and_it_is_said_why(
    counts: dict[str, int], why: str
) -> None:
    sessions = sessions_of(**counts)
    splits, rule = split_good(sessions, seed=0)
    assert rule.by == "image" and why in rule.why and not rule.sessions
    assert len(splits.threshold) == round(0.2 * len(sessions))


@settings(max_examples=20, deadline=None)
@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=12), seed=st.integers(0, 9))
def test_whatever_the_sessions_the_sets_are_disjoint_complete_and_large_enough(counts: list[int], seed: int) -> None:
    sessions = sessions_of(**{f"s{i}": count for i, count in enumerate([20, *counts])})
    splits, rule = split_good(sessions, seed)
    sets = {"train": splits.train, "stats": splits.stats, "threshold": splits.threshold}
    assert sorted(i for indices in sets.values() for i in indices) == list(range(len(sessions)))
    assert (splits, rule) == split_good(sessions, seed)
    for name, indices in sets.items():
        assert len(indices) >= LEAST_IMAGES[name]
    if rule.by == "session":
        held = list(members(splits, sessions).values())
        assert not held[0] & held[1] and not held[0] & held[2] and not held[1] & held[2]
        assert all(len(indices) >= LEAST[name] * len(sessions) for name, indices in sets.items())


@settings(max_examples=30, deadline=None)
@given(copies=st.lists(st.integers(0, 99), max_size=30), seed=st.integers(0, 9), days=st.sampled_from([1, 5]))
def test_near_copies_are_never_on_both_sides(copies: list[int], seed: int, days: int) -> None:
    """Split by image they stay in one set; of whole sessions none is trained on whose copy is unused."""
    first = list(range(100))
    for index, of in enumerate(copies, 60):
        first[index] = first[of] if of < index else index
    sessions = ["." if days == 1 else f"day{i % days}" for i in range(100)]
    splits, rule = split_good(sessions, seed, first)
    small = {g for g in first if first.count(g) <= 10}
    trained, unused = ({first[i] for i in part} & small for part in (splits.train, (*splits.stats, *splits.threshold)))
    assert rule.by == ("image" if days == 1 else "session") and not trained & unused
    if days == 1:
        assert len({*splits.train, *splits.stats, *splits.threshold}) == 100
        assert 10 <= len(splits.stats) < 20 and 20 <= len(splits.threshold) < 30
        assert not {first[i] for i in splits.stats} & {first[i] for i in splits.threshold} & small


def test_a_run_keeps_a_picture_taken_twice_on_one_side(tmp_path: Path) -> None:
    good = write_sessions(tmp_path / "good", {"x": 40})
    for number in range(20):  # half of them once more, as JPEG
        image = cv2.resize(cv2.imread(str(good / "x" / f"{number}.png")), (128, 128), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(good / "x" / f"{number}.png"), image)
        cv2.imwrite(str(good / "x" / f"{number}-again.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    for number in range(20, 40):
        (good / "x" / f"{number}.png").unlink()
    run = prepare_run(good, tmp_path / "run", Product("bolt", (32, 32)), StudentConfig())
    sides = [{name.split("/")[1].split(".")[0].split("-")[0] for name in names} for names in run.splits.values()]
    assert sum(map(len, sides)) == 20  # each picture in one set only


def write_sessions(root: Path, counts: dict[str, int]) -> Path:
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(root / name / f"{i}.png"), rng.integers(0, 255, (16, 16), np.uint8))
    return root


def test_a_run_keeps_sub_folders_whole_and_records_which_went_where(tmp_path: Path) -> None:
    good = write_sessions(tmp_path / "good", {"mon": 14, "tue": 4, "wed/cam1": 3, "wed/cam2": 3})
    run = prepare_run(good, tmp_path / "run", Product("bolt", (16, 16)), StudentConfig())
    assert run.rule.sessions == {"train": ("mon",), "stats": ("tue",), "threshold": ("wed",)}
    assert {name.split("/")[0] for name in run.splits["threshold"]} == {"wed"}
    assert Run.load(tmp_path / "run") == run
    assert prepare_run(good, tmp_path / "run", Product("bolt", (16, 16)), StudentConfig()) == run


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["good", "scratch"], "scratch"),
        (["mon", "NOK"], "NOK"),
        (["mon", "tue/defects"], "tue/defects"),
        (["ok", "bent", "cracked"], "bent, cracked"),
    ],
)
def test_folders_that_look_like_defects_are_refused_by_name(tmp_path: Path, folders: list[str], names: str) -> None:
    good = write_sessions(tmp_path / "parts", dict.fromkeys(folders, 12))
    with pytest.raises(TrainingError, match=f"it holds {names}, not only good images") as refused:
        check_good_images(good)
    hint = f"did you mean {good / folders[0]}?" if folders[0] in ("good", "ok") else "sub-folders are capture sessions"
    assert hint in str(refused.value)


def test_one_sub_folder_named_good_is_a_session_like_any_other(tmp_path: Path) -> None:
    assert len(check_good_images(write_sessions(tmp_path / "parts", {"good": 24})).paths) == 24
