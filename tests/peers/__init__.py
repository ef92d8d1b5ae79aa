"""Peers: programs and libraries that others wrote, which tests want where they are installed (debian.txt)."""
