"""click command `edge-inspect`: flags and EDGE_INSPECT_* variables -> Settings; nothing else.

The flags themselves stand beside the settings they fill, in `edge.station.settings`.
"""

from __future__ import annotations

import sys
from typing import Any

import click

import edge
from edge.commands.bits import BITS_ATTRIBUTES
from edge.commands.doctor import check
from edge.commands.groups import GroupedCommand
from edge.commands.instance import INSTANCE
from edge.core.errors import EdgeError
from edge.core.redaction import hide_credentials
from edge.log import configure_logging
from edge.station.daemon import BAD_CONFIGURATION, BAD_FLAG, STOPPED, serve
from edge.station.settings import FIRST_DAY, FLAGS, settings_of
from edge.station.settings.flags import Flag

CHECK = Flag(
    "--check",
    "A first day",
    "only_check",
    is_flag=True,
    default=False,
    help="Open everything, inspect one frame, report, and exit.",
)
BITS = Flag("--bits", "Image files", **BITS_ATTRIBUTES)
LOG_LEVEL = Flag("--log-level", "Log", type=click.Choice(["debug", "info", "warning", "error"]), default="info")


def inspect(only_check: bool, log_level: str, **flags: Any) -> None:
    """Inspect parts from a camera, a file or a folder, and publish every verdict over ZeroMQ.

    \b
    Try it:     edge-inspect --source demo:machined --bundle machined.bundle
    A camera:   edge-inspect --camera 0 --bundle part.bundle
    A folder:   edge-inspect --source folder:/parts --bundle part.bundle --overlays /tmp/overlays
    Is it well: edge-inspect --camera 0 --bundle part.bundle --check
    A service:  sudo -u edge-inspect edge-inspect --instance line1 --check
    Watch it:   edge-watch tcp://127.0.0.1:5556

    Every option is also a variable: --source-lost-s is EDGE_INSPECT_SOURCE_LOST_S.

    \b
    Exit codes: 0 stopped or source ended, 2 bad flag, 70 failure while running (restart),
    75 camera lost, lock or address held by another, disk full or read-only (restart until it has passed),
    78 bad bundle, source or configuration: a person must change a file or a flag (do not restart).
    """
    configure_logging(log_level, is_limited=True)
    try:
        settings = settings_of(**flags)
    except EdgeError as error:
        click.echo(f"edge-inspect: {hide_credentials(str(error))}", err=True)
        sys.exit(BAD_FLAG)
    if only_check:
        sys.exit(STOPPED if check(settings) else BAD_CONFIGURATION)
    sys.exit(serve(settings))


command = GroupedCommand(
    "edge-inspect",
    callback=inspect,
    params=[*FIRST_DAY, CHECK, INSTANCE, *FLAGS, BITS, LOG_LEVEL],
    help=inspect.__doc__,
    context_settings={
        "auto_envvar_prefix": "EDGE_INSPECT",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
    },
)
click.version_option(edge.__version__)(command)


def main() -> None:
    """Entry point of `edge-inspect`."""
    command()


if __name__ == "__main__":
    main()
