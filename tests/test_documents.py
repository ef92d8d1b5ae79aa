"""What the documents show is so: command blocks run here as they stand, flags, paths, tests and links exist.

A block that cannot run (a Jetson, a data set, hours) says so in a comment above it, and its commands are parsed. What a
block needs of the machine is replaced by `tests.documents.stand_in`, and what it must have done is in `DONE`: a block
without an entry there fails, so that none runs unseen.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from edge.core.bundle import load_bundle
from tests.documents.commands import is_missing, module_exists, option_names, problems_of
from tests.documents.reading import (
    ROOT,
    SHELLS,
    Block,
    anchors_of,
    blocks_of,
    command_blocks,
    documents,
    links_of,
    name_of,
    sections_of,
    spans_of,
)
from tests.documents.workplace import Workplace, write_parts
from tests.edge.engines.conftest import DOUBLE
from tests.edge.engines.native import cudart_stub
from tests.edge.stub import Stub
from tests.patience import WAIT_S

README, WIRE = ROOT / "README.md", ROOT / "edge" / "wire" / "WIRE.md"
FIGURES = (ROOT / "trainer" / "FIGURES.md", ROOT / "deploy" / "FIGURES.md")
COMMAND = re.compile(
    r"(edge-(inspect|watch|control|page|gateway|train|deploy)|make|python -m|pytest|torchrun|sudo|deploy/install\.sh) "
)
NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)+|_[A-Z]+|[A-Z]\w*[a-z]\w*[A-Z]\w+|\w+\(\)")
RUN = [block for block in command_blocks() if block.why_not_run is None]
MADE = ("README.md", "edge-train fit ")  # the block that makes part.bundle for the others
ON_A_DEVICE = "edge-deploy engines"
Done = Callable[[Workplace, CompletedProcess[str]], bool]


def _fitted(work: Workplace, done: CompletedProcess[str]) -> bool:
    return "good parts" in done.stdout and load_bundle(work.folder / "part.bundle").manifest.geometry.mm_per_px == 0.05


def _rehearsed(work: Workplace, done: CompletedProcess[str]) -> bool:
    return (work.folder / "report" / "report.html").exists() and done.stdout.count("AUROC") >= 2


def _watched(work: Workplace, done: CompletedProcess[str]) -> bool:
    shown = work.until("edge-watch", "death")
    rejected = re.findall(r" result +NOT OK ", shown)
    return " OK " in shown and len(rejected) == len(list((work.folder / "overlays").glob("*.jpg"))) > 0


def _missed_nothing(work: Workplace, done: CompletedProcess[str]) -> bool:
    return (
        bool(work.until("edge-watch", "audit")) and "running" in done.stdout and "from the next frame on" in done.stdout
    )


def _is_a_device(work: Workplace, done: CompletedProcess[str]) -> bool:
    commissioned = (work.folder / "part.bundle.commissioning.json").exists()
    return commissioned and bool(list(work.folder.rglob("*.engine")))


def _learned_again(work: Workplace, done: CompletedProcess[str]) -> bool:
    learned = load_bundle(work.folder / "part-2.bundle").manifest.provenance["also_trained"]["images"] == 1
    page = (work.folder / "more-good" / "collected.html").read_text("utf-8")
    return learned and "machined-0-000002" in page and "also learned 1 false rejects" in done.stdout


def _served_by_tensorrt(work: Workplace, done: CompletedProcess[str]) -> bool:
    passed = json.loads((work.folder / "selftest.json").read_text("utf-8"))["passed"]
    return passed and _is_a_device(work, done) and '"engine": "tensorrt' in work.shown("edge-inspect")


def _kept_to_keys(work: Workplace, done: CompletedProcess[str]) -> bool:
    return (work.folder / "mes-keys" / "consumer.key_secret").exists() and bool(work.until("edge-watch", "birth"))


DONE: dict[str, Done] = {  # by what a block begins with
    "make demo": lambda work, done: "pytest" in done.stdout and (work.folder / "demo-out").is_dir(),
    "make page": lambda work, done: "-m edge.page.demo" in done.stdout,
    "make setup": lambda work, done: re.search("pip install|othing to be done", done.stdout) is not None,
    "edge-watch tcp://127.0.0.1:5556\n": _watched,
    "edge-inspect --source demo:machined": lambda work, done: "first frame 256×256: good" in done.stdout,
    "edge-inspect --source 'demo:machined?parts=0": _missed_nothing,
    "edge-inspect --bundle edge/demo/machined.bundle --source 'demo:machined?parts=0": _learned_again,
    "edge-train fit parts/good": _fitted,
    "edge-train evaluate": _rehearsed,
    "pip install 'edge-inspect[openvino]'": lambda work, done: bool(list(work.folder.rglob("*choice*.json"))),
    "sudo deploy/install.sh": lambda work, done: (work.root / "etc/edge-inspect/line1.env").is_file(),
    ON_A_DEVICE: _is_a_device,
    "sudo apt install": _served_by_tensorrt,
    "edge-deploy keys device": _kept_to_keys,
    ". .venv-test/bin/activate": lambda work, done: (
        done.stdout.count("collected") == 2 and "lint-imports" in done.stdout
    ),
    "python -m tests.faults --list": lambda work, done: "kills" in done.stdout,
}


@cache
def names_of_tests() -> set[str]:
    """Names of all tests of the suite."""
    files = (ROOT / "tests").rglob("test_*.py")
    return {name for file in files for name in re.findall(r"^ *def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)}


@cache
def names_of_code() -> set[str]:
    """Every name in our sources, schemas and units."""
    folders = [ROOT / name for name in ("deploy", "edge", "trainer", "systemd", "tests/edge")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".json", ".service")]
    return {name for file in files for name in re.findall(r"\w+", file.read_text("utf-8"))}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The images, and part.bundle as the README's block makes it."""
    work = Workplace(tmp_path_factory.mktemp("fit"))
    write_parts(work.folder)
    (block,) = [one for one in RUN if one.document == MADE[0] and one.text.startswith(MADE[1])]
    done = work.run(block.text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _fitted(work, done)
    yield work.folder
    work.close()


@pytest.fixture
def work(tmp_path: Path, parts: Path, request: pytest.FixtureRequest) -> Iterator[Workplace]:
    block: Block = request.getfixturevalue("block")
    device = {}
    if ON_A_DEVICE in block.text:
        stub = cudart_stub(tmp_path / "cuda")
        device = {"LD_LIBRARY_PATH": str(stub.parent), "PYTHONPATH": f"{DOUBLE}{os.pathsep}{ROOT}"}
    work = Workplace(tmp_path / "w", **device)
    for name in ("parts", "data"):
        (work.folder / name).symlink_to(parts / name)
    shutil.copy(parts / "part.bundle", work.folder)
    yield work
    work.close()


@pytest.mark.parametrize("block", [b for b in RUN if not b.text.startswith(MADE[1])], ids=str)
def test_a_command_block_does_what_its_document_says(block: Block, work: Workplace) -> None:
    if "openvino" in block.text:
        pytest.importorskip("openvino", reason="OpenVINO is not installed: `make` fetches it on x86-64")
    (has_done,) = [check for begins, check in DONE.items() if block.text.startswith(begins)]
    done = work.run(block.text)
    said = f"{done.stdout}\n{done.stderr}\n{work.shown('edge-inspect')}"
    assert done.returncode == 0, said
    assert has_done(work, done), said


@pytest.mark.parametrize("block", command_blocks(), ids=str)
def test_the_commands_of_a_block_have_these_flags_and_paths(block: Block) -> None:
    assert problems_of(block.text) == []


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_what_stands_in_backticks_exists(document: Path) -> None:
    """Commands, flags alone, paths, modules, tests that show something, names of code and fields."""
    wrong = []
    for span in spans_of(document):
        if COMMAND.match(f"{span} "):
            wrong += problems_of(span, is_whole=False)
        elif flag := re.match(r"--[a-z0-9-]+", span):
            wrong += [] if flag[0] in option_names() else [f"{span}: no such flag"]
        elif is_missing(span):
            wrong.append(f"{span}: no such path")
        elif re.fullmatch(r"(edge|trainer|deploy|tests)(\.\w+)+", span):
            wrong += [] if module_exists(span) else [f"{span}: no such module"]
        elif re.fullmatch(r"test_[a-z0-9_]+", span):
            wrong += [] if span in names_of_tests() else [f"{span}: no such test"]
        elif NAME.fullmatch(span):
            wrong += [] if span.rstrip("()") in names_of_code() else [f"{span}: no such name"]
    assert wrong == []


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in links_of(document):
        file, _, anchor = link.partition("#")
        if not file.startswith(("http:", "https:")):
            target = (document.parent / file).resolve() if file else document
            assert target.exists(), link
            assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_no_placeholder_is_left(document: Path) -> None:
    assert not re.search(r"@[A-Z_]+@|\bTODO\b|\bTBD\b|\bXXX\b|\bFIXME\b", document.read_text("utf-8"))


@pytest.mark.parametrize("document", FIGURES, ids=name_of)
def test_every_figure_says_with_which_command_and_on_which_machine(document: Path) -> None:
    for heading, text in sections_of(document).items():
        assert heading.endswith("?") and "\n| " in text, f"{heading}: one table a question"
        assert re.search(r"^Command: ((\S+ )?none kept|as above|.*`(edge-|python -m |make ))", text, re.MULTILINE), (
            heading
        )
        assert re.search(r"\bMachine: (\*\*)?([ABC]\b|in the table)", " ".join(text.split())), heading


def test_the_readme_is_short_and_so_is_what_it_says_to_contributors() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 250
    assert len(sections_of(README)["For contributors"].splitlines()) <= 40


def test_documents_stand_beside_the_code() -> None:
    assert [name_of(document) for document in documents() if "/" not in name_of(document)] == ["README.md"]
    assert not (ROOT / "docs").exists()


def test_the_readmes_subscriber_is_the_one_that_a_test_runs() -> None:
    tested = re.search(r"<!-- subscriber: begin.*?```python\n(.*?)```", WIRE.read_text("utf-8"), re.DOTALL)
    assert tested is not None
    assert f"```python\n{tested[1]}```" in README.read_text("utf-8")


def test_the_consumer_of_the_protocol_document_books_every_record_once_in_order(tmp_path: Path) -> None:
    shown = re.search(r"<!-- consumer: begin.*?```python\n(.*?)```", WIRE.read_text("utf-8"), re.DOTALL)
    assert shown is not None
    stub, booked = Stub(tmp_path, pause_s=0.01), list[int]()
    stub.start()

    class Enough(Exception):
        """The snippet goes on for ever."""

    def book(result_id: str, body: dict[str, object]) -> None:
        booked.append(int(str(body["seq"])))
        if len(booked) == 20:
            raise Enough

    code = shown[1].replace("tcp://127.0.0.1:5556", stub.live).replace("tcp://127.0.0.1:5557", stub.replay)
    assert code.count('Consumer("mes",') == 1
    code = code.replace('Consumer("mes",', f'Consumer("mes", answer_timeout_s={WAIT_S},')  # of a starved machine
    try:
        with pytest.raises(Enough):
            exec(code, {"book": book, "reject_everything": lambda: None})
    finally:
        Stub.end_all()
    assert booked == list(range(1, 21))


def test_python_of_the_documents_compiles() -> None:
    python = [block for document in documents() for block in blocks_of(document) if block.language == "python"]
    for block in python:
        compile(block.text, str(block), "exec")
    assert len(python) >= 3


def test_a_block_of_commands_cannot_be_missed_by_its_language() -> None:
    """Every fenced block says what it is, so that none escapes as text."""
    known = {*SHELLS, "python", "json", "text"}
    for document in documents():
        assert {block.language for block in blocks_of(document)} <= known, name_of(document)


@pytest.mark.parametrize(
    "wrong",
    [
        "edge-train fit parts/good --bundle b.bundle --step 3",
        "edge-train fit parts/good",
        "edge-train fiit parts/good --bundle b.bundle",
        "edge-train fit parts/good --bundle b.bundle --networks broad",
        "edge-deploy verify part.bundle --engine openvinoo",
        "edge-inspect --source demo:machined --bundle edge/demo/none.bundle",
        "edge-watch --consumr mes",
        "sudo deploy/install.sh --remove",
        "make demonstration",
        "python -m edge.demo.rendr out",
        "python -m tests.faults kill",
        'pytest -m "not slowly"',
        "edge-inspekt --check",
    ],
)
def test_a_command_that_does_not_exist_is_found(wrong: str) -> None:
    """The control of the tests above."""
    assert problems_of(wrong) != []
