"""The fault matrix in full figures: `make faults`, whose results are committed as RESULTS.md.

`make test` samples it. The knob between the two is MULTIPLIER, read here and nowhere else: how many times a test takes
the samples that it names. It is 1 in `make test`, which has minutes for all of them, and in `make faults` what
`rows.py` says of each row. By hand: `EDGE_FAULTS=20 pytest tests/edge/station/test_faults.py`. The rows that only
measure (latency, a million records, a stuck consumer, the soak, the pictures) are in `make faults` alone.
"""

import os

MULTIPLIER = int(os.environ.get("EDGE_FAULTS", "1"))
