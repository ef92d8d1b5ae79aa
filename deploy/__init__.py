"""What runs on the target beside the daemon: measuring, and later engines, verification and commissioning."""
