"""The page of a collection: each part with what was reported on it, and the region that drove its reject, magnified.

Whoever gives these to a training sees first what will be learned as good. It shows the very files, beside which it
lies; no script. Rejected: a picture sheet (a region of 12 pixels is not to be seen on a thumbnail).
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from edge.core.collected import FALSE_REJECT, CollectedPart, Collection, Region

MARGIN = 0.75  # of the region's longer side, around it
LEAST_PX = 48.0  # across what is magnified

_STYLE = """
:root{--ground:#fff;--ink:#1b1f24;--faint:#667;--rule:#d5dae1;--mark:#b3261e}
@media screen and (prefers-color-scheme:dark){:root{--ground:#15181c;--ink:#e8eaed;--faint:#9aa3ad;--rule:#343a42;
--mark:#ff8a80}}
body{margin:0 auto;max-width:1100px;padding:24px;background:var(--ground);color:var(--ink);
font:15px/1.45 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
p{max-width:80ch}section{border-top:1px solid var(--rule);padding:14px 0;break-inside:avoid}
h2{font-size:18px;margin:0 0 6px}.pair{display:flex;flex-wrap:wrap;gap:14px}
figure{margin:0;flex:1 1 320px;max-width:520px}figcaption{color:var(--faint);font-size:13px}
svg{width:100%;height:auto;max-height:420px;display:block;border:1px solid var(--rule)}
polygon,rect{fill:none;vector-effect:non-scaling-stroke;stroke-width:2;stroke:#fff;paint-order:stroke}
.strongest{stroke:#ff4d3d}.close image{image-rendering:pixelated}
"""


def page_of(collection: Collection, sizes: Mapping[str, tuple[int, int]]) -> str:
    """The page as text; sizes: (width, height) in pixels of each image."""
    count, label = len(collection.parts), collection.label
    what = f"labelled {label}" if label is not None else f"of a sample of {collection.share:.2%}"
    title = f"{count} images of {collection.station}, {what}"
    body = "".join(_section(number, part, *sizes[part.image]) for number, part in enumerate(collection.parts, 1))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<p>{_advice(label)}</p>{body}</body></html>\n"
    )


def _advice(label: str | None) -> str:
    if label == FALSE_REJECT:
        return (
            "<b>Look at each magnified region: what is learned as good is not found any more.</b> Is one a defect "
            "after all, give it another label and collect again into another folder. These are for "
            "<code>edge-train fit --also-train</code>, and for nothing that sets a threshold: they were chosen because "
            "they scored high."
        )
    if label is None:
        return (
            "Drawn before the verdict: these may set a threshold, with <code>edge-train fit --more-good</code>. Is one "
            "no good part, give it its label and collect again into another folder."
        )
    return "Not labelled as good: no training takes these."


def _section(number: int, part: CollectedPart, width: int, height: int) -> str:
    facts = [
        f"{part.verdict}: {part.score:.3f}, threshold {part.threshold:.3f}",
        f"{part.created} by {part.recipe} version {part.recipe_version}",
    ]
    if part.said is not None:
        facts.append(f"labelled by {part.actor or 'unknown'} at {part.said}")
    shapes = "".join(_shape(region, "" if place else "strongest") for place, region in enumerate(part.regions))
    whole = _figure(part.image, (0, 0, width, height), shapes, "", "; ".join(facts))
    if not part.regions:
        close = "<p>No region was reported.</p>"
    else:
        first = part.regions[0]
        told = f"what drove it: {first.score:.3f} by {first.driven_by}, {first.area_px:.0f} px at {first.box_px}"
        close = _figure(part.image, _around(first), "", ' class="close"', told, (width, height))
    return f'<section id="part-{number}"><h2>{escape(part.name)}</h2><div class="pair">{whole}{close}</div></section>'


def _figure(
    image: str,
    seen: tuple[float, float, float, float],
    shapes: str,
    attributes: str,
    caption: str,
    size: tuple[int, int] | None = None,
) -> str:
    """A picture of what is `seen` (x, y, width, height) of the image, whose (width, height) is `size`."""
    width, height = size or (seen[2], seen[3])
    view = " ".join(f"{value:g}" for value in seen)
    return (
        f'<figure{attributes}><svg viewBox="{view}" role="img" aria-label="{escape(caption)}">'
        f'<image href="{escape(image)}" width="{width:g}" height="{height:g}"/>{shapes}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _shape(region: Region, kind: str) -> str:
    points = " ".join(f"{x},{y}" for x, y in region.polygon_px)
    if len(region.polygon_px) > 2:
        return f'<polygon class="{kind}" points="{points}"/>'
    x, y, width, height = region.box_px
    return f'<rect class="{kind}" x="{x - 2}" y="{y - 2}" width="{width + 4}" height="{height + 4}"/>'


def _around(region: Region) -> tuple[float, float, float, float]:
    """A square with the region in its middle."""
    x, y, width, height = region.box_px
    side = max(LEAST_PX, (1 + 2 * MARGIN) * max(width, height))
    return x + (width - side) / 2, y + (height - side) / 2, side, side
