"""`edge-deploy page-certificate`: a certificate with which `edge-page` may be served beyond its own machine.

It signs itself, so browsers warn until it is trusted on each; a plant's own CA, which they trust already, is better,
and its request is written beside. Rejected: a TLS library as a dependency, where every system has openssl.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import click

from deploy.terminal import FOLDER
from edge.core.errors import OutputError

NAME = "page"


@click.command()
@click.option("--host", "hosts", multiple=True, required=True, help="Name or address that browsers use; repeatable.")
@click.option("--out", type=FOLDER, default=".", show_default=True, help="Where page.crt, page.key and page.csr go.")
@click.option("--days", type=click.IntRange(1, 3650), default=825, show_default=True)
def page_certificate(hosts: tuple[str, ...], out: Path, days: int) -> None:
    """Make a key, a certificate that signs itself, and a request for a plant's CA to sign a better one."""
    make_certificate(hosts, out, days)
    click.echo(f"edge-page serve --certificate {out / NAME}.crt --certificate-key {out / NAME}.key --host {hosts[0]} …")
    click.echo(f"{out / NAME}.csr: for the plant's CA; what it signs takes the place of {NAME}.crt")


def make_certificate(hosts: tuple[str, ...], out: Path, days: int) -> None:
    """Write page.crt, page.key and page.csr into `out`; OutputError: openssl is missing or fails, or a key is there."""
    if shutil.which("openssl") is None:
        raise OutputError("openssl is not installed: apt install openssl, or take a pair from the plant's CA")
    key, request, certificate = (out / f"{NAME}.{suffix}" for suffix in ("key", "csr", "crt"))
    if key.exists():
        raise OutputError(f"{key}: is there already; a key is never overwritten, remove it first")
    out.mkdir(parents=True, exist_ok=True)
    names = ",".join(f"{'IP' if _is_address(host) else 'DNS'}:{host}" for host in hosts)
    about = ["-subj", f"/CN={hosts[0]}", "-addext", f"subjectAltName={names}"]
    os.close(os.open(key, os.O_CREAT | os.O_EXCL, 0o600))  # its owner's from its first moment: openssl keeps the mode
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key))
    _openssl("req", "-new", "-key", str(key), "-out", str(request), *about)
    _openssl("req", "-x509", "-key", str(key), "-out", str(certificate), "-days", str(days), *about)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _openssl(*arguments: str) -> None:
    run = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if run.returncode:
        raise OutputError(f"openssl {arguments[0]}: {run.stderr.strip().splitlines()[-1]}")
