"""Every fit raises the version of the product's bundle, and says before it works where it could not write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.core.bundle import load_bundle
from edge.core.errors import OutputError
from edge.demo.run import BUNDLE
from trainer.cli import cli
from trainer.versions import next_version, remember_version


def test_a_version_is_one_more_than_any_before_it(tmp_path: Path) -> None:
    product, version = load_bundle(BUNDLE).manifest.product, load_bundle(BUNDLE).manifest.version
    run, bundle = tmp_path / "run", tmp_path / "part.bundle"
    assert next_version(run, bundle, product) == 1
    (tmp_path / "foreign.bundle").write_bytes(b"no bundle")
    shutil.copy(BUNDLE, tmp_path / "older.bundle")  # of the same product, under another name
    assert next_version(run, bundle, product) == version + 1
    assert next_version(run, bundle, "another") == 1
    remember_version(run, 7)
    (tmp_path / "older.bundle").unlink()  # moved to a station
    assert next_version(run, bundle, product) == 8


def test_a_bundle_that_cannot_be_written_is_refused_before_anything_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.cli._prepare", lambda *_: pytest.fail("it looked at the images first"))
    (tmp_path / "file").touch()
    done = CliRunner().invoke(cli, ["fit", str(tmp_path), "--bundle", str(tmp_path / "file" / "b")])
    assert isinstance(done.exception, OutputError) and f"{tmp_path / 'file'}" in str(done.exception)
