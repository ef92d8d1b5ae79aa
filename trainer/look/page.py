"""The page of a look: what was found, and a picture of the part on which a region is drawn with the mouse.

What is drawn stands above it as the flags of `fit` that say the same, to be copied: nobody should read coordinates off
an image editor. One self-contained file; its script draws and writes text, nothing else. The picture is the image most
like all others, or the mean of all, on which one sees how far parts move. Rejected: a window of our own (a workstation
without a display has none).
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import cv2
import numpy as np

from edge.core.files import write_whole
from edge.core.images import read_image
from edge.core.types import Image
from trainer.look.findings import Finding, Look
from trainer.report.style import STYLE
from trainer.sheets import fitted

PICTURE_PX = 1600  # coordinates stay those of the good images, whatever is shown
MEAN_OF = 60  # images
LISTED = 200  # findings of a kind

_STYLE = """
.draw{position:relative;border:1px solid var(--rule);border-radius:6px;overflow:hidden;touch-action:none}
.draw svg{cursor:crosshair;user-select:none;max-height:78vh}
.draw polygon{stroke-width:2;vector-effect:non-scaling-stroke}
.draw .roi{fill:#2a8f6833;stroke:#21c184}.draw .ignore{fill:#b3261e55;stroke:#ff6a5e}
.draw .open{fill:none;stroke:#ffd23f;stroke-width:2;vector-effect:non-scaling-stroke}
.draw circle{fill:#ffd23f}
.tools{display:flex;flex-wrap:wrap;gap:10px 16px;align-items:center;margin:10px 0}
button{font:inherit;padding:5px 12px;border:1px solid var(--rule);border-radius:6px;background:var(--panel);
color:var(--ink);cursor:pointer}
#flags{flex:1;background:var(--panel);border-radius:6px;padding:10px 12px;min-height:2.6em;white-space:pre-wrap}
"""

_SCRIPT = """
"use strict";
const svg = document.getElementById("part"), drawn = document.getElementById("drawn");
const [WIDTH, HEIGHT] = [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height];
let regions = [], open = [], from = null, to = null;
const kind = () => document.querySelector("input[name=kind]:checked").value;
const text = points => points.map(([x, y]) => x + "," + y).join(" ");
const clamp = (value, most) => Math.min(Math.max(Math.round(value), 0), most - 1);
function place(event) {
  const box = svg.getBoundingClientRect(), scale = Math.min(box.width / WIDTH, box.height / HEIGHT);
  const left = box.left + (box.width - scale * WIDTH) / 2, top = box.top + (box.height - scale * HEIGHT) / 2;
  return [clamp((event.clientX - left) / scale, WIDTH), clamp((event.clientY - top) / scale, HEIGHT)];
}
function rectangle([a, b], [c, d]) { return [[a, b], [c, b], [c, d], [a, d]]; }
function isDragged() { return from && to && Math.abs(from[0] - to[0]) > 3 && Math.abs(from[1] - to[1]) > 3; }
function add(points) {
  if (kind() === "roi") regions = regions.filter(one => one.kind !== "roi");  // there is one
  regions.push({kind: kind(), points});
}
function flags() {
  return regions.map(one => "--" + one.kind + ' "' + text(one.points) + '"').join(" ");
}
function show() {
  const shapes = regions.map(one => `<polygon class="${one.kind}" points="${text(one.points)}"/>`);
  if (isDragged()) shapes.push(`<polygon class="${kind()}" points="${text(rectangle(from, to))}"/>`);
  if (open.length) shapes.push(`<polyline class="open" points="${text(open)}"/>`);
  for (const [x, y] of open) shapes.push(`<circle cx="${x}" cy="${y}" r="${WIDTH / 200}"/>`);
  drawn.innerHTML = shapes.join("");
  document.getElementById("flags").textContent = flags();
}
function finish() { if (open.length > 2) add(open); open = []; show(); }
svg.addEventListener("pointerdown", event => { from = to = place(event); });
svg.addEventListener("pointermove", event => { if (from) { to = place(event); show(); } });
window.addEventListener("pointerup", event => {
  if (!from) return;
  to = place(event);
  if (isDragged() && !open.length) add(rectangle(from, to)); else if (event.detail < 2) open.push(from);
  from = to = null;
  show();
});
svg.addEventListener("dblclick", finish);
document.getElementById("finish").addEventListener("click", finish);
document.getElementById("undo").addEventListener("click", () => { (open.length ? open : regions).pop(); show(); });
document.getElementById("copy").addEventListener("click", event => {
  const range = document.createRange();
  range.selectNodeContents(document.getElementById("flags"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  document.execCommand("copy");  // the newer way is refused on pages that were opened as files
  event.target.textContent = "copied";
  setTimeout(() => { event.target.textContent = "copy"; }, 1500);
});
for (const button of document.querySelectorAll("input[name=picture]"))
  button.addEventListener("change", () => document.getElementById("picture").setAttribute("href", button.dataset.href));
show();
"""

_TOOLS = """
<div class="tools"><label><input type="radio" name="kind" value="roi" checked> inspect only inside</label>
<label><input type="radio" name="kind" value="ignore"> never inspect inside</label>
<button id="finish">close the region</button><button id="undo">undo</button></div>
"""


def write_page(look: Look, sheet: Path) -> Path:
    """Write the page beside the picture sheet of the same look; returns its path."""
    path = sheet.with_suffix(".html")
    write_whole(path, look_page(look, sheet.name).encode())
    return path


def look_page(look: Look, sheet: str) -> str:
    """The page as text; sheet: the file name of the picture sheet, which lies beside it."""
    title = f"{len(look.paths)} good images before training"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = [
        f"<h1>{title} <small>{len(look.findings)} findings</small></h1>",
        _drawing(look),
        f"<h2>What was found</h2>{_findings(look)}",
        f'<p>Pictures of all this are on <a href="{escape(sheet)}">{escape(sheet)}</a>, with the least alike.</p>',
    ]
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}{_STYLE}</style></head>'
        f"<body>{''.join(body)}<script>{_SCRIPT}</script></body></html>\n"
    )


def _drawing(look: Look) -> str:
    height, width = look.geometry.frame_size
    usual, mean = (_as_data(image) for image in _pictures(look))
    choice = "".join(
        f'<label><input type="radio" name="picture" data-href="{data}"{checked}> {label}</label>'
        for label, data, checked in (("a usual part", usual, " checked"), ("the mean of all", mean, ""))
    )
    return (
        "<h2>Where to inspect</h2><p>Drag a rectangle, or click corner after corner and close the region (a double "
        "click does too). The flags of edge-train fit that say so stand above the picture.</p>"
        f'<div class="tools">{choice}</div>{_TOOLS}'
        '<div class="tools"><button id="copy">copy</button><code id="flags"></code></div><div class="draw">'
        f'<svg id="part" viewBox="0 0 {width} {height}"><image id="picture" width="{width}" height="{height}" '
        f'preserveAspectRatio="none" href="{usual}"/><g id="drawn"></g></svg></div>'
    )


def _pictures(look: Look) -> tuple[Image, Image]:
    """The image most like the others, and the mean of up to MEAN_OF; where sizes are mixed, all of the first one's."""
    usual = read_image(look.paths[int(np.argmin(look.unlike))])
    shown = fitted(usual, PICTURE_PX)
    chosen = look.paths[:: max(1, len(look.paths) // MEAN_OF)]
    pictures = (cv2.resize(fitted(read_image(path), PICTURE_PX), shown.shape[1::-1]) for path in chosen)
    mean = np.mean([picture.astype(np.float32) for picture in pictures], axis=0)
    return shown if max(usual.shape) > PICTURE_PX else usual, np.asarray(np.rint(mean), np.uint8)


def _as_data(image: Image) -> str:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"


def _findings(look: Look) -> str:
    if not look.findings:
        return "<p>Nothing.</p>"
    return "".join(_kind(look, kind) for kind in dict.fromkeys(finding.kind for finding in look.findings))


def _kind(look: Look, kind: str) -> str:
    these: list[Finding] = [finding for finding in look.findings if finding.kind == kind]
    rows = "".join(f"<tr><th>{escape(str(one.path))}</th><td>{escape(one.detail)}</td></tr>" for one in these[:LISTED])
    more = f"<p>and {len(these) - LISTED} more</p>" if len(these) > LISTED else ""
    return f'<h3>{escape(kind)}: {len(these)}</h3><div class="wide"><table>{rows}</table></div>{more}'
