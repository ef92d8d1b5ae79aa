"""The command `edge-deploy bench`: what a user measures, in this order.

A new measurement is a file of its own and an entry here.
"""

from __future__ import annotations

import click

from deploy.bench.budgets import DEFAULT
from deploy.bench.engines import engines
from deploy.bench.latency import latency
from deploy.bench.measurement import Measurement
from deploy.bench.memory import memory
from deploy.bench.overhead import overhead
from deploy.bench.session import Asked, asking, measure
from deploy.bench.startup import startup
from deploy.bench.throughput import throughput

MEASUREMENTS = (
    Measurement(
        "startup", "Start of the daemon to READY, with warm caches, and its stages on their own", (25, 8), startup
    ),
    Measurement("overhead", "An inspection beside its bare graphs, on the same frame in turn", (50, 4), overhead),
    Measurement("latency", "Stages of a part, from its capture until a consumer has its result", (320, 12), latency),
    Measurement("throughput", "Parts a second, from frame to published result, of real daemons", (240, 15), throughput),
    Measurement(
        "memory", "Resident memory of the daemon while parts go through (smallest patch size)", (300, 12), memory
    ),
    Measurement("engines", "Each engine and variant that runs here", (20, 6), engines),
)


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
