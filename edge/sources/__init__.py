"""Sources give frames. A new one is a file here and a line in `_SCHEMES`; the URI's scheme chooses.

A frame that nobody will inspect comes out of `read` as a Gap, in its place among the frames, because
only the source knows why it is missing. Rejected: frames with holes in their ids and a loop that
guesses the cause; it cannot know the part's name, nor that the last frames of a folder are missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edge.core.errors import SettingsError
from edge.core.types import Acquisition, Frame, Gap


class Source(Protocol):
    """Gives frames one at a time, in order; opened by its constructor (SourceError where it cannot).

    Ids are contiguous over Frames and Gaps: every captured id is in exactly one Frame or one Gap, and
    each answer of `read` begins where the one before it ended (the first id is the source's choice).
    A CAMERA_LOST gap has one id and means "at least one": how many frames were lost is unknown.
    """

    uri: str
    acquisition: Acquisition  # what it naturally is; a flag may override it
    is_live: bool  # live sources drop old frames, others never do

    @property
    def state(self) -> str:
        """ "starting", then "streaming"; or why a live source gives nothing: "lost", "stalled"."""
        ...

    @property
    def camera_fps(self) -> float | None:
        """Frames a second that a live camera gives; None while unknown, and for files."""
        ...

    def read(self, timeout_s: float) -> Frame | Gap | None:
        """The next frame, or the gap before it; None when nothing new came within `timeout_s` seconds.

        Raises SourceEnded when there is no more (and ever after, also after `close`), SourceLost
        when a live source is gone for good (after the Gap that says so).
        """
        ...

    def close(self) -> None:
        """Release the device; safe to call twice."""
        ...


def _folder(rest: str, lost_after_s: float) -> Source:
    from edge.sources.folder import FolderSource

    return FolderSource(rest)


def _demo(rest: str, lost_after_s: float) -> Source:
    from edge.sources.demo import DemoSource

    return DemoSource(rest)


def _file(rest: str, lost_after_s: float) -> Source:
    from edge.sources.opencv import VideoFileSource

    return VideoFileSource(rest)


def _v4l2(rest: str, lost_after_s: float) -> Source:
    from edge.sources.latest import LatestFrameSource
    from edge.sources.opencv import CameraSource

    return LatestFrameSource(lambda: CameraSource(rest), uri=f"v4l2:{rest}", lost_after_s=lost_after_s)


_SCHEMES: dict[str, Callable[[str, float], Source]] = {
    "folder": _folder,
    "file": _file,
    "v4l2": _v4l2,
    "demo": _demo,
}


def open_source(uri: str, *, lost_after_s: float = 30.0) -> Source:
    """Open `scheme:rest`; SettingsError lists the schemes there are.

    lost_after_s: seconds without a frame after which a live source raises SourceLost.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise SettingsError(f"--source {uri}: write it as SCHEME:WHERE with one of {', '.join(_SCHEMES)}")
    return _SCHEMES[scheme](rest, lost_after_s)
