"""`edge-page`: the page for the line, and its users.

    edge-page user add anna --role engineer
    edge-page serve --stations /etc/edge-inspect/page.ini

Rejected: a first user with a known password, which is still there years later.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from edge.core.errors import EdgeError, SettingsError
from edge.log import configure_logging
from edge.page.users import FILE as USERS
from edge.page.users import Role, Users

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
ROLES = [role.word for role in Role]
EXTRA = {"starlette", "uvicorn", "jinja2"}
SHIFTS = "06:00 14:00 22:00"
CONFIGURATION = 78  # as the station's: a person must change something
STATE = click.option(
    "--state", type=FOLDER, default=Path("edge-page"), show_default=True, envvar=["EDGE_PAGE_STATE", "STATE_DIRECTORY"],
    help="Where the page keeps users, sessions, its audit and its read model.",
)  # fmt: skip


@click.group(context_settings={"auto_envvar_prefix": "EDGE_PAGE"})
def main() -> None:
    """A page for the line: live, review, parts, log, recipes, users; for a browser, from stations' sockets."""


@main.command()
@STATE
@click.option(
    "--stations", type=FILE, required=True, help="A section for each station: live, replay, control, evidence …"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Beyond this machine only with a certificate.")
@click.option("--port", type=click.IntRange(1, 65535), default=8443, show_default=True)
@click.option("--certificate", type=FILE, help="TLS certificate, PEM.")
@click.option("--certificate-key", type=FILE, help="Its key, PEM.")
@click.option("--hsts", is_flag=True, help="Have browsers insist on TLS; with a certificate of the plant's CA only.")
@click.option("--shifts", default=SHIFTS, show_default=True, help="When shifts begin, local time.")
def serve(
    state: Path,
    stations: Path,
    host: str,
    port: int,
    certificate: Path | None,
    certificate_key: Path | None,
    hsts: bool,
    shifts: str,
) -> None:
    """Serve the page until it is stopped."""
    configure_logging(is_limited=True)
    with _in_one_line():
        from edge.page.running import Page, PageSettings
        from edge.page.serving import require_certificate
        from edge.page.serving import serve as serve_page
        from edge.page.shifts import read_shifts
        from edge.page.stations import read_stations

        require_certificate(host, certificate, certificate_key)
        settings = PageSettings(state, read_stations(stations), read_shifts(shifts), certificate is None, hsts)
        page = Page(settings)
        if not page.users.all():
            click.echo("There is no user yet: edge-page user add NAME --role engineer", err=True)
        click.echo(f"http{'' if certificate is None else 's'}://{host}:{port}/", err=True)
        serve_page(page, host, port, certificate, certificate_key)


@main.command()
@STATE
@click.option("--stations", type=FILE, required=True, help="As for serve.")
@click.option("--station", required=True, help="Which of them.")
@click.option("--shift", default="last", show_default=True, help="this, last, or a local time in it: 2026-03-04T06:00")
@click.option("--shifts", default=SHIFTS, show_default=True, help="When shifts begin, local time.")
@click.option("--language", type=click.Choice(["en", "de"]), default="en", show_default=True)
@click.option("--out", type=FILE, required=True, help="report.html, or report.pdf where Chromium is.")
def report(state: Path, stations: Path, station: str, shift: str, shifts: str, language: str, out: Path) -> None:
    """Write a shift on one page: yield, rejects, causes, known pieces, drift, changes."""
    with _in_one_line():
        from edge.page.report import shift_named, write_report
        from edge.page.running import MODEL
        from edge.page.shifts import read_shifts
        from edge.page.stations import read_stations
        from edge.page.words import words_in

        begins, known = read_shifts(shifts), {one.name: one for one in read_stations(stations)}
        if station not in known:
            raise SettingsError(f"--station {station}: {stations} has {', '.join(known)}")
        span = shift_named(shift, begins)
        parts = write_report(state / MODEL, known[station], span, begins, out, words_in(language))
        click.echo(f"{out}: {parts} parts")


@main.group()
def user() -> None:
    """Who may log in."""


@user.command()
@STATE
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, for scripts.")
def add(state: Path, name: str, role: str, password_stdin: bool) -> None:
    """Make a user NAME; asks for the password twice."""
    with _in_one_line():
        _users(state).add(name, Role[role.upper()], _password(password_stdin))
        click.echo(f"{name} may log in as {role}")


@user.command()
@STATE
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, for scripts.")
def password(state: Path, name: str, password_stdin: bool) -> None:
    """Give NAME another password."""
    with _in_one_line():
        _users(state).change(name, password=_password(password_stdin))
        click.echo(f"{name} has another password")


@user.command()
@STATE
@click.argument("name")
def remove(state: Path, name: str) -> None:
    """Take NAME away."""
    with _in_one_line():
        _users(state).remove(name)
        click.echo(f"{name} may no longer log in")


@user.command(name="list")
@STATE
def list_users(state: Path) -> None:
    """Names and roles."""
    with _in_one_line():
        for one in _users(state).all():
            click.echo(f"{one.name:32} {one.role.word}")


def _users(state: Path) -> Users:
    return Users(state / USERS)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(click.prompt("Password (12 characters or more)", hide_input=True, confirmation_prompt=True))


@contextmanager
def _in_one_line() -> Iterator[None]:
    """What was expected to go wrong is one line; 2 for a flag, 78 for what stands in a file."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        click.echo(f"edge-page: {error.name} is not installed: pip install 'edge-inspect[page]'", err=True)
        sys.exit(CONFIGURATION)
    except SettingsError as error:
        click.echo(f"edge-page: {error}", err=True)
        sys.exit(CONFIGURATION)
    except EdgeError as error:
        click.echo(f"edge-page: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
