"""The page: what a station does and what people say of its parts, in a browser; a process that only consumes sockets.

Rejected: pages served by the daemon, which a slow browser or a flaw in a template could then delay or end.
"""
