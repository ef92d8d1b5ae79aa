"""A station is killed again and again while it carries out commands: no action is without a trace (row 33)."""

from __future__ import annotations

import json
import random
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import zmq

from edge.commands.edge_control import NoAnswer, ask
from tests.edge.stub import Stub
from tests.faults import MULTIPLIER
from tests.patience import WAIT_S, wait_until

KILLS, NAMES = 3 * MULTIPLIER, 24


class Commanded(Stub):
    """A stub daemon whose consumers' names are freed by command, each by an actor of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, pause_s=0.01)
        self.control = self.settings["control"]
        self.answers: dict[str, str] = {}  # by actor

    def is_up(self) -> bool:
        try:
            return ask(self.control, "STATUS", timeout_s=1.0)[0] == "STATUS"
        except NoAnswer:
            return False

    def names(self) -> set[str]:
        listed = ask(self.control, "CONSUMERS", timeout_s=WAIT_S)[1]
        return {one["consumer"] for one in listed["consumers"]}

    def welcome(self, run: int) -> set[str]:
        """Names that may be freed in this run."""
        for number in range(NAMES):
            with closing(self.link(f"c{run}-{number}")) as link:
                link.hello()
        return {f"c{run}-{number}" for number in range(NAMES)}

    def free(self, names: set[str], again: str, is_dead: threading.Event) -> None:
        """One after the other, as fast as it is answered, until the station is dead."""
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.set(zmq.LINGER, 0)
            dealer.connect(self.control)
            for name in sorted(names):
                facts = {"forget": name, "actor": name + again}
                dealer.send_multipart([b"CONSUMERS", facts["actor"].encode(), json.dumps(facts).encode()])
                while not dealer.poll(10):
                    if is_dead.is_set() and not dealer.poll(50):
                        return
                verb, actor, _ = dealer.recv_multipart()
                self.answers[actor.decode()] = verb.decode()


def killed_after(process: subprocess.Popen[str], seconds: float) -> threading.Event:
    """Set when it is dead."""
    is_dead = threading.Event()

    def kill() -> None:
        process.kill()
        process.wait()
        is_dead.set()

    threading.Timer(seconds, kill).start()
    return is_dead


def test_a_station_that_is_killed_among_commands_leaves_none_without_a_trace(tmp_path: Path) -> None:
    station, chance = Commanded(tmp_path), random.Random(33)
    there: set[str] = set()  # when it was killed
    freed: set[str] = set()
    for run in range(KILLS + 1):
        process = station.start()
        wait_until(station.is_up, "the station did not start")
        left = station.names() & there
        freed |= there - left
        if run == KILLS:
            break
        station.free(left, "-again", threading.Event())
        there = station.welcome(run)
        is_dead = killed_after(process, chance.uniform(0.0, 0.15))
        station.free(there, "", is_dead)
        is_dead.wait(WAIT_S)
    audits = [message.body for message in station.history() if message.kind == "audit"]
    process.kill()
    process.wait()

    outcomes = {audit["actor"]: audit["outcome"] for audit in audits}
    assert len(outcomes) == len(audits), "a command has two traces"
    assert freed <= outcomes.keys(), "a name is gone and nobody knows why"
    assert {actor: verb.lower() for actor, verb in station.answers.items()}.items() <= outcomes.items()
    assert "DONE" in station.answers.values()
