"""The bill of materials names what is installed, with what needs what; nothing of it is written down by hand."""

from __future__ import annotations

import json
import re
from importlib import metadata

import numpy as np
from click.testing import CliRunner

from deploy.cli import cli
from edge.core.bundle import load_bundle
from edge.demo.run import BUNDLE


def test_everything_installed_that_the_project_needs_is_named_with_its_version() -> None:
    done = CliRunner().invoke(cli, ["sbom", "--bundle", str(BUNDLE)], catch_exceptions=False)
    bill = json.loads(done.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    versions = {one["name"]: one["version"] for one in bill["components"]}
    assert versions["numpy"] == np.__version__
    for name in ("apsw", "click", "onnxruntime", "pynacl", "pyzmq", "structlog", "cffi"):  # the last is pynacl's need
        assert versions[name] == metadata.version(name)
    assert {"cpython", "sqlite", "libzmq", "opencv"} <= set(versions)
    bundle = next(one for one in bill["components"] if one["type"] == "machine-learning-model")
    assert bundle["hashes"] == [{"alg": "SHA-256", "content": load_bundle(BUNDLE).digest}]


def test_references_are_unique_and_dependencies_lead_to_what_is_named() -> None:
    bill = json.loads(CliRunner().invoke(cli, ["sbom"]).stdout)
    known = [one["bom-ref"] for one in (bill["metadata"]["component"], *bill["components"])]
    assert len(known) == len(set(known))
    edges = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert set(edges) <= set(known) and {ref for needs in edges.values() for ref in needs} <= set(known)
    assert all(re.fullmatch(r"pkg:(pypi|generic)/[a-z0-9-]+@\S+", one) for one in known)
    own = bill["metadata"]["component"]["bom-ref"]
    assert f"pkg:pypi/numpy@{np.__version__}" in edges[own]
