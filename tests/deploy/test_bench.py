"""The benchmark runs, times every row, and gives ratios to the bare graphs; how fast is nobody's test."""

import json

from click.testing import CliRunner

from deploy.bench import main


def test_the_benchmark_prints_ratios_to_the_bare_graphs() -> None:
    run = CliRunner().invoke(main, ["--frames", "2", "--json"])
    assert run.exit_code == 0, run.output
    report = json.loads(run.output)
    assert report["ratio"]["bare graphs"] == 1.0
    assert set(report["median_ms"]) == {"bare graphs", "inspect, good part", "inspect, defects measured"}
    assert all(ms > 0 for ms in report["median_ms"].values())
