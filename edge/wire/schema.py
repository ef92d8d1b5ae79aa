"""JSON Schema (2020-12) of the records, generated from their types and shipped beside them.

`python -m edge.wire.schema` prints it, `--write` renews `record.schema.json`; a test keeps the two equal.
Unknown fields stay allowed, because a minor version may add some. Rejected: a schema written by hand, which
drifts from the code at the first change.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import types
from dataclasses import MISSING, asdict, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from edge.wire.records import RECORDS, Record
from edge.wire.vocabulary import schema_name

SCHEMA_FILE = Path(__file__).with_name("record.schema.json")
_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def build_schema() -> dict[str, Any]:
    """One document: any of the record kinds, told apart by `kind`; nested types under `$defs`."""
    definitions: dict[str, Any] = {}
    choices = [{"$ref": _define(record, definitions)} for record in RECORDS]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edge-inspect record",
        "description": "The body of one message; a field without a known value is left out, never null.",
        "oneOf": choices,
        "$defs": definitions,
    }


def schema_text() -> str:
    """The schema as the shipped file's text."""
    return json.dumps(build_schema(), indent=2) + "\n"


def _define(cls: type[Any], definitions: dict[str, Any]) -> str:
    if cls.__name__ not in definitions:
        definitions[cls.__name__] = {}  # holds the place
        definitions[cls.__name__] = _object(cls, definitions)
    return f"#/$defs/{cls.__name__}"


def _object(cls: type[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    properties: dict[str, Any] = {}
    required: list[str] = []
    if issubclass(cls, Record):
        kind = cls.KIND.value
        properties = {"schema": {"const": schema_name(kind)}, "kind": {"const": kind}}
        required = ["schema", "kind"]
    for item in fields(cls):
        kinds = _without_none(hints[item.name])
        properties[item.name] = _schema_of(kinds, definitions)
        # A default that is not None is always sent; only None is left out.
        if item.default is MISSING or item.default is not None:
            required.append(item.name)
    return {"type": "object", "description": inspect.getdoc(cls), "properties": properties, "required": required}


def _schema_of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if get_origin(hint) is Annotated:
        kind, limits = get_args(hint)
        stated = {name: limit for name, limit in asdict(limits).items() if limit is not None}
        return {**_schema_of(kind, definitions), **stated}
    if get_origin(hint) is tuple:
        return _array(get_args(hint), definitions)
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if is_dataclass(hint) and isinstance(hint, type):
        return {"$ref": _define(hint, definitions)}
    raise TypeError(f"no JSON Schema for {hint}")


def _array(items: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if len(items) == 2 and items[1] is Ellipsis:
        return {"type": "array", "items": _schema_of(items[0], definitions)}
    prefix = [_schema_of(item, definitions) for item in items]
    return {"type": "array", "prefixItems": prefix, "minItems": len(items), "maxItems": len(items)}


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    (kind,) = (choice for choice in get_args(hint) if choice is not type(None))
    return kind


def main() -> None:
    """Print the schema, or write it to its file."""
    parser = argparse.ArgumentParser(description="JSON Schema of the records on the wire.")
    parser.add_argument("--write", action="store_true", help=f"write {SCHEMA_FILE.name} instead of printing")
    if parser.parse_args().write:
        SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    else:
        sys.stdout.write(schema_text())


if __name__ == "__main__":
    main()
