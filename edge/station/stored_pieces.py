"""The electronic form of a challenge: stored pictures of the kit's pieces, through the engine that judges parts.

At each start before the first part, after each change of recipe, and each hour between parts, one picture at a time. It
proves bundle and engine, neither lamp nor lens, so it takes no challenge's place. Rejected: an engine of its own, which
would prove something that judges nothing.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from edge.core.errors import EdgeError
from edge.core.images import read_image
from edge.core.types import Frame
from edge.inspector import Inspector
from edge.line.challenge import Piece
from edge.line.kits import kit_file, read_kit

EVERY_S, APART_S = 3600.0, 1.0


class StoredPieces:
    """The loop's. tell: gets what is wrong with the pieces, None for nothing, whenever all were looked at.

    due_s: when the next picture is to be looked at (monotonic).
    """

    def __init__(self, tell: Callable[[str | None], None], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._clock_s = tell, clock_s
        self._left: deque[tuple[Piece, Path]] = deque()
        self._problems: list[str] = []
        self.due_s = math.inf

    def begin(self, inspector: Inspector) -> None:
        """Look at the pieces of this one's bundle, from the next `step` on; none where it has no kit."""
        self._left.clear()
        self._problems.clear()
        file = kit_file(Path(inspector.bundle.where))
        self.due_s = self._clock_s() if file.exists() else math.inf
        if not file.exists():
            return
        try:
            pieces = read_kit(file).pieces
        except EdgeError as error:
            self._problems.append(str(error))
            pieces = ()
        self._left.extend((piece, file.parent / piece.image) for piece in pieces if piece.image is not None)

    def step(self, inspector: Inspector) -> None:
        """Look at one, or begin again; the last one tells."""
        if self._left:
            piece, file = self._left.popleft()
            self._look_at(inspector, piece, file)
            self.due_s = self._clock_s() + APART_S
        if self._left:
            return
        self._tell("; ".join(self._problems) or None)
        self.begin(inspector)
        self.due_s += EVERY_S

    def look_at_all(self, inspector: Inspector) -> None:
        """Before the first part."""
        self.begin(inspector)
        while self.due_s <= self._clock_s() + APART_S:
            self.step(inspector)

    def _look_at(self, inspector: Inspector, piece: Piece, file: Path) -> None:
        try:
            frame = Frame(read_image(file), 0, time.monotonic_ns(), datetime.now(timezone.utc))
        except EdgeError as error:
            problem: str | None = str(error)
        else:
            problem = piece.problem_with(inspector.inspect(frame)[0])
        if problem is not None:
            self._problems.append(f"stored picture of {piece.name}: {problem}")
