"""What is measured, in this order; a new measurement is a file of its own and an entry here.

First what an inspection costs here, then what it is compared with, then how the cost grows.
"""

from __future__ import annotations

from deploy.bench.engines import engines
from deploy.bench.latency import latency
from deploy.bench.measurement import Measurement
from deploy.bench.memory import memory
from deploy.bench.overhead import overhead
from deploy.bench.startup import startup
from deploy.bench.throughput import throughput
from deploy.lab.area import area
from deploy.lab.paper import paper
from deploy.lab.peak import peak
from deploy.lab.scales import scales

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
    Measurement(
        "engines", "Each engine and variant, beside EfficientAd-S (without its autoencoder)", (35, 10), engines
    ),
    Measurement("peak", "Our graphs beside what this CPU can do at most", (20, 5), peak),
    Measurement("paper", "Against the paper's networks, dense, in torch", (150, 20), paper),
    Measurement("area", "Cost against the area of the image", (90, 10), area),
    Measurement("scales", "Cost against the number of patch sizes and of students", (50, 20), scales),
)
