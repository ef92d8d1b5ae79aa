"""`gst:` pipelines that end in appsink, such as a Jetson's CSI cameras.

In this process where OpenCV was built with GStreamer (JetPack's is, PyPI's is not), else in a child through PyGObject.
Rejected: always the child, which copies each frame once more; and a buffer's PTS as the moment of its exposure: it is
what the source element calls the moment, for most of them the arrival.
"""

from __future__ import annotations

import re

from edge.core.opencv import cv2
from edge.sources.capture import Camera, HeldBack
from edge.sources.child import ChildCamera
from edge.sources.network import PROMPT_ADVICE, StreamCamera, redacted_pipeline

# Decoders, parsers and what has them inside; a JPEG is whole by itself.
_HOLDS = re.compile(
    r"(?!(nv)?jpeg|multipart)(.*(dec|decoder|parse|decodebin3?|demux)|rtspsrc|playbin3?|uridecodebin3?|avdec_.*)"
)


def open_pipeline(pipeline: str, *, is_prompt: bool = False) -> Camera:
    """A camera for `LatestFrameSource`; SourceError where the pipeline does not run.

    is_prompt: HeldBack where it takes frames out of a stream that may need the next one for that.
    """
    if is_prompt and (holding := next(filter(_HOLDS.fullmatch, _elements(pipeline)), None)):
        raise HeldBack(f"gst:{redacted_pipeline(pipeline)}: {holding} may hold a frame until the next; {PROMPT_ADVICE}")
    if "GStreamer:                   YES" in cv2.getBuildInformation():
        return StreamCamera(pipeline, is_pipeline=True)
    return GstreamerCamera(pipeline)


def _elements(pipeline: str) -> list[str]:
    """The names of its elements, as far as a pipeline's text tells them."""
    return [words[0] for one in pipeline.split("!") if (words := one.split())]


class GstreamerCamera(ChildCamera):
    """A pipeline in a child process. Errors as `ChildCamera`."""

    def __init__(self, pipeline: str) -> None:
        where = f"gst:{redacted_pipeline(pipeline)}"
        super().__init__(where, "gstreamer", pipeline, advice="try it with gst-launch-1.0")
