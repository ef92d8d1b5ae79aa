"""The command `edge-deploy lab`: what we measure of ourselves. First what it is compared with, then how cost grows."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.bench.measurement import Measurement
from deploy.bench.session import Asked, asking, measure
from deploy.lab.area import area
from deploy.lab.efficientad import efficientad
from deploy.lab.handling import handling
from deploy.lab.paper import paper
from deploy.lab.peak import peak
from deploy.lab.scales import scales

BUDGETS = Path(__file__).parent / "budgets.json"

MEASUREMENTS = (
    Measurement(
        "efficientad", "Each engine and variant, beside EfficientAd-S (without its autoencoder)", (35, 10), efficientad
    ),
    Measurement("peak", "Our graphs beside what this CPU can do at most", (20, 5), peak),
    Measurement("handling", "What a part costs beside its graphs", (10, 3), handling),
    Measurement("paper", "Against the paper's networks, dense, in torch", (150, 20), paper),
    Measurement("area", "Cost against the area of the image", (90, 10), area),
    Measurement("scales", "Cost against the number of patch sizes and of students", (50, 20), scales),
)


@click.command()
@asking(MEASUREMENTS, BUDGETS)
def lab(asked: Asked) -> None:
    """Measure what the developers compare; no line needs it. Exit 1 where a budget is exceeded.

    BUNDLE, the demo's if none is given, beside EfficientAd-S, the paper's networks and the most this machine can do;
    then what larger images, more patch sizes and more students cost. Some of it needs the trainer, and says so where
    there is none. Takes about six minutes on two cores; what a user needs to know is in edge-deploy bench.
    """
    measure(MEASUREMENTS, asked)
