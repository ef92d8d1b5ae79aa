"""Whether a body is valid by the schema of its kind, without a library: a consumer accepts nothing that is not.

The checks are made from the generated schema once, and know exactly the words it uses (a test holds them against
jsonschema). Rejected: jsonschema itself on the device (a dozen times slower, and five packages), and checks written by
hand for each field, which would drift from the types.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from edge.wire.schema import build_schema

Check = Callable[[Any], None]
_LIMITS = {"minimum", "maximum", "pattern", "format", "minItems", "maxItems"}  # format is a note, by the standard too
_KNOWN = {"type", "enum", "const", "items", "prefixItems", "properties", "required", "description"} | _LIMITS
_OF_THE_FRAMES = ("schema", "kind")  # compared with what the frames say: a later minor version has another schema


class Invalid(ValueError):
    """Which field is wrong, and what it must be."""


def require_valid(kind: str, body: dict[str, Any], known: dict[str, tuple[Check, ...]] | None = None) -> None:
    """Invalid when `body` is not what records of this kind are; nothing is known of kinds that are not ours.

    known: the checks of another schema than this version's.
    """
    checks = (_checks() if known is None else known).get(kind, ())
    problems = [problem for check in checks if (problem := _problem(check, body)) is not None]
    if checks and len(problems) != len(checks) - 1:  # a gap speaks of parts or of history, and not of both
        raise problems[0] if problems else Invalid("it is two kinds of record at once")


def _problem(check: Check, body: dict[str, Any]) -> Invalid | None:
    try:
        check(body)
    except Invalid as problem:
        return problem
    return None


@cache
def _checks() -> dict[str, tuple[Check, ...]]:
    return checks_of(build_schema())


def checks_of(schema: dict[str, Any]) -> dict[str, tuple[Check, ...]]:
    """For each kind the checks of its records by this schema, exactly one of which must hold."""
    found: dict[str, tuple[Check, ...]] = {}
    for choice in schema["oneOf"]:
        definition = _resolved(choice, schema["$defs"])
        kind = definition["properties"]["kind"]["const"]
        found[kind] = (*found.get(kind, ()), _compiled(definition, schema["$defs"], ""))
    return found


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    return definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _compiled(schema: dict[str, Any], definitions: dict[str, Any], name: str) -> Check:
    schema = _resolved(schema, definitions)
    if unknown := schema.keys() - _KNOWN:
        raise ValueError(f"the schema of {name} says {', '.join(sorted(unknown))}, which is not checked here")
    if "enum" in schema:
        return _one_of(schema["enum"], name)
    return _BY_TYPE[schema["type"]](schema, definitions, name)


def _object(schema: dict[str, Any], definitions: dict[str, Any], name: str) -> Check:
    checks = {
        field: _compiled(one, definitions, f"{name}.{field}".lstrip("."))
        for field, one in schema["properties"].items()
        if name or field not in _OF_THE_FRAMES
    }
    required = [field for field in schema["required"] if field in checks]

    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise Invalid(f"{name} must be an object")
        for field in required:
            if field not in value:
                raise Invalid(f"{field} is missing" + (f" in {name}" if name else ""))
        for field, one in value.items():
            if (check_one := checks.get(field)) is not None:
                check_one(one)

    return check


def _array(schema: dict[str, Any], definitions: dict[str, Any], name: str) -> Check:
    if "prefixItems" not in schema:
        check_each = _compiled(schema["items"], definitions, f"{name}[]")

        def check(value: Any) -> None:
            if not isinstance(value, list):
                raise Invalid(f"{name} must be an array")
            for one in value:
                check_each(one)

        return check
    checks = [_compiled(one, definitions, f"{name}[{i}]") for i, one in enumerate(schema["prefixItems"])]

    def check_all(value: Any) -> None:
        if not isinstance(value, list) or len(value) != len(checks):
            raise Invalid(f"{name} must be an array of {len(checks)}")
        for check_one, one in zip(checks, value, strict=True):
            check_one(one)

    return check_all


def _string(schema: dict[str, Any], definitions: dict[str, Any], name: str) -> Check:
    pattern = re.compile(schema.get("pattern", ""))

    def check(value: Any) -> None:
        if not isinstance(value, str) or pattern.search(value) is None:
            raise Invalid(f"{name} must be text" + (f" like {pattern.pattern}" if pattern.pattern else ""))

    return check


def _number(schema: dict[str, Any], definitions: dict[str, Any], name: str) -> Check:
    lowest, highest = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
    is_whole = schema["type"] == "integer"

    def check(value: Any) -> None:
        kind = type(value)
        if (kind is not int and (kind is not float or (is_whole and not value.is_integer()))) or not (
            lowest <= value <= highest
        ):
            raise Invalid(f"{name} must be {'a whole' if is_whole else 'a'} number from {lowest} to {highest}")

    return check


def _boolean(schema: dict[str, Any], definitions: dict[str, Any], name: str) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, bool):
            raise Invalid(f"{name} must be true or false")

    return check


def _one_of(choices: list[Any], name: str) -> Check:
    def check(value: Any) -> None:
        if isinstance(value, bool) or value not in choices:
            raise Invalid(f"{name} must be one of {', '.join(map(str, choices))}")

    return check


_BY_TYPE: dict[str, Callable[[dict[str, Any], dict[str, Any], str], Check]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _number,
    "number": _number,
    "boolean": _boolean,
}
