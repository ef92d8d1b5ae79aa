"""The timing diagram is what the handshake does."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

from deploy.timing import PICTURE, picture


def test_the_picture_is_what_the_handshake_does() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "python -m deploy.timing --write"


def test_each_of_the_three_parts_gets_one_of_the_three_bits() -> None:
    """Not only that something is drawn: Pass, Fail and Undecided rise once each, ResultsValid with each of them."""
    root = ET.fromstring(picture())
    lines = [one for one in root if one.tag.endswith("polyline")]
    names = [one.text for one in root if one.tag.endswith("text")][1:]
    heights = [re.findall(r",(\d+)", one.attrib["points"]) for one in lines]
    rises = {name: sum(int(a) > int(b) for a, b in pairwise(row)) for name, row in zip(names, heights, strict=True)}
    assert rises["Trigger"] == rises["ResultsValid"] == rises["ResultsAck"] == rises["TriggerAck"] == 3
    assert rises["Pass"] == rises["Fail"] == rises["Undecided"] == 1
