"""`edge-deploy choose BUNDLE`: time every CPU engine and variant in turn, and record which one `auto` shall take here.

Only what may be used can win: float32 on any engine, and another precision where `edge-deploy verify` passed it on
this machine. The engine that is always there stays unless another is faster by more than the noise. Rejected: timing
at the daemon's start, which is when a machine is busiest, and choosing by processor name, which says nothing of the
load beside us.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import click

from deploy.bench.timing import Tell, interleaved, median
from deploy.terminal import FILE, FOLDER
from edge.core.bundle import Bundle, load_bundle
from edge.core.errors import EdgeError, EngineError
from edge.engines import CPU_ENGINES, Engine, EngineOptions, open_engine
from edge.engines.choice import Choice, machine_identity, require_verification, write_choice
from edge.engines.tensorrt_file import default_folder, private_folder
from edge.station.golden import check_golden

VARIANTS = "fp32", "int8-cpu"  # half precision is for GPUs, and signed INT8 for TensorRT
DEFAULT = CPU_ENGINES[0]
NOISE = 0.95  # of the default's time: what is hardly faster is not worth another runtime


@dataclass(frozen=True, slots=True)
class Contestant:
    """One engine and variant. median_ms: None where it could not run. obstacle: why it must not or cannot be taken."""

    engine: str
    variant: str
    version: str
    median_ms: float | None
    obstacle: str | None


@dataclass(frozen=True, slots=True)
class Contest:
    """All of them, and the one to take."""

    contestants: tuple[Contestant, ...]
    winner: Contestant


def run_contest(
    bundle: Bundle, folder: Path, threads: int = 0, rounds: int = 30, tell: Tell = lambda done, of: None
) -> Contest:
    """Time the golden sample on each, in turn, medians; EngineError where not even the default engine runs."""
    found: list[Contestant] = []
    work: dict[str, Callable[[], object]] = {}
    with ExitStack() as stack:
        for name in CPU_ENGINES:
            for variant in (v for v in VARIANTS if v in bundle.manifest.calibrations):
                try:
                    engine = open_engine(
                        name, bundle, EngineOptions(threads=threads, variant=variant, only_counted=True)
                    )
                    stack.callback(engine.close)
                    check_golden(bundle, engine)
                except EdgeError as error:  # noqa: PERF203  # each may be missing; the others are timed
                    found.append(Contestant(name, variant, "", None, str(error)))
                else:
                    found.append(Contestant(name, variant, engine.version, None, _obstacle(bundle, folder, engine)))
                    work[f"{name} {variant}"] = partial(engine.infer, bundle.golden.image)
        medians = {name: median(times) for name, times in interleaved(work, rounds, tell).items()}
    timed = tuple(replace(one, median_ms=medians.get(f"{one.engine} {one.variant}")) for one in found)
    return Contest(timed, _winner(timed, bundle.manifest.reference_variant))


def _obstacle(bundle: Bundle, folder: Path, engine: Engine) -> str | None:
    """Why an engine must not be taken: its precision is not proved here."""
    if engine.variant == bundle.manifest.reference_variant:
        return None
    try:
        require_verification(folder, bundle.digest, engine.name, engine.version, engine.variant)
    except EngineError as error:
        return str(error)
    return None


def _winner(contestants: tuple[Contestant, ...], reference: str) -> Contestant:
    """The fastest that is allowed; the default where it is not clearly beaten."""
    allowed = [one for one in contestants if one.median_ms is not None and one.obstacle is None]
    default = [one for one in allowed if (one.engine, one.variant) == (DEFAULT, reference)]
    if not default:
        raise EngineError(next(o.obstacle for o in contestants if o.engine == DEFAULT) or f"{DEFAULT} did not run")
    fastest = min(allowed, key=_milliseconds)
    return fastest if _milliseconds(fastest) < NOISE * _milliseconds(default[0]) else default[0]


def _milliseconds(one: Contestant) -> float:
    return float("inf") if one.median_ms is None else one.median_ms


def record(bundle: Bundle, contest: Contest, folder: Path, threads: int) -> Path:
    """Let `auto` take the winner from now on."""
    won = contest.winner
    choice = Choice(bundle.digest, machine_identity(), threads, won.engine, won.version, won.variant)
    facts = {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "contestants": [asdict(one) for one in contest.contestants],
    }
    return write_choice(folder, choice, facts)


@click.command()
@click.argument("bundle", type=FILE)
@click.option("--engines", "folder", type=FOLDER, help="Where records are kept.  [default: as edge-inspect]")
@click.option("--threads", default=0, show_default=True, help="As the daemon will have them; 0 means one a core.")
@click.option("--rounds", default=30, show_default=True, type=click.IntRange(3), help="Each times every engine once.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def choose(bundle: Path, folder: Path | None, threads: int, rounds: int, as_json: bool) -> None:
    """Time the CPU engines that run BUNDLE here, and let --engine auto take the fastest.

    INT8 takes part for good where it passed:  edge-deploy verify BUNDLE --engine openvino --variant int8-cpu --images …
    Stop the daemon first, and run it as the daemon's user, or name its folder with --engines.
    """
    loaded, kept = load_bundle(bundle), private_folder(folder or default_folder())
    contest = run_contest(loaded, kept, threads, rounds)
    file = record(loaded, contest, kept, threads)
    click.echo(json.dumps(asdict(contest), indent=1) if as_json else _table(contest))
    click.echo(f"record: {file}", err=True)


def _table(contest: Contest) -> str:
    (default,) = (one for one in contest.contestants if (one.engine, one.variant) == (DEFAULT, VARIANTS[0]))
    lines = [f"{machine_identity()}; ratios against {DEFAULT} {VARIANTS[0]}"]
    for one in contest.contestants:
        time, ratio = _milliseconds(one), _milliseconds(one) / _milliseconds(default)
        figures = f"{time:8.1f} ms  × {ratio:.2f}" if one.median_ms is not None else "not here"
        notes = ["<- auto"] if one is contest.winner else [f"({one.obstacle})"] if one.obstacle else []
        lines.append("  ".join([f"{one.engine:12} {one.variant:9}", figures, *notes]))
    return "\n".join(lines)
