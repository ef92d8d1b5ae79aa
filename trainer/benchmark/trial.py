"""One material, one seed: fit as a user would, evaluate the bundle that ships, keep the row; or read the row kept.

A trial whose row is there is not repeated; one that was cut off goes on where its fit was.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.core.bundle import GraphSet, load_bundle
from edge.core.errors import TrainingError
from edge.core.files import write_whole
from edge.core.manifest import REFERENCE_VARIANT
from edge.core.preprocess import Size
from edge.engines.macs import count_gmac
from trainer.benchmark.outcome import Outcome, outcome_from_json, outcome_of, outcome_to_json
from trainer.calibrate import CalibrationConfig
from trainer.fit import calibrate_step, export_step, students_step
from trainer.fusion import FusionKind
from trainer.options import Training
from trainer.report.evaluate import evaluate
from trainer.runs import Run, prepare_run

ENGINE = "onnxruntime"


@dataclass(frozen=True, slots=True)
class Trial:
    """material: a folder in MVTec AD's layout; training: how to fit it; folder: where its files are."""

    material: Path
    training: Training
    folder: Path

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.material.resolve().name} seed {self.training.students.seed}"

    @property
    def row(self) -> Path:
        """The file that says that it is done."""
        return self.folder / "outcome.json"


def run_trial(trial: Trial) -> Outcome:
    """Fit and evaluate, or the row of an earlier run; TrainingError where that was of other settings."""
    asked = _settings(trial)
    if trial.row.exists():
        kept = json.loads(trial.row.read_text(encoding="utf-8"))
        if kept["settings"] != asked:
            raise TrainingError(f"{trial.folder}: holds a trial of other settings; give another --out or delete it")
        return outcome_from_json(kept["outcome"])
    is_resumed, started = trial.folder.exists(), time.monotonic()
    run, bundle = _fitted(trial), trial.folder / "default.bundle"
    manifest = calibrate_step(run, bundle, CalibrationConfig())
    fit_s = None if is_resumed else time.monotonic() - started
    report = evaluate(bundle, trial.material, ENGINE, trial.folder / "report")
    paper = None
    if run.students.patch_sizes:
        mean = trial.folder / "paper-mean.bundle"
        calibrate_step(run, mean, CalibrationConfig(fusion=FusionKind.MEAN, has_forecast=False))
        paper = evaluate(mean, trial.material, ENGINE, trial.folder / "report-of-paper-mean")
    counted = load_bundle(bundle).graph_set(REFERENCE_VARIANT, only_counted=True)
    gmac = _gmac(counted, run.product.input_size)
    name, seed = trial.material.resolve().name, trial.training.students.seed
    outcome = outcome_of(name, seed, manifest, report, paper, fit_s, gmac)
    write_whole(trial.row, json.dumps({"settings": asked, "outcome": outcome_to_json(outcome)}, indent=1).encode())
    return outcome


def _settings(trial: Trial) -> dict[str, Any]:
    """What a row depends on, as JSON gives it back."""
    told = trial.training
    teachers = {str(size): str(folder) for size, folder in told.teachers.items()}
    students = {**asdict(told.students), "patch_sizes": list(told.students.patch_sizes)}
    return {"students": students, "terms": told.terms.value, "teachers": teachers, "input_size": _input(trial)}


def _input(trial: Trial) -> list[int] | None:
    product = trial.training.product
    return None if product.is_usual_size else list(product.input_size)


def _fitted(trial: Trial) -> Run:
    told = trial.training
    folder = trial.folder / "run"
    run = prepare_run(told.good_dir, folder, told.product, told.students, terms=told.terms)
    students_step(run, told.teachers)
    export_step(run, (REFERENCE_VARIANT,))
    return run


def _gmac(graphs: GraphSet, size: Size) -> float:
    blank = np.zeros((*size, 3), np.uint8)
    return sum(count_gmac(graph, blank) for graph in graphs.graphs.values())
