#!/bin/sh
# Installs edge-inspect on a device, or takes it away again; safe to give twice.
#
#   sudo deploy/install.sh                  install this checkout, or upgrade to it
#   sudo deploy/install.sh --offline DIR    the same without internet, from what `make wheelhouse` put into DIR
#   sudo deploy/install.sh --uninstall      remove program and units; settings and journals stay
#   sudo deploy/install.sh --purge          remove those too
#
# Each version is a folder of its own below /opt/edge-inspect/releases, and `current` points to one of them: an upgrade
# is one rename, and going back is `ln -sfn releases/<version> /opt/edge-inspect/current`. DESTDIR puts everything
# below another root, where no user is made and systemd is not called. PYTHON and PIP_ARGS as in the Makefile. EXTRAS=page
# installs what edge-page needs too; give it again with each upgrade (offline the wheelhouse was made with --extras page).
# Rejected: a package for each distribution (JetPack, Debian and Ubuntu differ just where it matters: Python, cv2).
set -eu

ROOT=${DESTDIR:-}
HOME_DIR=/opt/edge-inspect
UNITS=/etc/systemd/system
SETTINGS=/etc/edge-inspect
STATE=/var/lib/edge-inspect
ACCOUNT=edge-inspect
PAGE=edge-page # its user, and the folder of its state
BIN=/usr/local/bin
COMMANDS="edge-inspect edge-watch edge-control edge-deploy edge-page"
OUR_UNITS="edge-inspect@.service edge-inspect.target edge-page.service"
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

say() { printf '%s\n' "$*"; }
fail() { say "install.sh: $*" >&2; exit 1; }
is_live() { [ -z "$ROOT" ]; }
systemd() { if is_live && [ -d /run/systemd/system ]; then systemctl "$@"; fi; }

# JetPack's OpenCV has GStreamer and its TensorRT is no wheel for pip: there the venv sees the system's packages.
is_jetson() { [ -e "$ROOT/etc/nv_tegra_release" ]; }

# What the service's user could not read of a file or folder, or of the folders above it; nothing where he can.
hidden_part() {
    at=$1
    while [ "$at" != / ] && [ -n "$at" ]; do
        case $(stat -Lc %A "$at" 2>/dev/null) in
            *[xt]) ;;
            *) say "$at"; return ;;
        esac
        at=$(dirname "$at")
    done
}

# A Python that is new enough, and that the service's user may run: a venv only points to it, and one below /root (pyenv)
# ends the service with 203/EXEC.
python_of() {
    hidden=
    for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.10 /usr/bin/python3}; do
        "$candidate" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue
        for place in $("$candidate" -c 'import os, sys; print(os.path.realpath(sys.executable), sys.base_prefix)'); do
            hidden=$(hidden_part "$place")
            [ -z "$hidden" ] || break
        done
        if [ -z "$hidden" ]; then
            say "$candidate"
            return
        fi
    done
    [ -z "$hidden" ] || fail "the user $ACCOUNT may not read $hidden, and Python is there; take the system's \
(apt install python3-venv), or name one that everybody may run: PYTHON=/usr/bin/python3"
    fail "no Python >= 3.10 with the venv module; apt install python3-venv, or name one: PYTHON=/path/to/python3"
}

# What pip is given: this checkout, or offline exactly what the wheelhouse lists, each file proved by its hash.
install_packages() {
    if [ -z "$OFFLINE" ]; then
        # shellcheck disable=SC2086 # options, separated by spaces
        "$1" -m pip --disable-pip-version-check -q install ${PIP_ARGS:-} "$HERE${EXTRAS:+[$EXTRAS]}"
    else
        "$1" -m pip --disable-pip-version-check -q install --no-index --find-links "$OFFLINE" \
            --require-hashes -r "$OFFLINE/requirements.txt"
    fi
}

# The program: a venv in a folder of its own, complete before `current` points to it.
install_program() {
    python=$(python_of)
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$HERE/pyproject.toml")
    digest=$(cd "$HERE" && find edge deploy trainer pyproject.toml -type f ! -name '*.pyc' -print | LC_ALL=C sort |
        xargs sha256sum | sha256sum | cut -c1-12)
    release="releases/$version-$digest${EXTRAS:+-$EXTRAS}"
    venv="$ROOT$HOME_DIR/$release"
    if [ ! -e "$venv/.complete" ]; then
        say "installing $release"
        rm -rf "$venv"
        mkdir -p "$ROOT$HOME_DIR/releases"
        if is_jetson; then "$python" -m venv --system-site-packages "$venv"; else "$python" -m venv "$venv"; fi
        install_packages "$venv/bin/python"
        if is_jetson && [ -d "$venv/lib" ]; then
            # JetPack's own cv2 must not be shadowed by the wheel that the project declares.
            if "$python" -c 'import cv2' 2>/dev/null; then "$venv/bin/python" -m pip -q uninstall -y opencv-python; fi
        fi
        : >"$venv/.complete"
    fi
    ln -sfn "$release" "$ROOT$HOME_DIR/current.new"
    mv -T "$ROOT$HOME_DIR/current.new" "$ROOT$HOME_DIR/current"
    chmod 0755 "$ROOT$HOME_DIR" "$ROOT$HOME_DIR/releases"
    mkdir -p "$ROOT$HOME_DIR/bundles" "$ROOT$BIN"
    for name in $COMMANDS; do ln -sfn "$HOME_DIR/current/bin/$name" "$ROOT$BIN/$name"; done
}

# Only what points to us: somebody else's command of that name stays.
remove_commands() {
    for name in $COMMANDS; do
        case $(readlink "$ROOT$BIN/$name" 2>/dev/null) in
            "$HOME_DIR"/*) rm -f "$ROOT$BIN/$name" ;;
        esac
    done
}

install_account() {
    is_live || return 0
    getent group video >/dev/null || groupadd --system video
    getent passwd "$ACCOUNT" >/dev/null ||
        useradd --system --user-group --home-dir "$STATE" --shell /usr/sbin/nologin --groups video "$ACCOUNT"
    getent passwd "$PAGE" >/dev/null ||
        useradd --system --user-group --home-dir "/var/lib/$PAGE" --shell /usr/sbin/nologin --groups "$ACCOUNT" "$PAGE"
    install -d -m 0700 -o "$PAGE" -g "$PAGE" "/var/lib/$PAGE"
}

install_units() {
    mkdir -p "$ROOT$UNITS" "$ROOT$SETTINGS" "$ROOT$STATE"
    for unit in $OUR_UNITS; do
        install -m 0644 "$HERE/systemd/$unit" "$ROOT$UNITS/$unit"
    done
    install -m 0640 "$HERE/systemd/edge-inspect.env.example" "$ROOT$SETTINGS/edge-inspect.env.example"
    install -m 0640 "$HERE/systemd/page.ini.example" "$ROOT$SETTINGS/page.ini.example"
    if is_live; then
        chgrp "$PAGE" "$SETTINGS/page.ini.example"
        chgrp "$ACCOUNT" "$SETTINGS/edge-inspect.env.example"
        chown "$ACCOUNT:$ACCOUNT" "$STATE"
    fi
    install_gpu_access
    systemd daemon-reload
}

# A drop-in with the GPU's device nodes that exist here; DevicePolicy=closed hides those that are not named. Written
# anew each time: after an upgrade of JetPack they may have other names.
install_gpu_access() {
    drop_in="$ROOT$UNITS/edge-inspect@.service.d/gpu.conf"
    rm -f "$drop_in"
    nodes=$(cd "$ROOT/" && find dev -maxdepth 2 \( -name 'nvidia*' -o -name 'nvhost*' -o -name 'nvmap' \
        -o -path 'dev/dri/render*' \) ! -type d 2>/dev/null | LC_ALL=C sort)
    [ -n "$nodes" ] || return 0
    mkdir -p "$(dirname "$drop_in")"
    {
        say "# Written by install.sh from the nodes of this machine; give it again after a change of driver."
        say "[Service]"
        for node in $nodes; do say "DeviceAllow=/$node rw"; done
        say "SupplementaryGroups=render"
    } >"$drop_in"
    getent group render >/dev/null 2>&1 || sed -i '/^SupplementaryGroups=render$/d' "$drop_in"
    say "GPU: $(say "$nodes" | wc -l) device nodes allowed in $drop_in"
}

uninstall() {
    if is_live && [ -d /run/systemd/system ]; then
        systemctl disable --now edge-inspect.target 'edge-inspect@*.service' edge-page.service 2>/dev/null || :
    fi
    rm -rf "$ROOT$HOME_DIR/releases" "$ROOT$HOME_DIR/current" "$ROOT$UNITS/edge-inspect@.service.d"
    for unit in $OUR_UNITS; do rm -f "$ROOT$UNITS/$unit"; done
    remove_commands
    systemd daemon-reload
    if [ "$1" = purge ]; then
        rm -rf "$ROOT$HOME_DIR" "$ROOT$SETTINGS" "$ROOT$STATE" "${ROOT}/var/lib/$PAGE"
        for user in "$PAGE" "$ACCOUNT"; do
            if is_live && getent passwd "$user" >/dev/null; then userdel "$user"; fi
        done
        say "removed, with settings and journals"
    else
        say "removed; kept: $SETTINGS (settings), $STATE (journals, evidence), bundles in $HOME_DIR. --purge takes them"
    fi
}

OFFLINE=
case "${1:-}" in
    "") ;;
    --offline)
        [ -f "${2:-}/requirements.txt" ] || fail "--offline DIR: no requirements.txt in '${2:-}'; make it with: make wheelhouse"
        OFFLINE=$(CDPATH='' cd -- "$2" && pwd)
        ;;
    --uninstall) uninstall keep; exit 0 ;;
    --purge) uninstall purge; exit 0 ;;
    *) fail "unknown argument $1; give none, --offline DIR, --uninstall or --purge" ;;
esac

is_live && [ "$(id -u)" -ne 0 ] && fail "run it as root (sudo), or with DESTDIR=folder to look at what it does"
install_account
install_program
install_units
say "installed. For each camera: copy $SETTINGS/edge-inspect.env.example to $SETTINGS/NAME.env, edit it, then"
say "  systemctl enable --now edge-inspect.target edge-inspect@NAME.service"
say "  sudo -u $ACCOUNT edge-inspect --instance NAME --check"
