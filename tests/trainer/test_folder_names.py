"""What folders' names say, in the languages of plants; and what a product is called after them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.folder_names import product_name, says_bad, says_good


@pytest.mark.parametrize(
    "name",
    [
        "defects", "Defective", "NOK", "nok01", "not_ok", "n.i.O.", "bad", "rejects", "scrap", "Ausschuss", "Ausschuß",
        "2024-05_Ausschussteile", "fehlerhaft", "defecto", "Defectos", "rechazo", "rebut", "défauts", "scarto",
        "difettosi", "defeito", "afkeur", "odrzuty", "brak", "zmetky", "vadné", "hatalı", "kusurlu", "selejt",
        "不良", "不良品", "line1-不良", "缺陷", "キズ", "불량품", "брак", "дефекты", "scratch_head", "no_good",
    ],
)  # fmt: skip
def test_names_like_defects_are_known_in_many_languages(name: str) -> None:
    assert says_bad(name)


@pytest.mark.parametrize(
    "name",
    ["monday", "2024-05-01", "shift_2", "lot-7731", "good", "camera-left", "defect-free", "ohne Fehler", "fehlerfrei",
     "no_defects", "rework-line", "badge", "felt", "screws", "bronze", "良品", "montag", "batch_ng2b"],
)  # fmt: skip
def test_sessions_and_products_are_not_taken_for_defects(name: str) -> None:
    assert not says_bad(name)


def test_good_is_said_by_the_whole_name_only() -> None:
    assert says_good("Good") and says_good("gut") and not says_good("good_monday")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/plant/washer-m8/good", "washer-m8"),
        ("/plant/screw/train/good", "screw"),
        ("/data/gasket/images/2024-05-01", "gasket"),
        ("/plant/washer/Gutteile", "washer"),
        ("/plant/left housing", "left housing"),
        ("/data/good", "part"),
    ],
)
def test_a_product_is_called_after_the_first_folder_that_says_something(folder: str, name: str) -> None:
    assert product_name(Path(folder)) == name
