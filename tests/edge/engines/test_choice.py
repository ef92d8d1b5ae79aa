"""What `auto` takes on a CPU: the recorded engine while all it was measured with is still so, else the default."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import edge.engines
from edge.core.bundle import Bundle
from edge.core.errors import EngineError
from edge.engines import EngineOptions, Share, bundle_shares, open_engine
from edge.engines.choice import (
    PROOF_IMAGES,
    VERIFICATION_SCHEMA,
    Choice,
    choice_file,
    machine_identity,
    read_choice,
    require_verification,
    verification_file,
    write_choice,
)

Opened = Callable[..., tuple[str, str | None, str]]


@pytest.fixture
def opened(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Which engine and variant `auto` opens, and why; the engines themselves do not matter here."""
    seen: dict[str, Any] = {}

    def taking(name: str) -> Callable[[Share, EngineOptions], Any]:
        def take(share: Share, options: EngineOptions) -> Any:
            seen.update(name=name, variant=options.variant)
            return SimpleNamespace(name=name, close=lambda: None)

        return take

    whole = bundle_shares(bundle, "fp32")  # there are no others in it
    monkeypatch.setattr(edge.engines, "bundle_shares", lambda *asked: whole)
    monkeypatch.setattr(edge.engines, "_ENGINES", {name: taking(name) for name in ("onnxruntime", "openvino")})
    monkeypatch.setattr("edge.engines.choice.runtime_version", lambda engine: "1.0")

    def run(variant: str | None = None, commissioned: str | None = None, **changed: Any) -> tuple[str, str | None, str]:
        said: list[str] = []
        commissioning: Any = None if commissioned is None else SimpleNamespace(variant=commissioned)
        options = EngineOptions(variant=variant, folder=tmp_path, say=said.append, **changed)
        open_engine("auto", replace(bundle, commissioning=commissioning), options)
        return seen["name"], seen["variant"], said[0]

    return run


@pytest.fixture
def choice(bundle: Bundle) -> Choice:
    return Choice(bundle.digest, machine_identity(), 0, "openvino", "1.0", "fp32")


def a_verification(folder: Path, choice: Choice, **changed: Any) -> None:
    body = {
        "schema": VERIFICATION_SCHEMA,
        "bundle": choice.bundle,
        "engine": f"{choice.engine} {choice.version} ({choice.variant})",
        "passed": True,
        "images": PROOF_IMAGES + 1,
    }
    file = verification_file(folder, choice.bundle, choice.engine, choice.variant)
    file.write_text(json.dumps(body | changed))


def test_without_a_record_the_light_default_runs_and_says_how_to_make_one(opened: Opened) -> None:
    name, variant, why = opened()
    assert (name, variant) == ("onnxruntime", None) and "edge-deploy choose" in why


def test_the_recorded_engine_is_taken(opened: Opened, choice: Choice, tmp_path: Path) -> None:
    write_choice(tmp_path, choice, {"at": "today"})
    name, variant, why = opened()
    assert (name, variant) == ("openvino", "fp32") and "recorded as the fastest" in why


@pytest.mark.parametrize(
    "other", [{"machine": "Z80, 1 threads"}, {"threads": 3}, {"version": "0.9"}, {"bundle": "0" * 64}]
)
def test_a_record_of_something_else_is_not_taken_and_the_reason_names_it(
    opened: Opened, choice: Choice, tmp_path: Path, other: dict[str, Any]
) -> None:
    write_choice(tmp_path, replace(choice, **other), {}).rename(choice_file(tmp_path, choice.bundle))
    name, _, why = opened()
    assert name == "onnxruntime" and next(iter(other)) in why and "choose again" in why


def test_a_runtime_that_is_gone_is_not_taken(choice: Choice, tmp_path: Path) -> None:
    write_choice(tmp_path, replace(choice, engine="a_runtime_that_is_gone"), {})
    with pytest.raises(EngineError, match="not installed any more"):
        read_choice(tmp_path, choice.bundle, 0)


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"schema": "edge-inspect.engine-choice/1"}', "\xff"])
def test_a_damaged_record_is_not_taken(opened: Opened, choice: Choice, tmp_path: Path, damage: str) -> None:
    choice_file(tmp_path, choice.bundle).write_bytes(damage.encode("latin-1"))
    name, _, why = opened()
    assert name == "onnxruntime" and "again" in why


def test_another_variant_needs_a_passed_verification(opened: Opened, choice: Choice, tmp_path: Path) -> None:
    choice = replace(choice, variant="int8-cpu")
    write_choice(tmp_path, choice, {})
    name, _, why = opened()
    assert name == "onnxruntime" and "edge-deploy verify --engine openvino --variant int8-cpu" in why
    a_verification(tmp_path, choice)
    assert opened()[:2] == ("openvino", "int8-cpu")


@pytest.mark.parametrize(
    "other",
    [
        {"passed": False},
        {"passed": "yes"},
        {"images": PROOF_IMAGES},
        {"images": None},
        {"bundle": "0" * 64},
        {"engine": "openvino 0.9 (int8-cpu)"},
        {"schema": "another"},
    ],
)
def test_a_verification_that_proves_something_else_or_nothing_does_not_count(
    choice: Choice, tmp_path: Path, other: dict[str, Any]
) -> None:
    int8 = replace(choice, variant="int8-cpu")
    a_verification(tmp_path, int8, **other)
    with pytest.raises(EngineError):
        require_verification(tmp_path, int8.bundle, int8.engine, int8.version, int8.variant)


def test_a_variant_that_is_asked_for_or_commissioned_outranks_the_record(
    opened: Opened, choice: Choice, tmp_path: Path
) -> None:
    int8 = replace(choice, variant="int8-cpu")
    write_choice(tmp_path, int8, {})
    a_verification(tmp_path, int8)
    assert opened(variant="fp32")[:2] == ("onnxruntime", "fp32")
    assert opened(commissioned="fp32")[:2] == ("onnxruntime", None)
    assert opened(commissioned="int8-cpu")[:2] == ("openvino", "int8-cpu")
