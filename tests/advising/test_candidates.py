"""Which weights are whose, what is skipped, and what is said where nobody is left."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from carsclf.advising import speed
from carsclf.advising.advice import CANDIDATES, read_rows
from carsclf.advising.candidates import Candidate, candidates_of, check_some, counted, too_slow
from carsclf.advising.speed import NoRoom, check_parameters, extrapolated
from carsclf.errors import ConfigError
from carsclf.machine.memory import free_memory, peak_memory
from tests.advising.conftest import candidate

stage = sys.modules["carsclf.advising.candidates"]


def test_a_file_is_the_network_s_that_it_is_named_after(tmp_path: Path) -> None:
    names = ("resnet18d.pth", "resnet18.a1_in1k.safetensors", "vit.txt", "mobilenetv2_100.pth")
    for name in names:
        (tmp_path / name).touch()
    own = {"name": "resnet34", "weights": "mine.pth"}
    found = candidates_of(["resnet18", "resnet50", own], tmp_path)
    assert found == [
        Candidate("resnet18", str(tmp_path / "resnet18.a1_in1k.safetensors")),
        Candidate("resnet50"),
        Candidate("resnet34", "mine.pth"),
        Candidate("mobilenetv2_100", str(tmp_path / "mobilenetv2_100.pth")),
        Candidate("resnet18d", str(tmp_path / "resnet18d.pth")),
    ]


def test_a_longer_name_is_another_network(tmp_path: Path) -> None:
    (tmp_path / "resnet18d.pth").touch()
    assert candidates_of(["resnet18"], tmp_path)[0] == Candidate("resnet18")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["resnet18", {"name": "resnet18"}], "resnet18 twice"),
        ([{"nam": "resnet18"}], "expected {name: <timm's name>, weights: <file>}"),
        ([{"name": "resnet18", "size": "3"}], "size: 3"),
    ],
)
def test_what_is_no_candidate(asked: list[Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        candidates_of(asked, None)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    with pytest.raises(ConfigError, match="holds no weights"):
        candidates_of(["resnet18"], tmp_path)


def row(name: str, skipped: str, answer_ms: float | None = None) -> dict[str, Any]:
    return {"name": name, "skipped": skipped, "answer_ms": answer_ms}


def test_the_nearest_latency_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    slow = [row("a", "no weights here: x"), row("b", "slow", 40.0), row("c", "slow", 25.0)]
    with pytest.raises(ConfigError, match="latency_ms=20: .* nearest is c with 25 ms"):
        check_some(slow, 20)
    assert "no weights here: a: pip install" in capsys.readouterr().out
    check_some([*slow, row("d", "", 9.0)], 20)


def test_no_weights_at_all() -> None:
    rows = [row("a", "no weights here: x"), row("b", "no weights here: y")]
    with pytest.raises(ConfigError, match="none of the 2 candidates has weights here: pip install"):
        check_some(rows, None)
    with pytest.raises(ConfigError, match="no candidate is left: c: too large"):
        check_some([*rows, row("c", "too large")], None)


def test_too_slow_says_how_slow() -> None:
    assert too_slow(20, 20) == too_slow(20, None) == ""
    assert too_slow(34.56, 20) == "one answer takes 34.6 ms here, and latency_ms=20"


def test_parameters_are_counted_without_making_the_network() -> None:
    assert counted("resnet18", 64) == 11_689_512  # as torchvision tells
    with pytest.raises(ConfigError, match="resnet19 is no timm model: did you mean 'resnet18'"):
        counted("resnet19", 64)


def test_memory_of_a_larger_batch_lies_on_the_line() -> None:
    # 100 MB of weights and 10 MB a picture
    assert extrapolated({2: 120e6, 8: 180e6}, 32) == pytest.approx(420e6)
    assert extrapolated({2: None, 8: None}, 32) is None
    assert extrapolated({2: 120e6, 8: 110e6}, 32) == 110e6  # noise is no gain


def test_a_network_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "free_memory", lambda device: 2e9)
    check_parameters(25_000_000, torch.device("cpu"))  # 1.7 GB with what is timed beside it
    with pytest.raises(NoRoom, match=r"3.4 GB of memory, and 2.0 GB are free"):
        check_parameters(50_000_000, torch.device("cpu"))


def test_the_peak_is_that_of_the_work_alone() -> None:
    device, megabytes = torch.device("cpu"), 200
    if peak_memory(lambda: None, device) is None:
        pytest.skip("nothing here tells of a process's memory")
    freed = torch.ones(100 << 20, dtype=torch.uint8)
    del freed  # an earlier peak does not count

    def work() -> None:
        torch.ones(megabytes << 20, dtype=torch.uint8)

    peak = peak_memory(work, device)
    assert peak == pytest.approx(megabytes << 20, rel=0.1)
    assert free_memory(device) > 0


def test_a_network_at_which_the_process_dies_is_left_out_in_the_end(advice_of, monkeypatch) -> None:
    """As the system ends what takes all memory; here at the first of two, each time."""
    begun: list[str] = []

    def killed(advice: Any, one: Candidate, classes: int) -> dict[str, Any]:
        begun.append(one.name)
        if one.name == "resnet152":
            raise KeyboardInterrupt
        return candidate(one.name)

    monkeypatch.setattr(stage, "examined", killed)
    advice = replace(advice_of([], []), candidates=["resnet152", "resnet18"])
    (advice.folder.root / "look.json").write_text('{"classes": 3}')
    for _ in range(stage.KILLED):
        with pytest.raises(KeyboardInterrupt):
            stage.candidates(advice)
    stage.candidates(advice)
    assert begun == ["resnet152"] * stage.KILLED + ["resnet18"]
    first, second = read_rows(advice.folder.candidates, CANDIDATES)
    assert first["skipped"].startswith("not measured: killed 3 times while it was")
    assert not second["skipped"]
