"""The timing diagram of LINE.md, drawn from the handshake itself: `python -m deploy.timing --write`.

A scripted PLC goes through the handshake that ships, and each signal is drawn as it was. Rejected: a drawing, which the
next change of the handshake would make wrong.
"""

from __future__ import annotations

from pathlib import Path

import click

from edge.gateways.exchange import Asked, Recipe, Rules, Station, Trigger, Verdict
from edge.gateways.handshake import Handshake
from edge.gateways.signals import Code, Control, Evaluation, Status

PICTURE = Path(__file__).with_name("timing.svg")
MS = 1_000_000
_STEP_MS, _LAST_MS = 5, 640
_SIGNALS: tuple[Control | Status, ...] = (
    Control.TRIGGER_ENABLE, Control.TRIGGER, Control.RESULTS_ACK, Status.TRIGGER_READY, Status.TRIGGER_ACK, Status.BUSY,
    Status.RESULTS_VALID, Status.PASS, Status.FAIL, Status.UNDECIDED,
)  # fmt: skip
_PARTS = {
    60: (Evaluation.OK, 60),
    260: (Evaluation.NOT_OK, 60),
    420: (Evaluation.NOT_DECIDABLE, 120),
}  # when, what, after
_LEFT, _ROW, _SCALE, _TOP = 130, 26, 1.2, 44
_WIDTH, _HEIGHT = _LEFT + _LAST_MS * _SCALE + 16, _TOP + _ROW * len(_SIGNALS) + 30


class _Plc:
    """Does in each cycle what LINE.md's program does; a part comes at each time of _PARTS."""

    def __init__(self) -> None:
        self.line = Handshake("0123456789abcdef", Rules(deadline_ns=120 * MS))
        self.line.station(0, 0, Station(Code.NONE, Recipe(1, "ab" * 32)))
        self.control, self.waits = Control.TRIGGER_ENABLE, 0
        self._due: list[tuple[int, str, Evaluation]] = []

    def cycle(self, at_ms: int) -> None:
        """Read, decide, write; and what the station does meanwhile."""
        now_ns = (at_ms + 1000) * MS
        shown = self.line.shown(now_ns)
        control = Control.TRIGGER_ENABLE
        if at_ms in _PARTS:
            self.waits = at_ms
        if shown.status & Status.RESULTS_VALID:
            self.waits = 0
            control |= Control.RESULTS_ACK if at_ms % 40 == 0 or self.control & Control.RESULTS_ACK else Control(0)
        elif self.waits and not shown.status & Status.TRIGGER_ACK:
            control |= Control.TRIGGER
        else:
            self.waits = 0
        self.control = control
        for effect in self.line.written(now_ns, Asked(control, seen_us=shown.clock_us, part=b"P1")):
            if isinstance(effect, Trigger):
                evaluation, after_ms = _PARTS[self.waits]
                self._due += [(at_ms + 15, effect.trigger_id, Evaluation.NONE)]
                self._due += [(at_ms + after_ms, effect.trigger_id, evaluation)]
        for due in [one for one in self._due if one[0] <= at_ms]:
            self._due.remove(due)
            self._say(now_ns, due[1], due[2])

    def _say(self, now_ns: int, trigger_id: str, evaluation: Evaluation) -> None:
        if evaluation is Evaluation.NONE:
            self.line.taken(trigger_id, 0)
        elif evaluation is not Evaluation.NOT_DECIDABLE:  # that one never comes: the deadline passes
            self.line.judged(now_ns, trigger_id, 0, Verdict(evaluation))


def picture() -> str:
    """timing.svg."""
    plc, levels = _Plc(), list[list[bool]]()
    for at_ms in range(0, _LAST_MS + 1, _STEP_MS):
        plc.cycle(at_ms)
        status = plc.line.shown((at_ms + 1000) * MS).status
        levels.append([bool((plc.control if isinstance(one, Control) else status) & one) for one in _SIGNALS])
    rows = [_row(number, [one[number] for one in levels]) for number in range(len(_SIGNALS))]
    style = (
        "text{font:13px sans-serif;fill:#222}.plc{stroke:#a33}.gateway{stroke:#247}polyline{fill:none;stroke-width:2}"
    )
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:.0f}" height="{_HEIGHT}" role="img">',
        "<title>Three parts: Pass, Fail, and one that nobody judged by its deadline</title>",
        f"<style>{style}</style>",
        f'<rect width="{_WIDTH:.0f}" height="{_HEIGHT}" fill="#fff"/>',
        '<text x="8" y="18">red: written by the PLC; blue: by the gateway; a thin line: a part comes</text>',
        *(_part(at_ms) for at_ms in _PARTS),
        *rows,
        "</svg>",
    ]) + "\n"  # fmt: skip


def _part(at_ms: int) -> str:
    x = _LEFT + at_ms * _SCALE
    return f'<path d="M{x:.0f} {_TOP - 14}V{_HEIGHT - 8}" stroke="#999" stroke-dasharray="3 3"/>'


def _row(number: int, levels: list[bool]) -> str:
    signal, low = _SIGNALS[number], _TOP + _ROW * (number + 1) - 8
    name = "".join(one.capitalize() for one in (signal.name or "").split("_"))
    points, before = [], None
    for at, level in enumerate(levels):
        x = _LEFT + at * _STEP_MS * _SCALE
        if before is not None and before != level:
            points.append(f"{x:.0f},{low - (16 if before else 0)}")
        if before != level or at == len(levels) - 1:
            points.append(f"{x:.0f},{low - (16 if level else 0)}")
        before = level
    kind = "plc" if isinstance(signal, Control) else "gateway"
    return f'<text x="8" y="{low - 2}">{name}</text><polyline class="{kind}" points="{" ".join(points)}"/>'


@click.command()
@click.option("--write", is_flag=True, help="Write timing.svg in place of saying it.")
def main(write: bool) -> None:
    """timing.svg, as the code has it."""
    if write:
        PICTURE.write_text(picture(), encoding="utf-8")
    else:
        click.echo(picture(), nl=False)


if __name__ == "__main__":
    main()
