"""What is forced on a camera is read back, or the camera is not used."""

from __future__ import annotations

import cv2
import pytest

from edge.core.errors import SettingsError, SourceError
from edge.sources.camera_settings import force_v4l2, genicam_features, parse_settings


class Properties:
    """A camera whose controls keep what they are given, but for those that are stuck."""

    def __init__(self, stuck: dict[int, float] | None = None) -> None:
        self.values: dict[int, float] = {}
        self._stuck = stuck or {}

    def set(self, prop: int, value: float) -> bool:
        self.values[prop] = self._stuck.get(prop, value)
        return True

    def get(self, prop: int) -> float:
        return self.values.get(prop, 0.0)


def test_a_value_switches_its_automatic_off() -> None:
    camera = Properties()
    force_v4l2(camera, parse_settings(["exposure=80", "white_balance=4600", "pixel_format=YUYV"]), "/dev/video0")  # type: ignore[arg-type]
    assert camera.values == {
        cv2.CAP_PROP_AUTO_EXPOSURE: 1,
        cv2.CAP_PROP_EXPOSURE: 80,
        cv2.CAP_PROP_AUTO_WB: 0,
        cv2.CAP_PROP_WB_TEMPERATURE: 4600,
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"YUYV"),
    }


@pytest.mark.parametrize(
    ("stuck", "what"),
    [
        ({cv2.CAP_PROP_AUTO_EXPOSURE: 3.0}, r"exposure \(automatic off\) was set to 1 and reads back as 3"),
        ({cv2.CAP_PROP_EXPOSURE: 156.0}, "exposure was set to 80 and reads back as 156"),
    ],
)
def test_a_setting_that_does_not_read_back_is_refused(stuck: dict[int, float], what: str) -> None:
    with pytest.raises(SourceError, match=what):
        force_v4l2(Properties(stuck), {"exposure": "80"}, "/dev/video0")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["shutter=3", "gain", "gain=", "gain=high", "exposure=nan"])
def test_a_wrong_setting_is_refused_with_the_names_there_are(wrong: str) -> None:
    with pytest.raises(SettingsError, match="--camera-set"):
        parse_settings([wrong])


def test_a_name_is_given_once() -> None:
    with pytest.raises(SettingsError, match="each name once"):
        parse_settings(["gain=1", "gain=2"])


def test_genicam_gets_format_and_size_first_and_automatics_before_values() -> None:
    features = genicam_features({"exposure": "5000", "gain": "2", "width": "640", "pixel_format": "Mono8"})
    names = list(features)
    assert set(names[:2]) == {"Width", "PixelFormat"}
    assert names.index("?ExposureAuto") < names.index("ExposureTime")
    assert features["?GainAuto"] == "Off" and features["Gain"] == "2"


def test_a_camera_that_is_to_wait_for_commands_is_set_up_so() -> None:
    features = genicam_features({"trigger": "Software", "exposure": "5000"})
    assert list(features.items())[:3] == [
        ("?TriggerSelector", "FrameStart"),
        ("TriggerMode", "On"),
        ("TriggerSource", "Software"),
    ]
    assert genicam_features({"trigger": "On"}) == {"TriggerMode": "On"}
