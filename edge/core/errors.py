"""Every error a person may meet: each message says what is wrong, where, and what to do.

The daemon maps classes to exit codes (see `edge.station.daemon`); nothing catches `EdgeError` to hide it.
"""

import errno


class EdgeError(Exception):
    """Base of all errors this project raises on purpose."""


class SettingsError(EdgeError):
    """A flag or variable is wrong; the message names it."""


class Unavailable(EdgeError):
    """What is wanted cannot be had at the moment: another has the lock or the address, the disk is full. Try again."""


_PASSES_BY_ITSELF = (
    errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EAGAIN, errno.EBUSY, errno.EDQUOT, errno.EIO, errno.EMFILE,
    errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EROFS, errno.ESTALE, errno.ETXTBSY,
)  # fmt: skip


def refusal(number: int | None, message: str) -> EdgeError:
    """For a system's error of that number: Unavailable where it may pass by itself, SettingsError where it will not."""
    return (Unavailable if number in _PASSES_BY_ITSELF else SettingsError)(message)


class BundleError(EdgeError):
    """A bundle is corrupt, foreign, of another version, or does not fit what it is used for."""


class EngineError(EdgeError):
    """A runtime refused a graph or failed while running it."""


class BuildStopped(EngineError):
    """The process was told to end while it built engines; not a failure."""


class SourceError(EdgeError):
    """A source cannot be opened or read."""


class SourceEnded(SourceError):
    """The source has no more frames; not a failure for files and folders."""


class SourceLost(SourceError):
    """A live source stopped giving frames and could not be reopened in time."""


class SinkError(EdgeError):
    """A record could not be delivered."""


class OutputError(EdgeError):
    """A file that a command is to write cannot be written; the message names it."""


class PromiseError(EdgeError):
    """Good images are too few, or too much alike, for what was to be promised of them; says how many are enough."""


class TrainingError(EdgeError):
    """Training cannot start, or cannot go on; the message names images or settings."""
