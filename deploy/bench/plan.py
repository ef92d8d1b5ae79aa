"""What a user measures, in this order; a new measurement is a file of its own and an entry here."""

from __future__ import annotations

from deploy.bench.engines import engines
from deploy.bench.latency import latency
from deploy.bench.measurement import Measurement
from deploy.bench.memory import memory
from deploy.bench.overhead import overhead
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
