"""From good parts to verdicts by neighbours alone, in one file: fit → bundle → inspector → commissioning."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from deploy.bench.memory import write_smallest
from deploy.good_parts import Part
from deploy.recalibrate import recalibrated
from edge.core.bundle import NEIGHBOURS, Bundle, GraphSet, load_bundle, parse_bundle, save_bundle
from edge.core.errors import BundleError
from edge.core.image_measures import sketch
from edge.core.manifest import SCHEMA
from edge.core.preprocess import Geometry
from edge.core.promise import Rates, calibration_for
from edge.core.scoring import fit_stats, scores_of
from edge.core.types import Frame, Neighbours, Scale, Term, Verdict
from edge.demo.run import BUNDLE
from edge.engines import Engine, open_engine, shares_of
from edge.engines.onnxruntime import OnnxRuntimeEngine
from edge.engines.tiled import in_tiles
from edge.inspector import Inspector
from edge.station.golden import check_golden
from tests.edge.fakes import NOW
from tests.trainer.felt import SIDE, a_part, write_good
from trainer.bank import BankConfig, fit_neighbours
from trainer.cli import cli
from trainer.export import export_neighbours
from trainer.neighbours import NOTICE, PATCH_SIZES
from trainer.quantile_mean import QUANTILE_FUSION, quantile_fusion, quantile_weights

GOOD = 24


def _opened(graphs: GraphSet, size: tuple[int, int]) -> Engine:
    (share,) = shares_of(graphs, size)
    return in_tiles(OnnxRuntimeEngine(share.graphs), share.tiling)


@pytest.fixture(scope="module")
def good_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_good(tmp_path_factory.mktemp("parts") / "felt", GOOD)


@pytest.fixture(scope="module")
def bundle_file(good_folder: Path) -> Path:
    path = good_folder.parent / "felt.bundle"
    arguments = ["fit", str(good_folder), "--bundle", str(path), "--terms", "neighbours"]
    done = CliRunner().invoke(cli, [*arguments, "--input-size", str(SIDE), str(SIDE)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(scope="module")
def bundle(bundle_file: Path) -> Bundle:
    return load_bundle(bundle_file)


def test_the_bundle_holds_neighbours_alone_and_says_whose_network_it_is(bundle: Bundle) -> None:
    manifest, notice = bundle.manifest, bundle.notice
    assert manifest.patch_sizes == () and manifest.neighbours == PATCH_SIZES
    assert set(bundle.graphs) == {"neighbours.fp32.onnx", "neighbours.fp16.onnx"}
    assert manifest.grid == (8, (SIDE // 8, SIDE // 8))
    assert "Apache License, Version 2.0" in notice and notice == NOTICE
    assert manifest.provenance["neighbours"]["licence"] == "Apache-2.0, see notice.txt"


def test_a_defect_is_found_and_what_drove_it_is_named(bundle: Bundle) -> None:
    with closing(open_engine("onnxruntime", bundle)) as engine:
        check_golden(bundle, engine)
        inspector = Inspector(bundle, engine)
        for seed in range(100, 106):
            inspection, anomaly_map = inspector.inspect(Frame(a_part(seed, defective=seed % 2 == 1), 1, 0, NOW))
            assert inspection.verdict is (Verdict.DEFECTIVE if seed % 2 else Verdict.GOOD)
            assert inspection.scales == () and [one.map for one in inspection.neighbours] == list(Neighbours)
            assert [one.weight for one in inspection.neighbours] == [0.5, 0.5] and anomaly_map is not None
            for defect in inspection.defects:
                assert defect.driven_by.term is Term.REGRESSION_ERROR
                assert PATCH_SIZES[defect.driven_by.neighbours] == defect.driven_by.patch_size


def test_a_variant_without_a_graph_of_neighbours_takes_the_references(bundle: Bundle, tmp_path: Path) -> None:
    """INT8 would need P in 8 bits; until that keeps every verdict, P stays float32."""
    calibrations = {**bundle.manifest.calibrations, "int8-cpu": bundle.manifest.calibration("fp32")}
    save_bundle(tmp_path / "b", replace(bundle.manifest, calibrations=calibrations), bundle.graphs, bundle.golden)
    loaded = load_bundle(tmp_path / "b")
    assert loaded.graph_set("int8-cpu").graphs == {NEIGHBOURS: bundle.graphs["neighbours.fp32.onnx"]}
    assert loaded.graph_set("fp16").graphs == {NEIGHBOURS: bundle.graphs["neighbours.fp16.onnx"]}


def test_the_memory_benchmark_takes_what_there_is(bundle: Bundle, tmp_path: Path) -> None:
    write_smallest(tmp_path / "b", bundle)
    assert load_bundle(tmp_path / "b").manifest.neighbours == PATCH_SIZES


def test_commissioning_fits_scale_and_threshold_again_and_keeps_the_bank(bundle: Bundle) -> None:
    """Under the light of the line parts show less contrast: they lie elsewhere on the old scale."""
    made, geometry = bundle.manifest.calibration("fp32"), bundle.manifest.geometry
    with closing(open_engine("onnxruntime", bundle)) as engine:
        parts = [
            Part(str(seed), engine.infer(image), geometry, sketch(image, None))
            for seed in range(200, 224)
            for image in [cv2.convertScaleAbs(a_part(seed), alpha=0.7, beta=80)]
        ]
    now = recalibrated(bundle, "fp32", parts, Rates())
    assert now.fusion == made.fusion == quantile_fusion(GOOD // 10) and now.fusion.scale is Scale.QUANTILES
    assert {k: s.weight for k, s in now.stats.items()} == {k: s.weight for k, s in made.stats.items()}
    assert all(abs(now.stats[key].mean / made.stats[key].mean - 1) > 0.03 for key in made.stats)
    assert now.bound.n == 24 and now.bound.rejected == 0
    maps = [part.maps for part in parts]
    for key, stats in fit_stats(maps, geometry, scale=Scale.QUANTILES).items():
        assert (stats.mean, stats.deviation) == (now.stats[key].mean, now.stats[key].deviation)


def test_older_bundles_are_read_and_newer_ones_refused_by_name(bundle_file: Path, bundle: Bundle) -> None:
    assert SCHEMA == "edge-inspect.bundle/3"
    assert load_bundle(BUNDLE).manifest.neighbours == {} or load_bundle(BUNDLE).notice
    with pytest.raises(BundleError, match="foreign|end is missing"):
        parse_bundle(bundle_file.read_bytes()[:-1000], "here")
    half = replace(bundle.manifest, neighbours={Neighbours.DEEP: 371}, strides={371: 16})
    with pytest.raises(BundleError, match="one of the two maps"):
        save_bundle(bundle_file.with_name("half"), half, bundle.graphs, bundle.golden)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (2048, 2448)])
def test_a_defect_of_20_px_is_found_whatever_the_size_of_the_image(height: int, width: int, tmp_path: Path) -> None:
    """A score of a share of the image would drown it: at 2448×2048 it covers .008 % of the pixels."""
    geometry = Geometry((height, width), (height, width))
    small = Geometry((256, 256), (256, 256))
    network = fit_neighbours([a_part(seed, 256, 256) for seed in range(6)], small, BankConfig(rows=1000))
    graphs = export_neighbours(network, a_part(0, 64, 64))
    good = [a_part(seed, height, width) for seed in range(50, 53)]
    with closing(_opened(graphs, (height, width))) as engine:
        maps = [engine.infer(image) for image in good]
        keys = fit_stats(maps[:1], geometry)
        stats = fit_stats(maps, geometry, quantile_weights(keys), Scale.QUANTILES)
        scores = np.array([scores_of(one, stats, QUANTILE_FUSION, geometry) for one in maps])
        calibration = calibration_for(scores, stats, QUANTILE_FUSION, Rates())
        unused = scores_of(engine.infer(a_part(60, height, width)), stats, QUANTILE_FUSION, geometry)[0]
        found = scores_of(engine.infer(a_part(61, height, width, defective=True)), stats, QUANTILE_FUSION, geometry)[0]
    assert found > 1.2 * max(calibration.image_threshold, unused)
