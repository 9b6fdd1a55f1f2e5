"""What the measuring scripts of experiments/ share."""

from pathlib import Path

import pytest

from experiments.measuring import Rows, used_by


def test_rows_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("way,seed,top1\nplain,0,0.5\n")
    rows, made = Rows(path, ("way", "seed", "top1"), 2), []

    def make(way: str, seed: int) -> dict[str, object]:
        made.append((way, seed))
        return {"way": way, "seed": seed, "top1": 0.25}

    rows.fill([("plain", 0), ("plain", 1), ("other", 0)], make, jobs=2)
    rows.fill([("plain", 1), ("other", 0)], make)
    assert sorted(made) == [("other", 0), ("plain", 1)]
    assert sorted(path.read_text().splitlines()) == [
        *("other,0,0.25", "plain,0,0.5", "plain,1,0.25", "way,seed,top1"),
    ]


def test_a_row_that_fails_takes_no_other_along(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "results.csv", ("seed", "top1"), 1)

    def make(seed: int) -> dict[str, object]:
        if seed == 1:
            raise SystemExit("train.py: exit status 1")
        return {"seed": seed, "top1": 0.5}

    with pytest.raises(SystemExit, match=r"not made: \(1,\);"):
        rows.fill([(0,), (1,), (2,)], make)
    assert [rows.has(seed) for seed in range(3)] == [True, False, True]


def test_used_by_tells_processor_and_memory_of_that_process_alone() -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass\nx = b'1' * (200 << 20)"
    used, idle = used_by("-c", busy), used_by("-c", "import time; time.sleep(0.5)")
    assert used.cpu >= 0.5 > idle.cpu
    assert idle.wall >= 0.5
    assert used.peak_mib > 200 > idle.peak_mib  # whatever this process has
    with pytest.raises(SystemExit, match="exit status 3"):
        used_by("-c", "raise SystemExit(3)")
