"""What we measure of ourselves, in this order: first what it is compared with, then how the cost grows."""

from __future__ import annotations

from deploy.bench.measurement import Measurement
from deploy.lab.area import area
from deploy.lab.efficientad import efficientad
from deploy.lab.handling import handling
from deploy.lab.paper import paper
from deploy.lab.peak import peak
from deploy.lab.scales import scales

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
