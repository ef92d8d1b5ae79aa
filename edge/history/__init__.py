"""What happened, in order, for good.

Without a place for a file ($STATE_DIRECTORY or --journal) it is kept in memory, and the log's line `ready` says what
that means. What cannot be committed was never told: its numbers are given back, and its parts become one gap,
`not_journaled`, which heartbeats count as undecided. Checkpoints wait until the line is idle: they are the long syncs.
A required consumer outranks the disk: rather than drop what it has not acknowledged, the station decides nothing.
"""
