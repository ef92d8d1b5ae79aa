"""What the README shows is what is tested."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_readmes_subscriber_is_the_one_that_a_test_runs() -> None:
    readme, wire = (ROOT / "README.md").read_text("utf-8"), (ROOT / "edge" / "wire" / "WIRE.md").read_text("utf-8")
    tested = re.search(r"<!-- subscriber: begin.*?```python\n(.*?)```", wire, re.DOTALL)
    assert tested is not None
    assert f"```python\n{tested[1]}```" in readme


def test_every_file_the_readme_links_to_exists() -> None:
    for document in (ROOT / "README.md", ROOT / "edge" / "wire" / "WIRE.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_no_placeholder_is_left_in_the_documents() -> None:
    for document in (
        ROOT / "README.md",
        ROOT / "edge" / "wire" / "WIRE.md",
        ROOT / "trainer" / "pretrained" / "README.md",
    ):
        assert not re.search(r"@[A-Z_]+@", document.read_text("utf-8"))
