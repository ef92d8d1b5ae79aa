"""What the names of folders say of the images in them: good parts, bad ones, a data set's structure, a product.

People name folders in their own language; a folder of rejects that is taken for a capture session is learned as good.
A name is looked at in words, without case and accents. Rejected: asking (`fit` runs for hours, often with nobody
there), where a refusal names the flag that says it is meant.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

STRUCTURE = {"test", "ground_truth", "groundtruth", "train", "val", "validation", "masks"}
GOOD = {"good", "ok", "io", "pass", "gut", "bon", "bonnes", "bueno", "buenas", "buono", "buoni", "bom", "dobre", "良品"}
# Whole words, and the whole name without what stands between its words.
_BAD = {"ng", "nio", "nok", "bad", "fail", "failed", "notok", "nogood", "nonok", "nichtok", "nichtio", "niezgodne"}
_BAD |= {"malo", "mala", "malos", "malas", "mauvais", "mauvaises", "cattivo", "cattivi", "nonconforme", "noconforme"}
_BAD |= {"hs", "rebut", "rebuts", "brak", "braki", "wada", "wady", "vada", "vady", "hiba", "hibas", "loi", "hata"}
_BAD |= {"fel", "vika", "feil", "fout", "fouten", "refugo", "sucata", "hurda", "merma", "furyo", "flaw", "flaws"}
# How words begin, whatever their ending: plurals, genders, compounds.
_BAD_STEMS = (
    "afkeur", "anomal", "ausschuss", "bozuk", "broken", "contaminat", "crack", "damage", "defaut", "defect",
    "defeit", "defek", "desech", "difett", "faulty", "fehler", "hatali", "kaputt", "kassation", "kasser",
    "kusur", "mangelhaft", "nonconform", "odrzut", "rechaz", "reject", "rejeit", "rifiut", "scart", "schlecht",
    "scrap", "scratch", "selejt", "uitval", "vadn", "zmetek", "zmetk", "ελαττωμ", "брак", "дефект", "негодн",
    "결함", "불량",
)  # fmt: skip
# Scripts that set no spaces: anywhere in the name.
_BAD_SIGNS = (
    "不良",
    "缺陷",
    "次品",
    "废品",
    "廢品",
    "瑕疵",
    "欠陥",
    "欠点",
    "異常",
    "异常",
    "キズ",
    "傷",
    "不合格",
    "破損",
)
_NEGATIONS = {"free", "no", "without", "zero", "ohne", "sans", "sin", "senza", "sem", "frei", "zonder", "bez", "utan"}
# What says nothing of the product.
_GENERIC = GOOD | STRUCTURE | {"parts", "part", "images", "image", "imgs", "img", "pictures", "pics", "photos", "data"}
_GENERIC |= {"dataset", "datasets", "bilder", "teile", "gutteile", "fotos", "imagenes", "piezas", "pieces", "immagini"}
_GENERIC |= {"pezzi", "new", "tmp", "temp", "all", "raw", "captures", "grabs", "sessions", "input", "png", "jpg", "bmp"}
_GENERIC |= {"home", "root", "mnt", "media", "desktop", "documents", "downloads", "user", "users", "work", "var", "srv"}


def words_of(name: str) -> list[str]:
    """The words of a folder's name, without case, accents and the numbers before and behind them."""
    plain = unicodedata.normalize("NFKD", name.casefold().replace("ı", "i"))  # Turkish writes both
    bare = "".join(sign for sign in plain if not unicodedata.combining(sign))
    composed = unicodedata.normalize("NFC", bare)  # Hangul comes apart in NFKD
    tokens = (token.strip("0123456789") for token in re.findall(r"[^\W_]+", composed))
    return [token for token in tokens if token]


def says_good(name: str) -> bool:
    """Whether the name says that good parts are in it, and nothing else."""
    return name.casefold() in GOOD


def says_bad(name: str) -> bool:
    """Whether the name says, in one of many languages, that what is in it is not good."""
    words = words_of(name)
    if "".join(words) in _BAD:
        return True
    if set(words) & _NEGATIONS or any(word.endswith(("frei", "free")) for word in words):
        return False
    signs = unicodedata.normalize("NFKC", name)
    return any(sign in signs for sign in _BAD_SIGNS) or any(
        word in _BAD or word.startswith(_BAD_STEMS) for word in words
    )


def says_structure(name: str) -> bool:
    """Whether the name is that of a data set's part, which may hold anything."""
    return name.casefold() in STRUCTURE


def product_name(good: Path) -> str:
    """The folder's name, or the first of its parents' that says something of the product; "part" where none does."""
    whole = good.resolve()
    return next((name for name in (whole.name, *(parent.name for parent in whole.parents)) if _says(name)), "part")


def _says(name: str) -> bool:
    words = words_of(name)
    return bool(words) and not all(word in _GENERIC for word in words)
