"""`edge-inspect --check`: open everything, inspect one frame, and say line by line what is well.

Each line is a sentence a technician can act on; the first that fails ends the list. Nothing is published.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import click

from edge.core.errors import EdgeError, SourceError
from edge.core.types import Frame, Gap, Reason, Verdict
from edge.description import describe
from edge.settings import Settings
from edge.sinks.database import open_database
from edge.sinks.publisher import Publisher
from edge.sources import Source
from edge.startup import open_checked_source, open_inspector, open_sinks

FIRST_FRAME_S = 10.0


def check(settings: Settings) -> bool:
    """Print the report on stdout; True when all is well."""
    with ExitStack() as stack:
        try:
            for line in _steps(settings, stack):
                click.echo(f"{click.style('ok', fg='green')}    {line}")
        except EdgeError as error:
            click.echo(f"{click.style('WRONG', fg='red')} {error}")
            return False
    return True


def _steps(settings: Settings, stack: ExitStack) -> Iterator[str]:
    inspector, drift = open_inspector(settings, stack)
    about = describe(settings, inspector, drift)
    sizes = ", ".join(str(size) for size in about["patch_sizes"])
    yield f"bundle {about['bundle']}: {about['product']}, patch sizes {sizes}, sha256 {about['sha256'][:12]}"
    yield f"engine {about['engine']}: golden sample within {drift:.1e} deviations"
    yield f"threshold {about['image_threshold']}: {about['promise']}"
    if inspector.bundle.commissioning is not None:
        yield f"commissioned: {about['commissioning']}"
    if inspector.review_threshold is not None:
        yield f"review from {inspector.review_threshold:.3f}: {about['review']}"
    publisher = Publisher(settings.publish)
    stack.callback(publisher.close)
    yield f"address {publisher.endpoint} is free"
    if settings.journal is not None:
        open_database(settings.journal).close()
        yield f"journal {settings.journal}: sound, and nobody else has it"
    source = open_checked_source(settings, inspector, stack)
    open_sinks(settings, inspector)
    acquisition = settings.acquisition_for(source.acquisition)
    rule = settings.gate_for(acquisition)
    yield f"source {source.uri}: opened, {acquisition.value}, gate {rule.k}/{rule.n}"
    frame = _first_frame(source)
    inspection, _ = inspector.inspect(frame)
    if inspection.verdict is Verdict.UNDECIDED and inspection.reason is not Reason.REVIEW:
        raise SourceError(f"{source.uri}: its first frame could not be decided: {inspection.detail}")
    height, width = frame.image.shape[:2]
    yield (
        f"first frame {width}×{height}: {inspection.verdict.value}, score {inspection.score:.2f}, "
        f"{inspection.timings.total_ms:.1f} ms"
    )


def _first_frame(source: Source) -> Frame:
    until = time.monotonic() + FIRST_FRAME_S
    while (left := until - time.monotonic()) > 0:
        frame = source.read(left)
        if isinstance(frame, Gap):
            raise SourceError(f"{source.uri}: its first frame is missing: {frame.detail or frame.cause.value}")
        if frame is not None:
            return frame
    raise SourceError(f"{source.uri}: no frame within {FIRST_FRAME_S:.0f} s; is the camera triggered and its cap off?")
