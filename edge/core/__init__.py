"""What trainer and daemon must agree on; imports numpy, OpenCV and the standard library only."""
