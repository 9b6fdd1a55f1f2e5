"""`auto` is measured once and kept: the same command, or the same run resumed, decides alike."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

from carsclf.errors import CheckpointError, ConfigError
from carsclf.files import cache_root
from carsclf.machine import precision
from carsclf.machine.precision import Choice, candidates, check_precision, fastest, settle
from carsclf.models.networks import create
from carsclf.records import Run, RunFolder
from carsclf.training.run import fit, prepare
from carsclf.training.timed_steps import settle_training, timed_steps
from tests.conftest import until

Make = Callable[..., DictConfig]
AUTO = ["trainer.precision=auto", "model.channels_last=auto"]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARSCLF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def win(monkeypatch: pytest.MonkeyPatch, winner: Choice) -> list[int]:
    """Makes a choice the fastest, and counts measurements."""
    counted: list[int] = []

    def timings(steps, device):
        counted.append(len(steps))
        return {choice: 1.0 if choice == winner else 10.0 for choice in steps}

    monkeypatch.setattr(precision, "timings", timings)
    return counted


def test_the_same_command_gives_the_same_run(
    tiny: list[str], config_of: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = config_of(*tiny, *AUTO)
    runs = [fit(config, tmp_path / name) for name in "ab"]
    assert capfd.readouterr().err.count("fastest here: ") == 1  # really measured, once
    notes = list((cache_root() / "precision").glob("*.json"))
    assert len(notes) == 1
    kept = json.loads(notes[0].read_text())
    for name, run in zip("ab", runs, strict=True):
        assert (run.precision, run.channels_last) == (kept["precision"], kept["channels_last"])
        written = OmegaConf.load(RunFolder(tmp_path / name).config)
        assert written.trainer.precision == kept["precision"]
        assert written.model.channels_last is kept["channels_last"]
    first, second = (load_file(RunFolder(tmp_path / name).weights) for name in "ab")
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    fixed = [
        f"trainer.precision={kept['precision']}",
        f"model.channels_last={kept['channels_last']}",
    ]
    fit(config_of(*tiny, *fixed), tmp_path / "c")  # measuring leaves no trace in the training
    third = load_file(RunFolder(tmp_path / "c").weights)
    assert all(torch.equal(tensor, third[name]) for name, tensor in first.items())


def test_a_resumed_run_keeps_its_choice(
    tiny: list[str],
    config_of: Make,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_of(*tiny, *AUTO)
    win(monkeypatch, Choice("32-true", False))
    fit(config, tmp_path / "run", on_epoch=until(1))
    shutil.rmtree(cache / "precision")
    counted = win(monkeypatch, Choice("32-true", True))
    run = fit(config, tmp_path / "run", resume=True)
    assert (run.precision, run.channels_last, counted) == ("32-true", False, [])
    assert Run.read(RunFolder(tmp_path / "run").run) == run
    with pytest.raises(CheckpointError, match="another configuration"):
        fit(config_of(*tiny), tmp_path / "run", resume=True)


def test_what_is_given_is_not_measured(
    tiny: list[str], config_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = win(monkeypatch, Choice("32-true", False))
    assert prepare(config_of(*tiny)) == []
    half = config_of(*tiny, "model.channels_last=auto")
    assert candidates(half, CPU) == [Choice("32-true", False), Choice("32-true", True)]
    overrides = ["trainer.precision=32-true", "model.channels_last=false"]
    assert prepare(half) == prepare(half) == overrides
    assert counted == [2]
    assert prepare(config_of(*tiny, "model.channels_last=auto", "data.image_size=40")) == overrides
    assert counted == [2, 2]  # another size is another question


@pytest.mark.parametrize(
    ("mode", "trains", "prefix_runs"),
    [
        (["mode=finetune"], "conv1.weight", False),
        (["mode=partial", "mode.boundary=2"], "layer4.0.conv1.weight", False),
        (["mode=freeze"], None, True),
    ],
    ids=["finetune", "partial", "freeze"],
)
def test_what_repeats_is_what_is_timed(
    mode: list[str], trains: str | None, prefix_runs: bool, tiny: list[str], config_of: Make
) -> None:
    config = config_of(*tiny, *mode, *AUTO)
    network = create("test_resnet", num_classes=3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    seen: list[torch.device] = []

    def steps(choices, device, pictures):
        made = timed_steps(config, network, boundary, cached=True)(choices, device, pictures)
        for step in made.values():
            out = step()
            assert (out is None) == (trains is not None)  # a forward gives logits, a step nothing
        seen.append(device)
        return made

    boundary = {"finetune": None, "partial": "layer1", "freeze": "head"}[config.mode.name]
    settle(config, CPU, steps, test=mode)
    assert seen
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_float32_wins_where_nothing_saves_five_percent() -> None:
    full, half = Choice("32-true", True), Choice("bf16-mixed", True)
    assert fastest({full: 100, half: 97}) == full
    assert fastest({full: 100, half: 90}) == half


def test_damaged_and_unwritable_memories(
    tiny: list[str], config_of: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = win(monkeypatch, Choice("32-true", False))
    config, network = config_of(*tiny, *AUTO), create("test_resnet", num_classes=3)

    def choice() -> Choice:
        return settle_training(config, network, CPU)[1]

    assert choice() == Choice("32-true", False)
    (note,) = (cache / "precision").glob("*.json")
    note.write_text('{"precision": "32-')
    assert choice() == Choice("32-true", False)
    assert len(counted) == 2
    shutil.rmtree(cache / "precision")
    (cache / "precision").write_text("a file where a folder should be")
    with pytest.raises(CheckpointError, match="choose another place with CARSCLF_CACHE"):
        choice()


@pytest.mark.parametrize("mode", ["finetune", "freeze"])
def test_master_weights_stay_float32(
    mode: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*tiny, f"mode={mode}", "trainer.precision=bf16-mixed")
    run = fit(config, tmp_path / "run")
    assert run.precision == "bf16-mixed"
    state = load_file(RunFolder(tmp_path / "run").weights)
    assert {t.dtype for n, t in state.items() if "num_batches" not in n} == {torch.float32}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler: g++")
def test_compiled_runs_keep_timms_names_and_resume(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    more = ["mode=freeze", "optimizer=adamw"]  # only a head is compiled: a few seconds
    config = config_of(*tiny, *more, "model.compile=true")
    fit(config, tmp_path / "compiled", on_epoch=until(1))
    fit(config, tmp_path / "compiled", resume=True)
    fit(config_of(*tiny, *more), tmp_path / "plain")
    compiled, plain = (
        load_file(RunFolder(tmp_path / name).weights) for name in ("compiled", "plain")
    )
    assert compiled.keys() == plain.keys()
    for name, tensor in plain.items():
        assert torch.allclose(tensor, compiled[name], rtol=1e-3, atol=1e-5), name


def test_without_a_compiler_it_says_so(
    tiny: list[str], config_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Exception, match="needs a C\\+\\+ compiler, and g\\+\\+ is not there"):
        fit(config_of(*tiny, "model.compile=true"), tmp_path / "run")


def test_scaled_gradients_are_not_clipped(config_of: Make, tiny: list[str], monkeypatch) -> None:
    clipped = ["trainer.gradient_clip_val=1", "trainer.accelerator=gpu"]
    with pytest.raises(ConfigError, match="16-mixed scales its gradients, which .* would clip"):
        check_precision(config_of(*tiny, *clipped, "trainer.precision=16-mixed"))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (7, 5))  # a T4
    for options, expected in ((AUTO, {"32-true", "16-mixed"}), ([*AUTO, *clipped], {"32-true"})):
        found = candidates(config_of(*tiny, *options), torch.device("cuda"))
        assert {choice.precision for choice in found} == expected
