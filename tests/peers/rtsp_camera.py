"""An RTSP camera on loopback, for the system's Python, as RTP/JPEG: `rtsp_camera.py PORT PATTERN WIDTH HEIGHT`."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  # after the versions

PORT, PATTERN, WIDTH, HEIGHT = sys.argv[1:]
PICTURE = f"video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate=25/1"


def main() -> None:
    """Serve rtsp://127.0.0.1:PORT/line until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(PORT)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.set_launch(f"( videotestsrc pattern={PATTERN} is-live=true ! {PICTURE} ! jpegenc ! rtpjpegpay name=pay0 )")
    server.get_mount_points().add_factory("/line", factory)
    if server.attach(None) == 0:
        sys.exit(f"port {PORT} is in use")
    GLib.MainLoop().run()


main()
