"""A line of shell as a document shows it -> what is wrong with it: programs, sub-commands, flags, values, paths.

Flags and values are read by the programs' own parsers, taken from their entry points, so a flag that is renamed is
found at once. Rejected: looking flags up in what --help prints, which says nothing of values, nor of what is required.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import click

from tests.documents.reading import ROOT

TOP_LEVEL = ("edge/", "trainer/", "deploy/", "systemd/", "tests/", ".ci/")
OTHERS = {"apt", "cd", ".", "install", "journalctl", "mbpoll", "pip", "python3", "sudo", "systemctl"}  # others'
ASSIGNMENT = re.compile(r"[A-Z_]+=")


class Captured(BaseException):
    """The click command that an entry point was about to run."""


@cache
def scripts() -> dict[str, str]:
    """Our programs and the modules behind them, as installed."""
    text = (ROOT / "pyproject.toml").read_text("utf-8").partition("[project.scripts]")[2].partition("\n[")[0]
    return dict(re.findall(r'^([\w-]+) = "([\w.]+):main"$', text, re.MULTILINE))


@cache
def click_command(module: str) -> click.Command | None:
    """What `python -m module` runs, if that is click's."""

    def captured(command: click.Command, *_: object, **__: object) -> None:
        raise Captured(command)

    main = import_module(module).main
    if isinstance(main, click.Command):
        return main
    with patch.object(click.Command, "main", captured):
        try:
            main()
        except Captured as found:
            command = found.args[0]
            assert isinstance(command, click.Command)
            return command
        except SystemExit:
            return None
    return None


def option_names() -> set[str]:
    """Every flag of every program of ours."""
    known: set[str] = set()
    todo = [click_command(module) for module in (*scripts().values(), "edge.demo.run", "edge.demo.render")]
    while todo:
        command = todo.pop()
        assert command is not None
        if isinstance(command, click.Group):  # also one that loads its commands when they are asked for
            context = click.Context(command)
            todo += [command.get_command(context, name) for name in command.list_commands(context)]
        known |= {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    return known | {"--help", "--uninstall", "--purge", "--share", "--list"}


def problems_of(script: str, *, is_whole: bool = True) -> list[str]:
    """What is wrong with these lines of shell; not is_whole: parts of a command may be left out, or be …"""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("&|;"):
                found += _problems([w for w in words if w != "…"] if not is_whole else words, is_whole)
                words = []
            else:
                words.append(word)
    return found


def _problems(words: list[str], is_whole: bool) -> list[str]:
    while words and (ASSIGNMENT.match(words[0]) or words[0] == "sudo"):
        words = words[3:] if words[:2] == ["sudo", "-u"] else words[1:]
    if ">" in words:
        words = words[: words.index(">")]
    if not words:
        return []
    program, arguments = Path(words[0]).name if "/bin/" in words[0] else words[0], words[1:]
    missing = [f"{word}: no such path" for word in words if is_missing(word)]
    if program in scripts():
        return missing + _of_click(click_command(scripts()[program]), program, arguments, is_whole)
    if program == "python" and arguments[:1] == ["-m"]:
        return missing + _of_module(arguments[1], arguments[2:], is_whole)
    if program == "make":
        return missing + _of_make(arguments)
    if program == "pytest":
        return missing + _of_pytest(arguments)
    if program == "torchrun":
        return missing + [f"{word}: no such module" for word in arguments if "." in word and not module_exists(word)]
    if program == "deploy/install.sh":
        text = (ROOT / program).read_text("utf-8")
        return missing + [
            f"{flag}: not in {program}" for flag in arguments if flag[0] == "-" and f"{flag})" not in text
        ]
    return missing + ([] if program in OTHERS else [f"{program}: no such program"])


def is_missing(word: str) -> bool:
    """Whether this names something of the repository that is not there."""
    path = word.partition("=")[2] if word.startswith("-") else word
    plain = path.startswith(TOP_LEVEL) and not re.search(r"[*<>…]", path)
    return plain and not (ROOT / path.partition("::")[0]).exists()


def module_exists(name: str) -> bool:
    """Whether `package.module`, or a name in that module, is ours."""
    path = ROOT.joinpath(*name.split("."))
    if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
        return True
    holder = next((one for one in (path.parent.with_suffix(".py"), path.parent / "__init__.py") if one.exists()), None)
    return holder is not None and re.search(rf"\b{path.name}\b", holder.read_text("utf-8")) is not None


def _of_module(module: str, arguments: list[str], is_whole: bool) -> list[str]:
    if not module_exists(module):
        return [f"python -m {module}: no such module"]
    if module != "tests.faults":
        return _of_click(click_command(module), module, arguments, is_whole)
    known = {row.name for row in import_module("tests.faults.rows").ROWS} | set(
        re.findall(r"--[\w-]+", _help_of(module))
    )
    return [f"{module} {word}: not in its help" for word in arguments if word not in known and not word[0].isdigit()]


@cache
def _help_of(module: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def _of_make(arguments: list[str]) -> list[str]:
    text = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^\.PHONY: (\S+)$", text, re.MULTILINE))
    variables = [word.partition("=")[0] for word in arguments if "=" in word]
    found = [f"make {word}: no such target" for word in arguments if "=" not in word and word not in targets]
    return found + [f"make {name}=: no such variable" for name in variables if f"$({name})" not in text]


def _of_pytest(arguments: list[str]) -> list[str]:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    asked = [marks for flag, marks in pairwise(arguments) if flag == "-m"]
    marks = [
        mark for expression in asked for mark in re.findall(r"\w+", expression) if mark not in ("not", "and", "or")
    ]
    return [f"pytest -m {mark}: no such marker" for mark in marks if f'"{mark}: ' not in text]


def _of_click(command: click.Command | None, name: str, arguments: list[str], is_whole: bool) -> list[str]:
    assert command is not None, f"{name} is no click command"
    # Each in its group's context, as click does it: a command keeps the help flags of the first context it meets.
    context = click.Context(command, info_name=name, **command.context_settings)
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        step, arguments = arguments[0], arguments[1:]
        command, name = command.get_command(context, step), f"{name} {step}"
        if command is None:
            return [f"{name}: no such command"]
        context = click.Context(command, info_name=step, parent=context, **command.context_settings)
    try:
        given, rest, _ = command.make_parser(context).parse_args(list(arguments))
        for param in command.get_params(context):
            value = given.get(param.name)
            if value is not None and not _is_unset(value):
                param.type_cast_value(context, value)
            elif is_whole and param.required and not isinstance(command, click.Group) and not given.get("instance"):
                return [f"{name}: {param.opts[0]} is missing"]
    except click.UsageError as error:
        return [f"{name}: {error.format_message()}"]
    return [f"{name}: {' '.join(rest)} is too much"] if rest and not isinstance(command, click.Group) else []


def _is_unset(value: object) -> bool:
    return value in ((), []) or "UNSET" in repr(value)  # click 8.3 has a sentinel of its own
