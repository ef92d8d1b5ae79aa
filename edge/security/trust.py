"""Which bundles may run here: signed by a trusted key, and no older release than one that ran.

`Trust.load` is the one door, at the start and for a RECIPE. The highest release is written down for what --bundle
named only: a start must find that acceptable whatever commands have changed to since, or a crash would blind the line.
Without trusted keys nothing is asked of a bundle, and releases, which anyone could then write, are not looked at.
Rejected: trusting on first use (the first file may be the wrong one).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from edge.core.bundle import Bundle, load_bundle
from edge.core.errors import BundleError, SettingsError, refusal
from edge.core.files import sync
from edge.security.signing import PUBLIC_SUFFIX, read_public_key, signer_of

RELEASES = "releases.json"
_DEFAULT_FOLDER = "/etc/edge-inspect"


class Trust:
    """Loads what may run. folder: of public keys, None to trust everything; state: where releases are remembered.

    SettingsError for a folder without keys or with something else under a key's name.
    """

    def __init__(
        self, folder: Path | None = None, state: Path | None = None, *, is_rollback_allowed: bool = False
    ) -> None:
        self._keys = None if folder is None else _read_keys(folder)
        self._file = None if state is None else state / RELEASES
        self._is_rollback_allowed = is_rollback_allowed
        self._releases = {} if self._keys is None or self._file is None else _read_releases(self._file)

    @property
    def description(self) -> str:
        """For the operator: who is trusted, and what is remembered."""
        if self._keys is None:
            return "any bundle runs: there are no trusted keys"
        remembered = "not remembered over restarts: no journal" if self._file is None else f"in {self._file}"
        return f"bundles signed by {', '.join(sorted(self._keys.values()))}; releases {remembered}"

    def load(self, path: Path) -> Bundle:
        """A bundle that may run; BundleError where it is damaged, not signed by a trusted key, or too old."""
        if self._keys is None:
            return load_bundle(path)
        bundle = load_bundle(path, self._signer)
        manifest = bundle.manifest
        highest = self._releases.get(manifest.product, manifest.version)
        if manifest.version < highest and not self._is_rollback_allowed:
            raise BundleError(
                f"bundle {path}: {manifest.product} release {manifest.version} is older than release {highest}, which "
                "ran here; start with --allow-rollback if that is meant"
            )
        return bundle

    def ran(self, bundle: Bundle, *, is_start: bool = False) -> None:
        """It was proved on this machine: from now on older releases are refused, at a start over restarts too.

        SettingsError when that cannot be written down.
        """
        if self._keys is None:
            return
        product, version = bundle.manifest.product, bundle.manifest.version
        before = dict(self._releases)
        self._releases[product] = version if self._is_rollback_allowed else max(version, before.get(product, version))
        if is_start and self._file is not None and self._releases != before:
            _write_releases(self._file, self._releases)

    def _signer(self, manifest: bytes, signature: bytes | None, where: str) -> str:
        if signature is None:
            raise BundleError(f"bundle {where}: not signed; sign it (edge-deploy sign), only signed bundles run here")
        public = signer_of(manifest, signature)
        if public is None:
            raise BundleError(f"bundle {where}: its signature is not of this manifest; copy it again or sign it anew")
        name = (self._keys or {}).get(public)
        if name is None:
            raise BundleError(f"bundle {where}: signed by a key that is not trusted here ({public.hex()[:16]}…)")
        return name


def trusted_folder(flag: Path | None) -> Path | None:
    """Where trusted keys are: what --trusted-keys says; else `trusted` in systemd's folder or /etc, if it is there."""
    if flag is not None:
        return flag
    folder = Path(os.environ.get("CONFIGURATION_DIRECTORY", "").partition(":")[0] or _DEFAULT_FOLDER) / "trusted"
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # there may be keys that we are kept from: not the same as none
        raise SettingsError(f"--trusted-keys {folder}: cannot be read ({error.strerror}); check its owner") from error
    return folder


def _read_keys(folder: Path) -> Mapping[bytes, str]:
    try:
        files = sorted(path for path in folder.iterdir() if path.name.endswith(PUBLIC_SUFFIX))
    except OSError as error:
        raise SettingsError(f"--trusted-keys {folder}: cannot be read ({error.strerror}); check the path") from error
    keys = {read_public_key(path): path.name.removesuffix(PUBLIC_SUFFIX) for path in files}
    if not keys:
        raise SettingsError(
            f"--trusted-keys {folder}: no NAME{PUBLIC_SUFFIX} in it, so no bundle could run; put the public keys of "
            "those who sign there, or remove the folder to run any bundle"
        )
    return keys


def _read_releases(file: Path) -> dict[str, int]:
    """The highest release of each product; a file that cannot be read is not the same as none."""
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: cannot be read ({error}); remove it to forget which releases ran") from error
    if not isinstance(content, dict) or not all(type(release) is int for release in content.values()):
        raise SettingsError(f"{file}: does not say which releases ran; remove it to forget them")
    return content


def _write_releases(file: Path, releases: Mapping[str, int]) -> None:
    """On disk when this returns: a rollback must not come with a power cut."""
    beside = file.with_name(f"{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("w", encoding="utf-8") as out:
            json.dump(releases, out)
        sync(beside)
        beside.replace(file)
        sync(file.parent)
    except OSError as error:
        why = f"{file}: cannot be written ({error.strerror}); check the disk's free space, the folder and its owner"
        raise refusal(error.errno, why) from error
