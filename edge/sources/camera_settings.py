"""What `--camera-set` forces on a camera, and that it took it: read back at every opening.

A camera that comes back from a power cut has its factory's exposure, and its pictures still look like pictures. A
setting that does not read back is a lost camera, tried again, and never a stream. Rejected: setting and hoping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge.core.errors import SettingsError, SourceError
from edge.core.opencv import cv2

NAMES = ("exposure", "gain", "white_balance", "trigger", "pixel_format", "width", "height", "fps")

# GenICam features by name (Standard Feature Naming Convention): what to switch off first, then the value itself.
_GENICAM: Mapping[str, tuple[str | None, str]] = {
    "exposure": ("ExposureAuto", "ExposureTime"),  # microseconds
    "gain": ("GainAuto", "Gain"),
    "white_balance": (None, "BalanceWhiteAuto"),
    "trigger": (None, "TriggerMode"),
    "pixel_format": (None, "PixelFormat"),
    "width": (None, "Width"),
    "height": (None, "Height"),
    "fps": (None, "AcquisitionFrameRate"),
}
_V4L2: Mapping[str, tuple[tuple[int, float] | None, int]] = {
    "exposure": ((cv2.CAP_PROP_AUTO_EXPOSURE, 1), cv2.CAP_PROP_EXPOSURE),  # V4L2_EXPOSURE_MANUAL; 100 µs
    "gain": (None, cv2.CAP_PROP_GAIN),
    "white_balance": ((cv2.CAP_PROP_AUTO_WB, 0), cv2.CAP_PROP_WB_TEMPERATURE),  # Kelvin
    "trigger": (None, cv2.CAP_PROP_TRIGGER),
    "pixel_format": (None, cv2.CAP_PROP_FOURCC),
    "width": (None, cv2.CAP_PROP_FRAME_WIDTH),
    "height": (None, cv2.CAP_PROP_FRAME_HEIGHT),
    "fps": (None, cv2.CAP_PROP_FPS),
}


def parse_settings(texts: Sequence[str]) -> dict[str, str]:
    """{name: value} of "exposure=500" …; SettingsError names what is wrong and the names there are."""
    settings: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value or name not in NAMES or name in settings:
            raise SettingsError(f"--camera-set {text}: write NAME=VALUE, each name once, of {', '.join(NAMES)}")
        if name not in ("pixel_format", "white_balance", "trigger") and not _is_number(value):
            raise SettingsError(f"--camera-set {text}: give {name} as a number")
        settings[name] = value
    return settings


def genicam_features(settings: Mapping[str, str]) -> dict[str, str]:
    """GenICam features in the order to write them: format and size before timing, automatics off before values."""
    features: dict[str, str] = {}
    for name in sorted(settings, key=("pixel_format", "width", "height", "trigger").__contains__, reverse=True):
        automatic, feature = _GENICAM[name]
        if automatic is not None:
            features[f"?{automatic}"] = "Off"  # where the camera has an automatic at all
        if name == "trigger" and is_released(settings):
            features |= {"?TriggerSelector": "FrameStart", "TriggerMode": "On", "TriggerSource": "Software"}
        else:
            features[feature] = settings[name]
    return features


def is_released(settings: Mapping[str, str]) -> bool:
    """Whether the camera exposes when this station tells it to."""
    return settings.get("trigger", "").lower() == "software"


def force_v4l2(video: cv2.VideoCapture, settings: Mapping[str, str], where: str) -> None:
    """Set each on an open OpenCV camera, then read all back; SourceError names the first that did not take."""
    wanted: list[tuple[str, int, float]] = []
    for name, text in settings.items():
        manual, prop = _V4L2[name]
        if manual is not None:
            wanted.append((f"{name} (automatic off)", *manual))
        wanted.append((name, prop, _v4l2_value(name, text)))
    for _, prop, value in wanted:
        video.set(prop, value)
    for name, prop, value in wanted:
        if abs((got := video.get(prop)) - value) > 0.01 * abs(value):
            raise SourceError(
                f"{where}: {name} was set to {value:g} and reads back as {got:g}; see v4l2-ctl -d {where} "
                "--list-ctrls-menus for what it takes, and correct --camera-set"
            )


def _v4l2_value(name: str, text: str) -> float:
    if name == "pixel_format":
        return float(cv2.VideoWriter.fourcc(*text.ljust(4)[:4]))
    if name == "trigger":
        return float(text.lower() in ("on", "1"))
    if not _is_number(text):
        raise SettingsError(f"--camera-set {name}={text}: a V4L2 camera takes a number here")
    return float(text)


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text) and abs(float(text)) < 1e9
    except ValueError:
        return False
