"""What a forecast says in words, and that a bundle that finds too little is never called fit for use."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from edge.core.forecast import (
    CONTRASTS,
    SIZES,
    USE_FROM,
    Cell,
    Forecast,
    Labelled,
    forecast_from_json,
    forecast_to_json,
)
from edge.core.words import Advice


def forecast(found_from: tuple[int, int] = (0, 0), weak: int = 0, **about: object) -> Forecast:
    """10 planted in each cell: all found from this band of sizes and of contrasts on, `weak` of 10 below it."""
    cells = [
        Cell(size, contrast, 10, 10 if row >= found_from[0] and column >= found_from[1] else weak)
        for row, size in enumerate(SIZES[:-1])
        for column, contrast in enumerate(CONTRASTS[:-1])
    ]
    return replace(Forecast(tuple(cells), 512.0, promised=0.048), **about)  # type: ignore[arg-type]


def test_the_mix_is_the_one_that_was_fixed() -> None:
    assert (SIZES[0], CONTRASTS[0], CONTRASTS[-1]) == (0.02, 1.0, 6.0) and SIZES[-1] == pytest.approx(0.4)
    ratios = [high / low for low, high in pairwise(SIZES)]
    assert ratios == pytest.approx([ratios[0]] * 5)  # bands alike in a log-uniform mix, so cells weigh alike


def test_the_statement_says_from_which_size_and_contrast_on_nine_of_ten_are_found() -> None:
    said = forecast((2, 1), weak=4).statement()
    assert said.startswith("finds 9 of 10 defects from 34 px and 2× local contrast on; 4 of 10 from 19 px; ")
    assert "69% of all planted ones (63% to 74%)" in said
    assert "34 px (1.7 mm)" in forecast((2, 1), mm_per_px=0.05).statement()
    assert forecast(weak=10).statement().startswith("finds 9 of 10 defects from 10 px and 1× local contrast on; 100%")


def test_where_nothing_is_found_reliably_it_says_what_is_at_best() -> None:
    said = forecast((9, 9), weak=3).statement()
    assert said.startswith("finds nowhere 9 of 10: of defects from 112 px and 5× local contrast on 3 of 10; 30%")


@pytest.mark.parametrize(
    ("one", "word", "why"),
    [
        (forecast((0, 1)), Advice.USE, "enough unused good images"),
        (forecast((2, 0)), Advice.CARE, "finds too little: 60%"),
        (forecast((3, 1)), Advice.CARE, "finds too little: 32% of planted defects, 80% of those from 62 px on"),
        (forecast((3, 3)), Advice.DO_NOT, "finds too little: 16% of planted defects, 40% of those from 62 px on"),
        (forecast(promised=0.153), Advice.CARE, "too few good images: only 15% of false rejects can be promised"),
        (forecast(promised=0.39), Advice.DO_NOT, "too few good images"),
        (forecast(unlike=0.1), Advice.CARE, "10% of the good images look unlike the others"),
        (forecast(unlike=0.3), Advice.DO_NOT, "unlike the others"),
        (forecast(sessions=3), Advice.CARE, "the promise counts 3 capture sessions"),
        (replace(forecast(), cells=()), Advice.DO_NOT, "finds too little"),
    ],
)
def test_the_verdict_is_one_word_with_its_reason_and_what_to_do(one: Forecast, word: Advice, why: str) -> None:
    assert one.advice()[0] is word and why in one.advice()[1]
    assert one.lines()[-1].startswith({"use": "USE IT:", "care": "USE IT WITH CARE:", "do_not": "DO NOT USE IT:"}[word])


def test_use_it_leaves_room_for_the_estimates_own_error() -> None:
    assert USE_FROM - 0.15 > 0.5  # the estimate is to lie within 15 points of the truth


def test_labelled_defects_are_told_apart_change_no_estimate_and_are_what_the_advice_rests_on() -> None:
    plain = forecast((1, 1))
    real = replace(plain, labelled=(Labelled("dent", 10, 4), Labelled("scratch", 20, 5)))
    assert real.share == plain.share and real.statement() == plain.statement()
    assert real.lines()[1] == "of your labelled defects 9 of 30: dent 4 of 10, scratch 5 of 20"
    assert real.advice()[0] is Advice.DO_NOT and "30% of your labelled defects" in real.advice()[1]
    assert replace(forecast((4, 4)), labelled=(Labelled("dent", 20, 19),)).advice()[0] is Advice.USE
    assert replace(plain, labelled=(Labelled("dent", 9, 0),)).advice() == plain.advice()  # too few to say more


def test_it_survives_json_and_damage_is_refused() -> None:
    one = forecast((1, 1), sessions=12, labelled=(Labelled("dent", 10, 4),), mm_per_px=0.1)
    body = json.loads(json.dumps(forecast_to_json(one)))
    assert forecast_from_json(body) == one and body["advice"] == "care" and 0 < body["low"] < body["share"]
    with pytest.raises(TypeError, match="cells"):
        forecast_from_json({**body, "cells": 3})
