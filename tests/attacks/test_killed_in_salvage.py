"""Killed while it salvages a journal: the next start finishes that, and all that is lost is told (row 36)."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from edge.history.journal import Journal
from edge.wire.records import HistoryGapRecord
from tests.edge.history.records import tell_losses, write
from tests.edge.history.test_journal import damage
from tests.edge.stub import ROOT
from tests.faults import MULTIPLIER

RECORDS, KILLS = 4000, 4 * MULTIPLIER
OPEN = (
    "import sys; from pathlib import Path; from edge.history.journal import Journal; Journal(Path(sys.argv[1])).close()"
)


def opening(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", OPEN, str(path)], cwd=ROOT, stdout=subprocess.DEVNULL)


def test_a_salvage_that_is_killed_again_and_again_loses_nothing_in_silence(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "damaged" / "journal.db")) as journal:
        ids = write(journal, RECORDS, group=500)
    damage(tmp_path / "damaged" / "journal.db", "every tenth page")
    shutil.copytree(tmp_path / "damaged", tmp_path / "whole")
    began_s = time.monotonic()
    with opening(tmp_path / "whole" / "journal.db") as process:
        assert process.wait() == 0
    takes_s, chance = time.monotonic() - began_s, random.Random(36)
    for number in range(KILLS):
        path = tmp_path / str(number) / "journal.db"
        shutil.copytree(tmp_path / "damaged", path.parent)
        with opening(path) as process:
            time.sleep(chance.uniform(0.2, 1.0) * takes_s)
            process.kill()
        with closing(Journal(path)) as journal:
            rows = journal.read(0, RECORDS)
            told: list[HistoryGapRecord] = []
            while journal.losses:
                told += tell_losses(journal)
        assert [row.result_id for row in rows] == [ids[row.seq - 1] for row in rows], "each is what it was"
        lost = {seq for one in told for seq in range(one.history.first_seq, (one.history.last_seq or RECORDS) + 1)}
        assert {row.seq for row in rows} | lost == set(range(1, RECORDS + 1)) and len(rows) + len(lost) == RECORDS
        names = [file.name for file in path.parent.iterdir()]
        assert len(names) == 3, f"a copy was left behind: {names}"
        shutil.rmtree(path.parent)
