"""`edge-deploy sbom`: what is installed here, as CycloneDX JSON: for those who must say which software a PC runs.

It is read from the environment that runs, not from a list of wishes: this project, every package it needs and what
those need, Python, and the native libraries that packages bring and no package manager knows. Rejected: a generator
as a dependency, for one JSON document.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import apsw
import click
import cv2
import zmq

import edge
from edge.core.bundle import load_bundle

PROJECT = "edge-inspect"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def bill_of_materials(bundle: Path | None = None) -> dict[str, Any]:
    """CycloneDX 1.5 of this environment; with a bundle also that file, by its SHA-256. BundleError."""
    packages = dict(sorted(_closure()))
    components = [_package(one) for one in packages.values() if _normal(one.metadata["Name"]) != PROJECT]
    components += list(_native())
    if bundle is not None:
        loaded = load_bundle(bundle)
        components.append(
            {
                "type": "machine-learning-model",
                "bom-ref": f"bundle:{loaded.digest}",
                "name": loaded.manifest.product,
                "version": str(loaded.manifest.version),
                "hashes": [{"alg": "SHA-256", "content": loaded.digest}],
            }
        )
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": _ref(PROJECT, edge.__version__),
                "name": PROJECT,
                "version": edge.__version__,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "purl": _ref(PROJECT, edge.__version__),
            },
        },
        "components": components,
        "dependencies": [
            {"ref": _ref(name, one.version), "dependsOn": [_ref(n, packages[n].version) for n in _needs(one, packages)]}
            for name, one in packages.items()
        ],
    }


def _closure() -> Iterator[tuple[str, metadata.Distribution]]:
    """The project and all that it needs, of what is installed; by normalised names."""
    waiting, seen = [PROJECT], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # an extra, or for another machine
        yield name, found
        waiting += _required(found)


def _required(package: metadata.Distribution) -> list[str]:
    """Names of all that it may need, extras too: whether they are installed tells which of them count."""
    names = (_NAME.match(text) for text in package.requires or ())
    return sorted({_normal(match[0]) for match in names if match})


def _needs(package: metadata.Distribution, packages: dict[str, metadata.Distribution]) -> list[str]:
    return [name for name in _required(package) if name in packages]


def _package(package: metadata.Distribution) -> dict[str, Any]:
    name = _normal(package.metadata["Name"])
    facts = package.metadata
    told = next((facts[field] for field in ("License-Expression", "License") if field in facts), "")
    licence = {"licenses": [{"license": {"name": told.splitlines()[0][:120]}}]} if told.strip() else {}
    ref = _ref(name, package.version)
    return {"type": "library", "bom-ref": ref, "name": name, "version": package.version, **licence, "purl": ref}


def _native() -> Iterator[dict[str, Any]]:
    """Python itself, and libraries inside wheels."""
    inside = {
        "cpython": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "libzmq": zmq.zmq_version(),
        "opencv": cv2.getVersionString(),
    }
    for name, version in inside.items():
        ref = f"pkg:generic/{name}@{version}"
        yield {"type": "library", "bom-ref": ref, "name": name, "version": version, "purl": ref}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _ref(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path, dir_okay=False), help="Name this bundle too, by its SHA-256.")
def sbom(bundle: Path | None) -> None:
    """Print what software is installed here, as CycloneDX JSON: packages, versions, licences, what needs what.

    \b
    edge-deploy sbom --bundle part.bundle > station.cdx.json
    """
    click.echo(json.dumps(bill_of_materials(bundle), indent=1))
