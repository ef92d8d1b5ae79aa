"""The project's Markdown as blocks, code spans, links and headings.

Only what our documents use is understood: fenced blocks, `spans`, [links](target). Rejected: a Markdown library, which
would be one more dependency to find four things.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELLS = ("sh", "bash", "console", "shell")
FENCE = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
NOT_RUN = re.compile(r"not run here: (?P<why>.{10,})")


@dataclass(frozen=True)
class Block:
    """A fenced block. why_not_run: what its marker says, or None for one that runs."""

    document: str
    line: int
    language: str
    text: str
    why_not_run: str | None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@cache
def documents() -> tuple[Path, ...]:
    """Every Markdown file of the repository, also one that is not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return tuple(ROOT / name for name in sorted(listed) if (ROOT / name).exists())


def blocks_of(document: Path) -> list[Block]:
    """All fenced blocks."""
    text, found = document.read_text("utf-8"), []
    for match in FENCE.finditer(text):
        marker = NOT_RUN.fullmatch(match["marker"] or "")
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(name_of(document), line, match["language"], match["text"], marker and marker["why"]))
    return found


def command_blocks() -> list[Block]:
    """The blocks that somebody would paste into a terminal, of all documents."""
    return [block for document in documents() for block in blocks_of(document) if block.language in SHELLS]


def prose_of(document: Path) -> str:
    """Without fenced blocks."""
    return FENCE.sub("", document.read_text("utf-8"))


def spans_of(document: Path) -> list[str]:
    """What stands in `backticks`, on one line or over its end."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose_of(document))]


def links_of(document: Path) -> list[str]:
    """Targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", prose_of(document))


def anchors_of(document: Path) -> set[str]:
    """What a link may name after #: headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", prose_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sections_of(document: Path) -> dict[str, str]:
    """Text by second-level heading."""
    _, *parts = re.split(r"^## ", document.read_text("utf-8"), flags=re.MULTILINE)
    return {heading: text for heading, _, text in (part.partition("\n") for part in parts)}


def name_of(document: Path) -> str:
    """Relative to the repository's root."""
    return str(document.relative_to(ROOT))
