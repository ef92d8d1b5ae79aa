"""An RTSP camera on loopback, for the system's Python: prints its port, and serves a green picture as RTP/JPEG."""

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
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.set_launch(f"( videotestsrc pattern=green is-live=true ! {PICTURE} ! jpegenc ! rtpjpegpay name=pay0 )")
    server.get_mount_points().add_factory("/line", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
