"""The command `edge-deploy lab`."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.bench.session import Asked, asking, measure
from deploy.lab.plan import MEASUREMENTS

BUDGETS = Path(__file__).parent / "budgets.json"


@click.command()
@asking(MEASUREMENTS, BUDGETS)
def lab(asked: Asked) -> None:
    """Measure what the developers compare; no line needs it. Exit 1 where a budget is exceeded.

    BUNDLE, the demo's if none is given, beside EfficientAd-S, the paper's networks and the most this machine can do;
    then what larger images, more patch sizes and more students cost. Some of it needs the trainer, and says so where
    there is none. Takes about six minutes on two cores; what a user needs to know is in edge-deploy bench.
    """
    measure(MEASUREMENTS, asked)
