"""click group `edge-deploy`: what is done on the target beside the daemon."""

from __future__ import annotations

import click

from deploy.backup import backup_command, restore_command
from deploy.bench.command import bench
from deploy.bench.wire import main as bench_wire
from deploy.collect import collect_command
from deploy.commission import commission_command
from deploy.contest import choose
from deploy.engines import engines
from deploy.grab import grab_command
from deploy.keys import keys, sign
from deploy.lab.command import lab
from deploy.latency import latency
from deploy.page_certificate import page_certificate
from deploy.recipes import recipes
from deploy.sbom import sbom
from deploy.selftest import selftest
from deploy.verify import verify
from edge.commands.bits import BITS_ATTRIBUTES
from edge.commands.errors import errors_in_one_line
from edge.commands.groups import HelpfulGroup
from edge.log import configure_logging


@click.group(cls=HelpfulGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--bits", **BITS_ATTRIBUTES)
def cli() -> None:
    """Prepare and check this device for a bundle.

    \b
    A Jetson's first start:
      edge-deploy engines part.bundle                         build TensorRT's engines, once
      edge-deploy verify part.bundle --images parts/good      prove that no verdict changes
      edge-deploy commission part.bundle --source v4l2:0      thresholds from good parts that this camera sees
      edge-deploy selftest > report.json                      what cannot be known without the device
      edge-deploy bench part.bundle                           what an inspection costs here, against budgets

    \b
    A new part:
      edge-deploy grab --source v4l2:0 --out parts/good       the first pictures, for edge-train fit
      edge-deploy recipes recipes.json 7=part.bundle          its number, for a PLC

    \b
    Who may do what: edge-deploy keys --help, and
      edge-deploy sign part.bundle --key NAME.signing-secret  only signed bundles run where keys are trusted
    """


cli.add_command(backup_command)
cli.add_command(bench)
cli.add_command(choose)
cli.add_command(bench_wire, "bench-wire")
cli.add_command(collect_command)
cli.add_command(commission_command)
cli.add_command(engines)
cli.add_command(grab_command)
cli.add_command(keys)
cli.add_command(lab)
cli.add_command(latency)
cli.add_command(page_certificate)
cli.add_command(recipes)
cli.add_command(restore_command)
cli.add_command(sbom)
cli.add_command(selftest)
cli.add_command(sign)
cli.add_command(verify)


def main() -> None:
    """Run `edge-deploy`; an expected error is one line on stderr and exit code 1."""
    configure_logging()
    with errors_in_one_line("edge-deploy"):
        cli()


if __name__ == "__main__":
    main()
