"""Rows 24 to 26: who has no key with the role gets nothing from any socket, and is counted; whoever has one, does."""

from __future__ import annotations

import random
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import pytest
import zmq
from click.testing import CliRunner
from zmq.utils import z85

from deploy.cli import cli
from edge.client.control import NoAnswer, ask
from edge.client.feed import Subscription
from edge.client.replay_link import ReplayDenied, ReplayLink, ReplaySilent
from edge.core.errors import SettingsError
from edge.delivery.thread import Isolation
from edge.history.announcer import Announcer
from edge.history.journal import Journal
from edge.security.certificates import PUBLISHED, Certificate, make_certificate, read_certificate, write_public
from edge.security.client_keys import ClientKeys
from edge.security.station_keys import Role, StationKeys
from edge.sockets.control import ControlDesk
from edge.sockets.desk import Served
from edge.sockets.endpoints import Access
from edge.sockets.front import ControlFront
from edge.sockets.publisher import Publisher
from edge.sockets.replay import ReplayServer
from edge.station.triggers import NoTriggers
from edge.wire.records import AuditRecord, HeartbeatRecord, Record, StateRecord
from edge.wire.vocabulary import StationState
from tests.edge.deliveries import Collecting, Line
from tests.patience import WAIT_S

SOON_S = 0.3  # a handshake takes milliseconds here; who has nothing by then is not served
ANYWHERE = "tcp://127.0.0.1:*"
ROLES = ["read", "replay", "control"]  # of the three sockets


def make(*arguments: object) -> None:
    result = CliRunner().invoke(cli, ["keys", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output


class Seen(Collecting):
    """Also waits for anything, and counts without waiting."""

    def wait_until(self, holds: Callable[[list[Record]], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: holds([one.record for one in self.all]), WAIT_S)

    def beats_later(self) -> HeartbeatRecord:
        """The third heartbeat from now: one may have been on its way, the next has looked at the keys."""
        done = len(self._of(HeartbeatRecord))
        return self.wait_for(HeartbeatRecord, done + 3)[-1]


class Guarded:
    """A station whose three sockets ask for keys, and its folder of keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "station"
        self.home = folder
        make("device", self.folder)
        self.keys = StationKeys(self.folder)
        access, self.isolation = Access(self.keys), Isolation()
        self.journal = Journal(folder / "journal.db")
        self.publisher = Publisher(ANYWHERE, access)
        self.seen = Seen()
        self.line = Line(
            self.journal, self.publisher, desks=partial(self._desks, access), isolation=self.isolation, heartbeat_s=0.05
        )
        self.line.seen = self.seen
        self.delivery = self.line.delivery
        self.endpoints = {
            "read": self.publisher.endpoint,
            "replay": self.replay.endpoint,
            "control": self.control.endpoint,
        }

    def _desks(self, access: Access, announcer: Announcer) -> list[Served]:
        self.replay = ReplayServer(ANYWHERE, self.journal, access=access)
        jump = {"JUMP": lambda _: "jumped"}
        front = ControlFront(ANYWHERE, NoTriggers("x"), access, attempt=self.isolation.run)
        self.control = ControlDesk(front, announcer, jump, lambda: {"state": "x"}, attempt=Isolation().run)
        return [self.replay, self.control]

    def consumer(self, name: str, *roles: str) -> Path:
        """A consumer that may come in; its folder."""
        out = self.home / name
        make("consumer", name, "--station", self.folder, "--out", out, *(f"--role={role}" for role in roles or ROLES))
        self.keys_seen()
        return out

    def keys_seen(self) -> None:
        """The folder has been looked at since: a peer that comes sooner is refused, and libzmq does not try again."""
        self.seen.beats_later()

    def refused(self) -> int:
        return self.seen.beats_later().refused_peers or 0

    def wait_refused(self, count: int) -> None:
        """A heartbeat has told of so many."""
        self.seen.wait_until(lambda records: any(_refused(record) >= count for record in records))


def _refused(record: Record) -> int:
    return (record.refused_peers or 0) if isinstance(record, HeartbeatRecord) else 0


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Guarded]:
    opened = Guarded(tmp_path)
    opened.delivery.start()
    yield opened
    opened.delivery.close()


def is_served(station: Guarded, role: str, keys: Path | None, within_s: float = WAIT_S, name: str = "mes") -> bool:
    """Whether a peer with these keys gets anything from the socket of this role."""
    endpoint = station.endpoints[role]
    if role == "read":
        with Subscription(endpoint, keys) as feed:
            return feed.receive(within_s) is not None
    try:
        if role == "control":
            return ask(endpoint, "STATUS", {}, within_s, keys)[0] == "STATUS"
        with closing(ReplayLink(endpoint, name, within_s, keys)) as link:
            return link.hello("earliest").head.seq > 0
    except (NoAnswer, ReplaySilent):
        return False


def is_refused(station: Guarded, role: str, keys: Path | None) -> bool:
    """Whether a peer with these keys is counted as refused, and gets nothing."""
    before = station.refused()
    with ExitStack() as stack:
        peer = open_peer(stack, station, role, keys)
        station.wait_refused(before + 1)
        return not hears(peer, role, SOON_S)


@pytest.mark.parametrize("role", ROLES)
def test_a_key_with_the_role_is_served_and_one_without_is_not(station: Guarded, role: str) -> None:
    keys, others = station.consumer("mes", role), station.consumer("other", *[one for one in ROLES if one != role])
    assert is_served(station, role, keys)
    assert is_refused(station, role, others)


@pytest.mark.parametrize("role", ROLES)
def test_an_unknown_key_a_plaintext_peer_and_one_that_knows_another_station_get_nothing(
    station: Guarded, role: str, tmp_path: Path
) -> None:
    keys = station.consumer("mes")
    unknown, elsewhere = tmp_path / "unknown", tmp_path / "elsewhere"
    shutil.copytree(keys, unknown)
    (unknown / "consumer.key_secret").unlink()
    (unknown / "consumer.key").unlink()
    make_certificate(unknown, "consumer")
    make("device", tmp_path / "station2")
    shutil.copytree(keys, elsewhere)
    shutil.copy(tmp_path / "station2" / "device.key", elsewhere / "station.key")
    for stranger in (unknown, None, elsewhere):
        assert is_refused(station, role, stranger)
    assert is_served(station, role, keys)


@pytest.mark.parametrize(
    ("role", "how"),
    [*((role, "removed") for role in ROLES), ("read", "role taken"), ("replay", "damaged"), ("control", "folder gone")],
)
def test_a_revoked_key_is_cut_off_within_seconds_and_others_come_back(station: Guarded, role: str, how: str) -> None:
    keys, others = station.consumer("mes"), station.consumer("other")
    file = station.folder / "consumers" / "mes.key"
    with ExitStack() as stack:
        peer = open_peer(stack, station, role, keys)
        assert hears(peer, role)
        if how == "removed":
            file.unlink()
        elif how == "role taken":
            own = read_certificate(file, is_secret=False)
            file.unlink()
            write_public(file, Certificate(own.public, roles=own.roles - {role}))
        elif how == "damaged":
            file.write_text("curve")
        else:
            (station.folder / "consumers").rename(station.folder / "away")
        station.keys_seen()
        drain(peer)
        assert not hears(peer, role, SOON_S)
        assert not is_served(station, role, keys, SOON_S)
        if how != "folder gone":
            assert is_served(station, role, others, name="other")


def open_peer(stack: ExitStack, station: Guarded, role: str, keys: Path | None) -> zmq.Socket[bytes]:
    context = stack.enter_context(zmq.Context())
    peer: zmq.Socket[bytes] = stack.enter_context(context.socket(zmq.SUB if role == "read" else zmq.DEALER))
    peer.set(zmq.LINGER, 0)
    if keys is not None:
        ClientKeys(keys).apply(peer)
    if role == "read":
        peer.subscribe(b"ei1/")
    peer.connect(station.endpoints[role])
    return peer


def hears(peer: zmq.Socket[bytes], role: str, within_s: float = WAIT_S) -> bool:
    if role != "read":
        with suppress(zmq.Again):  # it was refused, and takes nothing more
            peer.send_multipart([b"STATUS", b"1", b"{}"], zmq.NOBLOCK)
    is_heard = bool(peer.poll(round(1000 * within_s)))
    drain(peer)
    return is_heard


def drain(peer: zmq.Socket[bytes]) -> None:
    while peer.poll(0):
        peer.recv_multipart()


@pytest.mark.parametrize("role", ROLES)
def test_a_dead_authenticator_is_critical_and_nobody_is_served(
    station: Guarded, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = station.consumer("mes")
    with ExitStack() as stack:
        peer = open_peer(stack, station, role, keys)
        assert hears(peer, role)

        def broken(*_: object) -> str:
            raise RuntimeError("the authenticator has a bug")

        with monkeypatch.context() as patch:
            patch.setattr(station.keys, "name_of", broken)
            another = open_peer(stack, station, role, keys)
            station.seen.wait_until(lambda records: any(is_critical(record) for record in records))
            assert not hears(another, role, SOON_S)
            drain(peer)
            assert not hears(peer, role, SOON_S)  # links from before are cut too
    assert station.delivery.sink_failures > 0


def is_critical(record: object) -> bool:
    return isinstance(record, StateRecord) and record.state is StationState.CRITICAL


@pytest.mark.parametrize("role", ROLES)
def test_raw_bytes_get_nothing_are_counted_and_leave_others_served(station: Guarded, role: str) -> None:
    keys, rng = station.consumer("mes"), random.Random(5)
    host, port = station.endpoints[role].removeprefix("tcp://").split(":")
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
    before = station.refused()
    for number in range(60):
        with socket.create_connection((host, int(port)), timeout=WAIT_S) as raw:
            start = [b"", b"GET / HTTP/1.0\r\n\r\n", greeting, greeting.replace(b"CURVE", b"NULL\0")][number % 4]
            raw.sendall(start + rng.randbytes(rng.randrange(300)))
            raw.settimeout(0.01)
            assert not _beyond_the_greeting(raw)
    assert is_served(station, role, keys)
    station.wait_refused(before + 60)


def _beyond_the_greeting(raw: socket.socket) -> bytes:
    """What came after ZMTP's 64 bytes of greeting, but for commands of the handshake (errors)."""
    got = b""
    try:
        while chunk := raw.recv(4096):
            got += chunk
    except (TimeoutError, ConnectionError):
        pass
    rest = got[64:]
    return b"" if rest[2:].startswith(b"\x05ERROR") else rest


def test_a_consumer_is_called_as_its_key_and_signs_its_commands(station: Guarded) -> None:
    keys = station.consumer("mes")
    link = ReplayLink(station.endpoints["replay"], "audit", WAIT_S, keys)
    with closing(link), pytest.raises(ReplayDenied, match="this key is mes's"):
        link.hello("earliest")
    control = station.endpoints["control"]
    assert ask(control, "JUMP", {"actor": "mes"}, WAIT_S, keys)[0] == "DONE"
    assert station.seen.wait_for(AuditRecord, 1)[0].actor == "mes"


def test_only_a_delegate_names_its_user_and_any_other_name_is_refused_on_record(station: Guarded) -> None:
    """W73."""
    control = station.endpoints["control"]
    mes, page = station.consumer("mes", "control"), station.consumer("page", "control", "delegate")
    assert ask(control, "JUMP", {"actor": "boss"}, WAIT_S, mes)[0] == "REFUSED"
    assert ask(control, "JUMP", {"actor": "anna"}, WAIT_S, page)[0] == "DONE"
    assert ask(control, "JUMP", {"actor": "anna/boss"}, WAIT_S, page)[0] == "REFUSED"
    assert ask(control, "JUMP", {}, WAIT_S, page)[0] == "DONE"
    audits = station.seen.wait_for(AuditRecord, 4)
    assert [(one.actor, one.outcome) for one in audits] == [
        ("mes", "refused"),
        ("page/anna", "done"),
        ("page", "refused"),
        ("page", "done"),
    ]


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        (("trigger",), {"TRIGGER"}),
        (("operate", "delegate"), {"NOTE", "FEEDBACK"}),
        (("trigger", "operate"), {"TRIGGER", "NOTE", "FEEDBACK"}),
        (("control",), {"TRIGGER", "NOTE", "FEEDBACK", "JUMP"}),
    ],
)
def test_a_role_commands_what_it_says_and_anybody_may_ask(
    station: Guarded, roles: tuple[str, ...], allowed: set[str]
) -> None:
    """W74: and what was refused is on record under the key's own name."""
    control, keys = station.endpoints["control"], station.consumer("plc", *roles)
    about = "0195610c-3c83-7000-8000-000000000001"
    commands: dict[str, dict[str, str]] = {
        "TRIGGER": {"part_id": "P1"},
        "NOTE": {"text": "x"},
        "FEEDBACK": {"about": about, "disposition": "accept"},
        "JUMP": {},
    }
    said = {verb: ask(control, verb, facts, WAIT_S, keys) for verb, facts in commands.items()}
    assert {verb for verb, (_, facts) in said.items() if "wants the role" not in str(facts)} == allowed
    assert ask(control, "STATUS", {}, WAIT_S, keys)[0] == "STATUS"
    audits = station.seen.wait_for(AuditRecord, 4)
    assert {one.command for one in audits} == {"trigger", "note", "feedback", "jump"}
    assert {one.actor for one in audits} == {"plc"}


def test_a_key_that_may_only_delegate_gets_nothing(station: Guarded) -> None:
    assert not is_served(station, "control", station.consumer("page", "delegate"), SOON_S)


def test_another_consumer_gets_no_session_by_taking_a_routing_id(station: Guarded) -> None:
    mes, other = station.consumer("mes"), station.consumer("other")

    def exchange(keys: Path, *requests: list[bytes]) -> list[bytes]:
        """Say these under one routing id; the first answer to each."""
        until_s = time.monotonic() + WAIT_S
        while (verbs := answered(keys, *requests)) is None:  # the one before is not gone yet: its id is still taken
            assert time.monotonic() < until_s
        return verbs

    def answered(keys: Path, *requests: list[bytes]) -> list[bytes] | None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
            peer.set(zmq.LINGER, 0)
            peer.set(zmq.ROUTING_ID, b"chosen")
            ClientKeys(keys).apply(peer)
            peer.connect(station.endpoints["replay"])
            verbs = []
            for request in requests:
                peer.send_multipart(request)
                if not peer.poll(500):
                    return None
                verbs.append(peer.recv_multipart()[0])
            return verbs

    hello, fetch = [b"HELLO", b"1", b'{"consumer":"mes"}'], [b"FETCH", b"2", b'{"after":0}']
    assert exchange(mes, hello, fetch) == [b"WELCOME", b"EVENT"]
    assert exchange(other, fetch) == [b"DENIED"]


def test_published_keys_shared_keys_and_readable_secrets_are_refused(tmp_path: Path) -> None:
    make("device", tmp_path)
    published = min(PUBLISHED)
    write_public(tmp_path / "consumers" / "test.key", Certificate(published, roles=frozenset(ROLES)))
    own = read_certificate(tmp_path / "device.key", is_secret=False)
    for name in ("first", "second"):
        write_public(tmp_path / "consumers" / f"{name}.key", Certificate(own.public, roles=frozenset(["read"])))
    (tmp_path / "consumers" / "odd.key").write_text('curve\n    public-key = "' + "~" * 40 + '"\n')
    keys = StationKeys(tmp_path)
    assert keys.name_of(z85.decode(published), Role.READ.let_in) is None
    assert keys.name_of(own.public_bytes, Role.READ.let_in) == "first"
    (tmp_path / "device.key_secret").chmod(0o644)
    with pytest.raises(SettingsError, match="others than its owner"):
        StationKeys(tmp_path)


def test_the_secret_may_come_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("device", tmp_path / "etc")
    (tmp_path / "credentials").mkdir()
    shutil.move(tmp_path / "etc" / "device.key_secret", tmp_path / "credentials")
    with pytest.raises(SettingsError, match="cannot be read"):
        StationKeys(tmp_path / "etc")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert StationKeys(tmp_path / "etc").own.secret


def test_beyond_loopback_only_with_keys_or_when_insecurity_is_asked_for(tmp_path: Path) -> None:
    make("device", tmp_path)
    for access in (Access(StationKeys(tmp_path)), Access(is_insecure=True)):
        Publisher("tcp://0.0.0.0:*", access).close()
    with pytest.raises(SettingsError, match="--insecure-plaintext"):
        Publisher("tcp://0.0.0.0:*")
