"""Files that hold keys: secrets are written for their owner only, and not read when others could have read them.

Rejected: mending a secret's mode in silence, since somebody may have copied it by then.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edge.core.errors import SettingsError

MAX_KEY_FILE_BYTES = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_key_file(path: Path, *, is_secret: bool) -> str:
    """The text of a small file; SettingsError when it cannot be read, or is a secret that others may read.

    Files in $CREDENTIALS_DIRECTORY are systemd's to protect, and may show other modes.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            is_private = not status.st_mode & _OTHERS or path.parent == credentials_folder()
            if is_secret and not is_private:
                raise SettingsError(f"{path}: others than its owner may read this secret; make a new key (mode 0600)")
            text = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); see edge-deploy keys --help") from error
    if len(text) > MAX_KEY_FILE_BYTES or not text.isascii():
        raise SettingsError(f"{path}: this is no key file; see edge-deploy keys --help")
    return text.decode("ascii")


def write_key_file(path: Path, text: str, *, is_secret: bool) -> None:
    """Write a new file, a secret with mode 0600 from its first moment; SettingsError when there is one already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if is_secret else 0o644)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
    except FileExistsError as error:
        raise SettingsError(f"{path}: is there already; a key is never overwritten, remove it first") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror}); check the folder and its owner") from error


def credentials_folder() -> Path | None:
    """Where systemd puts secrets (LoadCredential=), if it does."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None
