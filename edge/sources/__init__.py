"""Sources give frames. A new one is a file here and a line in `_SCHEMES`; the URI's scheme chooses.

A frame that nobody will inspect comes out of `read` as a Gap, in its place among the frames, because
only the source knows why it is missing. Rejected: frames with holes in their ids and a loop that
guesses the cause; it cannot know the part's name, nor that the last frames of a folder are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from edge.core.errors import SettingsError
from edge.core.types import Acquisition, Frame, Gap
from edge.sources.capture import Camera, Release, Tap
from edge.sources.exposure import Latency


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


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What a live camera is told.

    lost_after_s: without a frame until SourceLost. settings: to force, see --camera-set. is_triggered, latency, tap:
    see `LatestFrameSource`. is_dated, release: see `AravisCamera`; other cameras cannot do it, see `knows_exposure`.
    is_prompt: each frame must be given before the next one comes, or HeldBack, for a line that exposes frame by frame.
    """

    lost_after_s: float = 30.0
    settings: Mapping[str, str] = field(default_factory=dict)
    is_triggered: bool = False
    latency: Latency | None = None
    tap: Tap | None = None
    is_dated: bool = False
    release: Release | None = None
    is_prompt: bool = False


def _folder(rest: str, options: CameraOptions) -> Source:
    from edge.sources.folder import FolderSource

    return FolderSource(rest)


def _demo(rest: str, options: CameraOptions) -> Source:
    from edge.sources.demo import DemoSource

    return DemoSource(rest)


def _file(rest: str, options: CameraOptions) -> Source:
    from edge.sources.opencv import VideoFileSource

    return VideoFileSource(rest)


def _v4l2(rest: str, options: CameraOptions) -> Source:
    from edge.sources.opencv import CameraSource

    _refuse_release(options)
    return _live(f"v4l2:{rest}", partial(CameraSource, rest, options.settings), options)


def _aravis(rest: str, options: CameraOptions) -> Source:
    from edge.sources.aravis import AravisCamera
    from edge.sources.camera_settings import genicam_features

    features, release = genicam_features(options.settings), options.release
    if release is None:
        _refuse_release(options)
    camera = partial(AravisCamera, rest, features, is_dated=options.is_dated, release=release)
    return _live(f"aravis:{rest}", camera, options)


def _url(scheme: str, rest: str, options: CameraOptions) -> Source:
    from edge.sources.network import open_stream, redacted

    _refuse_settings(scheme, options)
    url = f"{scheme}:{rest}"
    return _live(redacted(url), partial(open_stream, url, is_prompt=options.is_prompt), options)


def _pipeline(rest: str, options: CameraOptions) -> Source:
    from edge.sources.gstreamer import open_pipeline
    from edge.sources.network import redacted_pipeline

    _refuse_settings("gst", options)
    return _live(f"gst:{redacted_pipeline(rest)}", partial(open_pipeline, rest, is_prompt=options.is_prompt), options)


def _live(uri: str, open_camera: Callable[[], Camera], options: CameraOptions) -> Source:
    from edge.sources.latest import LatestFrameSource

    return LatestFrameSource(
        open_camera,
        uri=uri,
        lost_after_s=options.lost_after_s,
        is_triggered=options.is_triggered,
        latency=options.latency,
        tap=options.tap,
    )


def _refuse_settings(scheme: str, options: CameraOptions) -> None:
    if options.settings:
        raise SettingsError(f"--camera-set: a {scheme}: source takes none; set the camera up in its own pages")


def _refuse_release(options: CameraOptions) -> None:
    from edge.sources.camera_settings import is_released

    if is_released(options.settings):
        raise SettingsError(
            "--camera-set trigger=software: the camera would wait for a command that nobody sends; an aravis: camera "
            "is told to expose by edge-inspect --trigger control, for all else leave it out"
        )


_SCHEMES: dict[str, Callable[[str, CameraOptions], Source]] = {
    "folder": _folder,
    "file": _file,
    "v4l2": _v4l2,
    "demo": _demo,
    "aravis": _aravis,
    "rtsp": partial(_url, "rtsp"),
    "http": partial(_url, "http"),
    "gst": _pipeline,
}


LIVE = ("v4l2", "aravis", "rtsp", "http", "gst")


def is_live(uri: str) -> bool:
    """Whether `open_source` would give frames of a moment that does not come again."""
    return uri.partition(":")[0] in LIVE


def knows_exposure(uri: str) -> bool:
    """Whether such a camera may say itself when a frame was exposed; the one that is opened may not (NotDated)."""
    return uri.partition(":")[0] == "aravis"


def open_source(uri: str, options: CameraOptions | None = None) -> Source:
    """Open `scheme:rest`; SettingsError lists the schemes there are."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise SettingsError(f"--source {uri}: write it as SCHEME:WHERE with one of {', '.join(_SCHEMES)}")
    return _SCHEMES[scheme](rest, options or CameraOptions())
