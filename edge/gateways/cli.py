"""click group `edge-gateway`: one subcommand for each gateway, loaded when it is asked for.

Each needs the packages of its own extra only. Rejected: imports at the top, by which a station that speaks Modbus would
need what the others need, too.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import click

from edge.commands.errors import errors_in_one_line
from edge.log import configure_logging


class _Gateway(NamedTuple):
    """module: has a click command of the name `command`. extra: of pyproject.toml, None where it needs none."""

    module: str
    extra: str | None
    summary: str


GATEWAYS = {
    "metrics": _Gateway("edge.gateways.metrics_command", "metrics", "Figures of a station for Prometheus to scrape."),
    "modbus": _Gateway("edge.gateways.modbus_command", None, "Serve a PLC by Modbus TCP: trigger, verdict, gate."),
    "webhook": _Gateway("edge.gateways.webhook_command", None, "POST each record of a station, in order, signed."),
}


class LazyGroup(click.Group):
    """A group whose subcommands are those of GATEWAYS; none is imported before it is used, --help imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, sorted."""
        return sorted(GATEWAYS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """That gateway's command, None for an unknown name; UsageError where its extra is not installed."""
        if (gateway := GATEWAYS.get(cmd_name)) is None:
            return None
        try:
            module = import_module(gateway.module)
        except ModuleNotFoundError as error:
            if gateway.extra is None or (error.name or "").split(".")[0] == "edge":
                raise
            raise click.UsageError(
                f"{cmd_name} needs {error.name}, which is not installed: pip install 'edge-inspect[{gateway.extra}]'"
            ) from error
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each name and its summary."""
        with formatter.section("Gateways"):
            formatter.write_dl([(name, GATEWAYS[name].summary) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Connect a running station with a PLC or a plant's tools. Each gateway is a process that fails alone."""


def main() -> None:
    """Run `edge-gateway`; an expected error is one line on stderr and exit code 1."""
    configure_logging(is_limited=True)  # whoever is refused may knock for ever
    with errors_in_one_line("edge-gateway"):
        cli()


if __name__ == "__main__":
    main()
