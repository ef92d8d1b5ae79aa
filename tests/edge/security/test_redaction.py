"""A camera's password is in no log, no record and no message, however odd it is and wherever it stands."""

from __future__ import annotations

import pytest

from edge.core.redaction import hide_credentials
from edge.log import _hide_credentials
from edge.sources.network import redacted, redacted_pipeline
from edge.wire.recording import audit_record, birth_record, death_record
from edge.wire.vocabulary import Outcome
from tests.edge import samples

ADDRESSES = [
    "rtsp://admin:s3cret@10.0.0.7:554/live",
    "rtsp://admin:p@s3cret@cam/live",
    "rtsp://admin:a/s3cret@cam/live",
    "http://cam/stream?user=x&password=s3cret&size=2",
    "http://cam/stream?Token=s3cret",
    "rtsp://admin:pa#s3cret@cam/live",
    "rtsp://admin:pa?s3cret@cam/live",
    "rtsp://cam/user=admin&password=s3cret&channel=1&stream=0.sdp",
    "rtsp://cam/user=admin_password=s3cret_channel=1.sdp",
    "rtsp://cam/cam/realmonitor?user=s3cret&pwd=s3cret",
    "http://cam/axis-cgi/mjpg/video.cgi?usr=s3cret&pass=s3cret",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_password_is_logged_or_told(address: str) -> None:
    sentence = f"{address}: lost for 30 s; check the cable"
    assert "s3cret" not in hide_credentials(sentence) and "check the cable" in hide_credentials(sentence)
    event = _hide_credentials(None, "", {"event": sentence, "more": {"uris": [address], "count": 2}})
    assert "s3cret" not in str(event) and event["more"]["count"] == 2
    assert "s3cret" not in death_record(samples.origin(), samples.stamp(), sentence).reason
    audit = audit_record(samples.origin(), samples.stamp(), "x", Outcome.REFUSED, address, details=sentence)
    assert "s3cret" not in f"{audit.details}{audit.arguments}"
    birth = birth_record(samples.origin(camera_uri=address), samples.stamp())
    assert "s3cret" not in birth.camera_uri and birth.camera_uri.startswith(address.partition("://")[0])
    assert "s3cret" not in redacted(address) and "s3cret" not in redacted_pipeline(f"rtspsrc location={address} ! x")


def test_what_is_no_secret_stays() -> None:
    for text in (
        "folder:/parts@2",
        "tcp://127.0.0.1:5556 and anna@example",
        "rtsp://cam/live?size=2",
        "user=x is no address",
    ):
        assert hide_credentials(text) == text
