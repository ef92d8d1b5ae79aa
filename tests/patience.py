"""How long tests wait for what must come; a neighbour that takes the processor or the disk is no failure."""

WAIT_S = 120.0
