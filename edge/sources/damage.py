"""A live frame of which bytes are missing: it keeps its place and its part, is never inspected, and says why.

What a decoder makes of the rest looks like a part, so nothing of it is shown: grey of the camera's size stands for it.
Rejected: leaving it out, which would give its part the next one's frame.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from edge.core.images import BACKDROP, DamagedImage, decode
from edge.core.types import Image

JPEG_START = b"\xff\xd8"
DAMAGED = "damaged in transfer"
_UNSEEN = (
    "frames of H.264 and H.265 that were damaged in transfer are not seen as such, for OpenCV is silent of them; "
    "pip install 'edge-inspect[streams]' (PyAV, 35 MB)"
)


def has_libav() -> bool:
    """Whether PyAV is installed, which tells damage that OpenCV keeps to itself."""
    return find_spec("av") is not None


def unseen_damage(uri: str) -> str | None:
    """What cannot be seen of a source's frames on this machine, and what to install; None where all can be."""
    may_hang_together = uri.startswith(("rtsp:", "file:"))
    return _UNSEEN if may_hang_together and not has_libav() else None


class StandIn:
    """Decodes one camera's frames, and stands in for those that are damaged."""

    def __init__(self) -> None:
        self._grey: Image | None = None

    def decoded(self, encoded: bytes, where: str, flaw: str | None = None) -> tuple[Image | None, str | None]:
        """The picture and None; or grey and what is wrong. flaw: what is known to be wrong already.

        The picture is None before the first whole one, whose size is not known. SourceError, naming `where`, for a
        whole picture that is not for us.
        """
        try:
            image = decode(encoded, where)
        except DamagedImage:
            return self.instead(flaw or f"a picture of {len(encoded)} bytes without its end")
        return self.seen(image) if flaw is None else self.instead(flaw)

    def seen(self, image: Image) -> tuple[Image, None]:
        """A whole picture: what stands in for others has its size."""
        if self._grey is None or self._grey.shape != image.shape:
            self._grey = np.full_like(image, BACKDROP)
        return image, None

    def instead(self, flaw: str) -> tuple[Image | None, str]:
        """What stands in for a damaged one, and what is said of it."""
        return self._grey, f"{DAMAGED}: {flaw}; check the camera's load, its cable and the network"
