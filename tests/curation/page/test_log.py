"""Writing decisions: whole lines, whoever else writes, and whoever is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from carsclf.curation.page.log import append
from carsclf.data.decision_log import HEADER, Entry, read_ledger

WRITER = """
import sys
from pathlib import Path
from carsclf.curation.page.log import append
from carsclf.data.decision_log import Entry
path, who, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for n in range(count):
    append(path, [Entry(str(n), who, f"{who} {n}.jpg", "", "relabel", "x" * 9000, "", "é, \\"")])
    print(n, flush=True)
"""


def writer(path: Path, who: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), who, str(count)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_tear_no_line(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    writers = [writer(path, who, 150) for who in ("ann", "bob")]
    for process in writers:
        begin(process)
    assert [process.wait(60) for process in writers] == [0, 0]
    ledger = read_ledger(path.read_bytes(), path)
    assert ledger.torn == 0
    assert set(ledger.ids()) == {f"{who} {n}.jpg" for who in ("ann", "bob") for n in range(150)}
    assert path.read_text().count("when,who,id") == 1


def test_what_was_told_as_written_outlives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    process = writer(path, "ann", 100_000)
    begin(process)
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    told += process.stdout.readlines()
    process.wait()
    ledger = read_ledger(path.read_bytes(), path)
    written = int(told[-1]) + 1
    assert len(ledger.ids()) in (written, written + 1)
    assert ledger.torn == 0


def test_after_half_a_line_the_next_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    path.write_text(HEADER + "t,ann,a.jpg,,exclu")
    append(path, [Entry("t", "bob", "b.jpg", "", "keep")])
    ledger = read_ledger(path.read_bytes(), path)
    assert (ledger.ids(), ledger.torn) == (["b.jpg"], 1)
