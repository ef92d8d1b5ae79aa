"""`edge-deploy collect`: images of a running station's parts, for `edge-train fit`, with where each comes from.

By label: what people called a false reject, for learning only. As a sample: parts drawn before their verdict, which
may judge, since nothing of them was chosen by how they scored. Each image is checked against the SHA-256 that its
record names, and shown with the region that drove its reject. Rejected: copying the evidence folder (nothing says what
a file is of, nor what people said of it since).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import click

from deploy.collected_page import page_of
from deploy.sampled import is_drawn, sampled
from deploy.station_history import Chosen, Seen, Span, is_rejected, read_station, require_one_product
from deploy.terminal import FOLDER, ProgressLine
from edge.client.replay_link import ReplayLink
from edge.commands import instance
from edge.core.collected import FILE, PAGE, Collection, CollectionError, write_collection
from edge.core.files import require_room, write_whole

REPLAY = "tcp://127.0.0.1:5557"
NAMED = 8  # parts in one text
TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z"])
EVER = Span()
_ANSWER_S = 10.0


def images_of(found: Sequence[Seen], evidence: Path) -> Iterator[tuple[Seen, bytes | str]]:
    """Each part with its image's content, or with why there is none."""
    for one in found:
        path = evidence / one.uri
        try:
            content = path.read_bytes()
        except OSError as error:
            yield one, f"{path}: {error.strerror}"
            continue
        is_whole = hashlib.sha256(content).hexdigest() == one.sha256
        yield one, content if is_whole else f"{path}: not what was recorded (another SHA-256): damaged, or changed"


def write_folder(
    out: Path, collection: Collection, images: Mapping[str, bytes], sizes: Mapping[str, tuple[int, int]]
) -> None:
    """The file that says what they are first: images alone would be taken for good ones of any kind. OutputError."""
    require_room(out, sum(map(len, images.values())), f"{len(images)} images")
    write_whole(out / FILE, write_collection(collection))
    write_whole(out / PAGE, page_of(collection, sizes).encode())
    for name, content in images.items():
        write_whole(out / name, content)


def collect(
    link: ReplayLink, evidence: Path, out: Path, label: str | None, share: float | None, product: str | None, span: Span
) -> tuple[Collection, list[str]]:
    """Write the parts of that label, or of the sample of that share, into `out`; what was left out, and why.

    CollectionError where nothing is left, or where a sample could not be whole.
    """
    progress = ProgressLine()
    try:
        wanted = is_rejected if share is None else partial(is_drawn, share=share)
        station = read_station(link, span, wanted, lambda seen: progress(f"{seen} records read"))
    finally:
        progress.end()
    chosen = station.labelled(label) if label is not None else sampled(station)
    chosen = Chosen(require_one_product(chosen.parts, product), chosen.left_out)
    left_out, parts, images, sizes = list(chosen.left_out), [], {}, {}
    for one, content in images_of(chosen.parts, evidence):
        if isinstance(content, str):
            left_out.append(f"{one.name}: {content}")
        elif one.image not in images:  # else the very picture of another part, which is there
            parts.append(one.collected(station.said.get(one.result_id)))
            images[one.image], sizes[one.image] = content, one.size_px
    if label is None and left_out:  # whatever a sample lacks is lacking for a reason
        raise CollectionError(f"the sample would not be whole: {in_words(left_out)}; give another --since or --until")
    if not parts:
        what = f"labelled {label}" if label is not None else "in the sample"
        raise CollectionError(f"no image of a part {what} can be had{': ' if left_out else ''}{in_words(left_out)}")
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    began = None if label is not None else parts[0].created
    collection = Collection(label, share, station.name, now, tuple(parts), began)
    write_folder(out, collection, images, sizes)
    return collection, left_out


def in_words(texts: Sequence[str]) -> str:
    """The first few, and how many more."""
    return "; ".join(texts[:NAMED]) + (f"; and {len(texts) - NAMED} more" if len(texts) > NAMED else "")


def _time(context: click.Context, parameter: click.Parameter, value: datetime | None) -> str | None:
    """As records say it; what is given without a zone is UTC."""
    if value is None:
        return None
    return value.replace(tzinfo=value.tzinfo or timezone.utc).astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _of_station(name: str | None, replay: str | None, evidence: Path | None) -> tuple[str, Path]:
    """Where its records and its pictures are: as was said, else as the service's settings say."""
    said = {} if name is None else instance.environment_of(name)
    folder = evidence or said.get("EDGE_INSPECT_EVIDENCE")
    if folder is None:
        raise click.UsageError("say where the pictures are: --evidence FOLDER, or --station NAME of a service with one")
    endpoint = replay or said.get("EDGE_INSPECT_REPLAY", REPLAY)
    for anywhere in ("//*:", "//0.0.0.0:"):  # what it is bound to is no address to go to
        endpoint = endpoint.replace(anywhere, "//127.0.0.1:")
    return endpoint, Path(said.get("STATE_DIRECTORY", "")) / folder


@click.command("collect")
@click.option("--station", metavar="NAME", help="The service edge-inspect@NAME of this machine; read as its user.")
@click.option("--replay", metavar="ENDPOINT", help=f"A station's journal.  [default: the service's, or {REPLAY}]")
@click.option("--evidence", type=FOLDER, help="Its --evidence folder, or a copy.  [default: the service's]")
@click.option("--keys", type=FOLDER, help="Our key and the station's, for a station that asks for keys.")
@click.option("--label", help="Parts that FEEDBACK gave this label at last: false_reject, …")
@click.option(
    "--sample",
    "share",
    type=click.FloatRange(0, 1, min_open=True),
    help="In its place, this share of all parts, drawn before the verdict: at most the station's "
    "--evidence-good-share.",
)
@click.option("--product", metavar="ID", help="Of this product's recipe; where there are several it must be said.")
@click.option("--since", type=TIME, callback=_time, help="Only parts inspected from then on …")
@click.option("--until", type=TIME, callback=_time, help="… and before this, UTC.  [default: all that the journal has]")
@click.option("--out", type=FOLDER, required=True, help="New folder for the images.")
def collect_command(
    station: str | None,
    replay: str | None,
    evidence: Path | None,
    keys: Path | None,
    label: str | None,
    share: float | None,
    product: str | None,
    since: str | None,
    until: str | None,
    out: Path,
) -> None:
    """Fetch images of a station's parts with their provenance, for edge-train fit.

    What was labelled false_reject is for learning, with edge-train fit --also-train OUT, and nothing else takes it. A
    sample may judge, with edge-train fit --more-good OUT. Open OUT/collected.html and look at each first: what is
    learned as good is not found any more.

    \b
    edge-deploy collect --station line1 --label false_reject --out more-good
    edge-deploy collect --station line1 --sample 0.01 --out drawn
    """
    if (label is None) == (share is None):
        raise click.UsageError("give --label LABEL or --sample SHARE, one of them")
    if out.exists() and any(out.iterdir()):
        raise click.UsageError(f"--out {out}: holds something already; each collection is a folder of its own")
    endpoint, folder = _of_station(station, replay, evidence)
    with closing(ReplayLink(endpoint, "collect", _ANSWER_S, keys)) as link:
        collection, left_out = collect(
            link, folder, out, label, share, product, Span(since or EVER.since, until or EVER.until)
        )
    for text in left_out:
        click.echo(f"left out: {text}", err=True)
    what = f"labelled {label}" if label is not None else f"of a sample of {share:.2%}, whole since {collection.since}"
    click.echo(f"{len(collection.parts)} images of {collection.station} {what} in {out}; look at each: {out / PAGE}")
