"""`from edge.core.opencv import cv2`: OpenCV, or an ImportError that says what to install.

`opencv-python` needs libGL, which machines without a display often lack; the bare message names a
shared object and no remedy. Rejected: depending on the headless wheel only, which would shadow the
cv2 that JetPack ships with its hardware decoders.
"""

from __future__ import annotations

import os


def remedy(error: ImportError) -> str:
    """What is wrong with this machine's OpenCV and what to install instead."""
    if isinstance(error, ModuleNotFoundError) and error.name == "cv2":
        advice = "pip install opencv-python-headless; on a Jetson use JetPack's own: apt install python3-opencv"
    elif "numpy" in str(error):
        advice = "this cv2 was built for another NumPy: pip install 'numpy<2' for JetPack's cv2, or a newer OpenCV"
    else:
        advice = (
            "on a machine without a display install the headless wheel, a drop-in: "
            "pip uninstall opencv-python && pip install opencv-python-headless (or apt install libgl1 libglib2.0-0)"
        )
    return f"OpenCV cannot be loaded: {error}; {advice}"


# 16,384 × 16,384: a file of some kilobytes may claim four times as many, which take 3 GB once they are decoded.
MOST_PIXELS = 1 << 28
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))  # read when it is loaded

try:
    import cv2
except ImportError as missing:
    raise ImportError(remedy(missing), name="cv2") from missing

# Maps are small, so a second thread saves nothing, and waiting for it costs: measuring one part's defects on a busy
# machine took 24 ms with two threads and 3 ms with one. The cores belong to the networks; and sums in float32 no
# longer depend on how many cores there are.
cv2.setNumThreads(1)

__all__ = ["MOST_PIXELS", "cv2", "remedy"]
