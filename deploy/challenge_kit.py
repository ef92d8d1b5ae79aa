"""`edge-deploy challenge-kit`: the kit of known pieces that a station is challenged with, made from pictures of them.

Each picture goes through the bundle as this station runs it. What it scores sets the margin, and where its defect is
the region, so that a kit fits its bundle and its commissioning. Rejected: margins by hand, whose unit nobody knows.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path

import click

from deploy.terminal import FILE
from edge.core.bundle import load_bundle
from edge.core.commissioned import commissioned
from edge.core.errors import SettingsError
from edge.core.files import write_whole
from edge.core.images import read_image
from edge.core.types import Frame, Inspection, Verdict
from edge.engines import open_engine
from edge.inspector import Inspector
from edge.line.challenge import Box, Kit, Piece, kit_to_json
from edge.line.kits import kit_file

MARGIN = 0.5  # of how far the piece lies from the threshold today
REGION = 1.0  # of the defect's own size, added on each side, and 16 px at the least: a person lays the piece down


@click.command("challenge-kit")
@click.argument("bundle", type=FILE)
@click.option("--name", required=True, help="The kit's, as it is written on its box.")
@click.option("--good", multiple=True, metavar="PIECE=IMAGE", help="A good piece, and a picture of it. Repeatable.")
@click.option("--defective", multiple=True, metavar="PIECE=IMAGE", help="A defective one. Repeatable.")
@click.option("--engine", default="auto", show_default=True, help="As edge-inspect --engine.")
def challenge_kit(bundle: Path, name: str, good: tuple[str, ...], defective: tuple[str, ...], engine: str) -> None:
    """Make the kit of known pieces that stations with BUNDLE are challenged with, beside it.

    \b
    edge-deploy challenge-kit washer.bundle --name box-3 --good g1=g1.png --defective scratch=s.png
    edge-control ENDPOINT CHALLENGE action=begin        show each piece: TRIGGER part_id=… piece=g1
    edge-control ENDPOINT CHALLENGE action=end          once all pieces are out; parts may pass again

    Take the pictures with this station's camera (edge-deploy grab). A piece whose picture is judged otherwise than you
    say is refused. The pictures are kept with the kit: the station looks at them again at each start and each hour.
    """
    known = commissioned(load_bundle(bundle))
    opened = open_engine(engine, known)
    try:
        inspector = Inspector(known, opened, resizes=False)
        pieces = [_piece(inspector, said, Verdict.GOOD, bundle) for said in good]
        pieces += [_piece(inspector, said, Verdict.DEFECTIVE, bundle) for said in defective]
    finally:
        opened.close()
    try:
        kit = Kit(name, known.manifest.product, tuple(piece for piece, _ in pieces))
    except ValueError as error:
        raise SettingsError(f"{kit_file(bundle)}: {error}") from error
    for piece, image in pieces:
        write_whole(bundle.parent / str(piece.image), image.read_bytes())
    write_whole(kit_file(bundle), (json.dumps(kit_to_json(kit), indent=1) + "\n").encode())
    for piece, _ in pieces:
        where = "" if piece.region_px is None else f", its defect in {piece.region_px}"
        click.echo(f"{piece.name}: {piece.expected.value}, at least {piece.margin:.4g} from the threshold{where}")
    click.echo(f"{kit_file(bundle)}: written; stations with this bundle can be challenged now")


def _piece(inspector: Inspector, said: str, expected: Verdict, bundle: Path) -> tuple[Piece, Path]:
    """The piece, as it is judged today, and its picture; SettingsError where it is judged otherwise than expected."""
    match = re.fullmatch(r"([A-Za-z0-9_.-]{1,32})=(.+)", said)
    if match is None:
        raise click.UsageError(f"{said}: write it as PIECE=IMAGE, the name in characters A-Z a-z 0-9 _ . -")
    name, image = match[1], Path(match[2])
    frame = Frame(read_image(image), 1, 0, datetime.now(timezone.utc))
    inspection, _ = inspector.inspect(frame)
    score, threshold = inspection.score, inspection.threshold
    if inspection.verdict is not expected or score is None or threshold is None:
        found = inspection.detail or f"score {score}, threshold {threshold}"
        raise SettingsError(
            f"{image}: piece {name} is judged {inspection.verdict.value} ({found}), and {expected.value} is expected; "
            "take another piece, or another picture"
        )
    margin = round(MARGIN * abs(score - threshold), 6)
    stored = f"{bundle.name}.challenge/{name}{image.suffix.lower()}"
    return Piece(name, expected, margin, _region(inspection), stored), image


def _region(inspection: Inspection) -> Box | None:
    """Where the highest defect is, with room around it; None where there is none."""
    if inspection.verdict is Verdict.GOOD or not inspection.defects:
        return None
    x, y, width, height = max(inspection.defects, key=lambda defect: defect.score_max).box_px
    across, down = max(16, round(REGION * width)), max(16, round(REGION * height))
    return x - across, y - down, width + 2 * across, height + 2 * down
