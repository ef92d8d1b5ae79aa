"""An RTSP camera on loopback, for the system's Python: a green picture as RTP/JPEG, on the port that it is given."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  # after the versions

PICTURE = "video/x-raw,format=I420,width=64,height=48,framerate=25/1"


def main() -> None:
    """Serve rtsp://127.0.0.1:PORT/line until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.set_launch(f"( videotestsrc pattern=green is-live=true ! {PICTURE} ! jpegenc ! rtpjpegpay name=pay0 )")
    server.get_mount_points().add_factory("/line", factory)
    if server.attach(None) == 0:
        sys.exit(f"port {sys.argv[1]} is in use")
    GLib.MainLoop().run()


main()
