"""click command `edge-inspect`: flags and EDGE_INSPECT_* variables -> Settings; nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import edge
from edge.commands.doctor import check
from edge.core.bundle import VARIANTS
from edge.core.errors import EdgeError
from edge.core.redaction import hide_credentials
from edge.core.types import Acquisition
from edge.engines import ENGINE_NAMES
from edge.history.retention import Limits
from edge.log import configure_logging
from edge.pictures.evidence import EvidenceLimits
from edge.security.trust import trusted_folder
from edge.sources.camera_settings import NAMES, parse_settings
from edge.station.daemon import BAD_CONFIGURATION, BAD_FLAG, STOPPED, serve
from edge.station.settings import (
    DEFAULT_PUBLISH,
    DEFAULT_REPLAY,
    TRIGGERS,
    Settings,
    control_endpoint,
    journal_path,
    parse_gate,
    replay_endpoint,
)
from edge.wire.messages import Station

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(
    context_settings={
        "auto_envvar_prefix": "EDGE_INSPECT",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
    }
)
@click.version_option(edge.__version__)
@click.option("--camera", metavar="N", help="Camera number or device path; short for --source v4l2:N.")
@click.option(
    "--source",
    metavar="URI",
    help="Where frames come from: v4l2:0, v4l2:/dev/v4l/by-id/…, aravis:NAME, "
    "rtsp://…, gst:PIPELINE, file:clip.mp4, folder:/parts, demo:machined.",
)
@click.option("--bundle", type=FILE, required=True, help="What to inspect for: the bundle that edge-train wrote.")
@click.option(
    "--commissioning",
    metavar="PATH",
    help="Statistics and thresholds that edge-deploy commission fitted on this camera's good parts; none: those of "
    "the bundle.  [default: BUNDLE.commissioning.json, where it exists]",
)
@click.option(
    "--publish",
    default=DEFAULT_PUBLISH,
    show_default=True,
    metavar="ENDPOINT",
    help="Live ZeroMQ socket; loopback only, unless --keys is given.",
)
@click.option(
    "--acquisition",
    type=click.Choice([a.value for a in Acquisition]),
    help="triggered: each frame is a part with its own result. free: frames are a stream, only alerts are "
    "sent.  [default: triggered for folder: and demo:, else free]",
)
@click.option(
    "--gate", metavar="K/N", help="In a stream, alert when K of the last N frames are defective.  [default: 2/3]"
)
@click.option(
    "--hold-off-s", default=1.0, show_default=True, help="In a stream, seconds until the same alert may repeat."
)
@click.option("--deadline-ms", type=float, help="A part decided later than this after capture is never OK.")
@click.option(
    "--engine",
    type=click.Choice(ENGINE_NAMES),
    default="auto",
    show_default=True,
    help="auto: TensorRT where its engines of this bundle were built once, else ONNX Runtime. tensorrt: builds them "
    "first where they are missing, which takes minutes.",
)
@click.option("--threads", default=0, show_default=True, help="Threads of the CPU engine; 0 means one a core.")
@click.option(
    "--variant",
    type=click.Choice(VARIANTS.split("|")),
    help="Precision of the graphs.  [default: fp16 on TensorRT where the bundle has it, else fp32]",
)
@click.option(
    "--engines",
    type=FOLDER,
    help="Where TensorRT's engines are kept.  [default: $STATE_DIRECTORY/engines, else ~/.cache/edge-inspect/engines]",
)
@click.option("--cuda-graph", is_flag=True, help="TensorRT: replay one recorded sequence instead of many calls.")
@click.option(
    "--source-lost-s", default=30.0, show_default=True, help="Give up on a silent camera after so long (exit 75)."
)
@click.option(
    "--camera-set",
    multiple=True,
    metavar="NAME=VALUE",
    help=f"Force this on the camera and read it back whenever it is opened: {', '.join(NAMES)}. Repeatable.",
)
@click.option("--overlays", type=FOLDER, help="Write a picture of each rejected part here; the newest 200 are kept.")
@click.option(
    "--journal",
    metavar="PATH",
    help="Keep every record in this file before it is announced; none keeps them in memory only.  [default: "
    "journal.db in $STATE_DIRECTORY, which systemd sets; none without it]",
)
@click.option(
    "--replay",
    metavar="ENDPOINT",
    help="Serve history to consumers here, loopback only unless --keys is given; none serves it nowhere. Without a "
    f"journal's file only the newest records are there.  [default: {DEFAULT_REPLAY} with --journal, else none]",
)
@click.option(
    "--evidence",
    type=FOLDER,
    help="Keep image, map and overlay of rejected parts here, named by content; needs --journal.",
)
@click.option("--evidence-good-share", default=0.01, show_default=True, help="The share of good parts kept too.")
@click.option("--evidence-max-mb", default=4096, show_default=True, help="Drop the oldest evidence beyond this size.")
@click.option(
    "--control",
    metavar="ENDPOINT",
    help="Take commands here (see edge-control); none takes none.  [default: with a journal, control.sock beside it "
    "or in $RUNTIME_DIRECTORY]",
)
@click.option(
    "--trigger",
    type=click.Choice(TRIGGERS),
    default="source",
    show_default=True,
    help="What says that a part is there: every frame of the source, or a command on the control socket.",
)
@click.option(
    "--trusted-keys",
    type=FOLDER,
    help="Run only bundles signed by a key in this folder (see edge-deploy sign).  [default: trusted in "
    "$CONFIGURATION_DIRECTORY or /etc/edge-inspect, if it is there]",
)
@click.option(
    "--keys",
    type=FOLDER,
    help="Serve only who has a key in consumers/ of this folder, encrypted, on all sockets (see edge-deploy keys); "
    "needed beyond loopback.",
)
@click.option("--insecure-plaintext", is_flag=True, help="Let anyone on the network read and command this station.")
@click.option("--allow-rollback", is_flag=True, help="Run a signed bundle of an older release than one that ran.")
@click.option("--journal-max-mb", default=1024, show_default=True, help="Drop the oldest records beyond this size …")
@click.option("--journal-max-age-h", default=2160.0, show_default=True, help="… or this age …")
@click.option("--journal-min-age-h", default=1.0, show_default=True, help="… but never younger ones …")
@click.option(
    "--require-consumer",
    multiple=True,
    metavar="NAME",
    help="… nor what this consumer has not acknowledged. Repeatable.",
)
@click.option(
    "--wait-for-subscriber-s",
    default=0.0,
    show_default=True,
    help="Hold the first part until somebody subscribes, for so long at most; for folders and demos.",
)
@click.option("--site", default="site", show_default=True, help="First part of every topic.")
@click.option("--line", default="line", show_default=True, help="Second part of every topic.")
@click.option("--station", default="station", show_default=True, help="Third part of every topic.")
@click.option("--device-id", default="device", show_default=True)
@click.option("--camera-id", default="camera", show_default=True)
@click.option("--check", "only_check", is_flag=True, help="Open everything, inspect one frame, report, and exit.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def command(only_check: bool, log_level: str, **flags: Any) -> None:
    """Inspect parts from a camera, a file or a folder, and publish every verdict over ZeroMQ.

    \b
    Try it:     edge-inspect --source demo:machined --bundle machined.bundle
    A camera:   edge-inspect --camera 0 --bundle part.bundle
    A folder:   edge-inspect --source folder:/parts --bundle part.bundle --overlays /tmp/overlays
    Is it well: edge-inspect --camera 0 --bundle part.bundle --check
    Watch it:   edge-watch tcp://127.0.0.1:5556

    Every option is also a variable: --source-lost-s is EDGE_INSPECT_SOURCE_LOST_S.

    \b
    Exit codes: 0 stopped or source ended, 2 bad flag, 70 failure while running (restart),
    75 camera lost (restart), 78 bad bundle, source or configuration, address in use (do not restart).
    """
    configure_logging(log_level, is_limited=True)
    try:
        settings = _settings(flags)
    except EdgeError as error:
        click.echo(f"edge-inspect: {hide_credentials(str(error))}", err=True)
        sys.exit(BAD_FLAG)
    if only_check:
        sys.exit(STOPPED if check(settings) else BAD_CONFIGURATION)
    sys.exit(serve(settings))


def _settings(flags: dict[str, Any]) -> Settings:
    if (flags["camera"] is None) == (flags["source"] is None):
        raise click.UsageError(
            "give exactly one of --camera and --source, such as --camera 0 or --source folder:/parts"
        )
    journal = journal_path(flags["journal"])
    return Settings(
        source=flags["source"] or f"v4l2:{flags['camera']}",
        bundle=flags["bundle"],
        commissioning=flags["commissioning"],
        publish=flags["publish"],
        acquisition=Acquisition(flags["acquisition"]) if flags["acquisition"] else None,
        gate=parse_gate(flags["gate"]) if flags["gate"] else None,
        hold_off_s=flags["hold_off_s"],
        station=Station(flags["site"], flags["line"], flags["station"], flags["device_id"], flags["camera_id"]),
        engine=flags["engine"],
        threads=flags["threads"],
        variant=flags["variant"],
        engines=flags["engines"],
        cuda_graph=flags["cuda_graph"],
        deadline_ms=flags["deadline_ms"],
        source_lost_s=flags["source_lost_s"],
        camera_settings=parse_settings(flags["camera_set"]),
        overlays=flags["overlays"],
        wait_for_subscriber_s=flags["wait_for_subscriber_s"],
        journal=journal,
        evidence=flags["evidence"],
        evidence_limits=EvidenceLimits(
            max_bytes=flags["evidence_max_mb"] << 20, good_share=flags["evidence_good_share"]
        ),
        control=control_endpoint(flags["control"], journal),
        trusted_keys=trusted_folder(flags["trusted_keys"]),
        allow_rollback=flags["allow_rollback"],
        keys=flags["keys"],
        insecure_plaintext=flags["insecure_plaintext"],
        trigger=flags["trigger"],
        replay=replay_endpoint(flags["replay"], journal),
        limits=Limits(
            max_bytes=flags["journal_max_mb"] << 20,
            max_age_s=3600 * flags["journal_max_age_h"],
            min_age_s=3600 * flags["journal_min_age_h"],
            required=frozenset(flags["require_consumer"]),
        ),
    )


def main() -> None:
    """Entry point of `edge-inspect`."""
    command()


if __name__ == "__main__":
    main()
