"""Prints as JSON which members the classes of an importable TensorRT have, and with which parameters.

`python read_api.py MODULE '{"Class": ["member", …]}'`, in a process of its own: two TensorRTs do not share one.
Signatures come from the docstrings that pybind11 writes; overloads give several.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any


def parameters(text: str) -> list[str]:
    """Names in "self: a.B, name: str, shape: Dims = 3", without self."""
    flat = re.sub(r"\[[^\]]*\]|<[^>]*>|\([^)]*\)", "", text)
    names = [part.split(":")[0].split("=")[0].strip() for part in flat.split(",")]
    return [name for name in names if name not in ("", "self")]


def member(cls: type, name: str) -> Any:
    """The overloads of a method, each the list of its parameters; a word for what is no method; None for nothing."""
    found = getattr(cls, name, None)
    if found is None or isinstance(found, property):
        return None if found is None else "property"
    if not callable(found) or isinstance(found, type):
        return "value"
    signatures = re.findall(rf"(?m)^(?:\d+\. )?{name}\((.*)\) ->", found.__doc__ or "")
    return sorted(parameters(signature) for signature in signatures)


def main() -> None:
    module, wanted = importlib.import_module(sys.argv[1]), json.loads(sys.argv[2])
    table = {name: {m: member(getattr(module, name), m) for m in members} for name, members in wanted.items()}
    print(json.dumps({"version": module.__version__, "classes": table}))


if __name__ == "__main__":
    main()
