"""What stands between a station and its factory: each gateway is a process of its own, a consumer that fails alone.

Rejected: threads in the daemon, where a PLC's stack could delay or end inspection.
"""
