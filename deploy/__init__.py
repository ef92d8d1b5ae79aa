"""What runs on the target beside the daemon: engines, verification, commissioning, keys, and measuring
(FIGURES.md)."""
