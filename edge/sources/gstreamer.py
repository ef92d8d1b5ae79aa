"""`gst:` pipelines that end in appsink, such as a Jetson's CSI cameras.

In this process where OpenCV was built with GStreamer (JetPack's is, PyPI's is not), else in a child through PyGObject.
Rejected: always the child, which copies each frame once more; and a buffer's PTS as the moment of its exposure: it is
what the source element calls the moment, for most of them the arrival.
"""

from __future__ import annotations

from edge.core.opencv import cv2
from edge.sources.capture import Camera
from edge.sources.child import ChildCamera
from edge.sources.network import StreamCamera, redacted_pipeline


def open_pipeline(pipeline: str) -> Camera:
    """A camera for `LatestFrameSource`; SourceError where the pipeline does not run."""
    if "GStreamer:                   YES" in cv2.getBuildInformation():
        return StreamCamera(pipeline, is_pipeline=True)
    return GstreamerCamera(pipeline)


class GstreamerCamera(ChildCamera):
    """A pipeline in a child process. Errors as `ChildCamera`."""

    def __init__(self, pipeline: str) -> None:
        where = f"gst:{redacted_pipeline(pipeline)}"
        super().__init__(where, "gstreamer", pipeline, advice="try it with gst-launch-1.0")
