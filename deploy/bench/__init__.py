"""What a user measures on his machine, one file a measurement: `edge-deploy bench` runs `plan.py`, in `session.py`.

`wire.py` is a command of its own, bench-wire: it needs no bundle, and is asked on the disk where the journal will be.
"""
