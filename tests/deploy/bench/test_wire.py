"""The benchmark of the wire runs and gives every figure with its reference; how fast is nobody's test."""

import json
from pathlib import Path

from click.testing import CliRunner

from deploy.bench.wire import main


def test_the_benchmark_times_verdicts_and_history_beside_their_references(tmp_path: Path) -> None:
    run = CliRunner().invoke(main, ["--folder", str(tmp_path), "--parts", "5", "--records", "120", "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.output)
    assert found.keys() >= {
        *(f"{name}, p{p}, ms" for name in ("verdict to consumer", "bare sync") for p in (50, 99)),
        "first record, ms",
        *(f"{who}, records/s" for who in ("bare socket", "raw reader", "library, fetch", "library, Consumer")),
    }
    assert all(value > 0 for name, value in found.items() if name != "load")
    assert list(tmp_path.iterdir()) == [], "what it wrote is gone"
