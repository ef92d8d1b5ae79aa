"""The command `edge-deploy bench`."""

from __future__ import annotations

import click

from deploy.bench.budgets import DEFAULT
from deploy.bench.plan import MEASUREMENTS
from deploy.bench.session import Asked, asking, measure


@click.command()
@asking(MEASUREMENTS, DEFAULT)
def bench(asked: Asked) -> None:
    """Measure what an inspection with BUNDLE costs on this machine; exit 1 where a budget is exceeded.

    BUNDLE is the demo's if none is given. Everything is compared within this one run, in turn, as medians: machines
    differ and are noisy, so trust the ratios. Stop the daemon first. Takes about a quarter of an hour on two cores.

    What we measure of ourselves (other networks, the paper's, the machine's peak, larger images, more patch sizes) is
    in edge-deploy lab; the way of a verdict through the journal to a consumer in edge-deploy bench-wire.
    """
    measure(MEASUREMENTS, asked)
