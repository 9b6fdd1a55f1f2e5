"""Openness: its measures by hand and against scikit-learn, their calibration, and a run's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.neighbors import NearestNeighbors

from carsclf.errors import CheckpointError
from carsclf.inference import bank
from carsclf.inference.openness import Openness, Scale, distance, doubt, normalised
from tests.conftest import draw

Command = Callable[..., int]


def test_doubt_by_hand() -> None:
    # of four equal classes: a quarter; of one class alone: 1; huge logits do not overflow
    logits = np.array([[0, 0, 0, 0], [7, -1e9, -1e9, -1e9], [1e4, 1e4, 0, 0]], np.float32)
    np.testing.assert_allclose(doubt(logits), [np.log(4), 0, np.log(2)], rtol=1e-6)
    drawn = np.random.default_rng(0).normal(size=(50, 9)) * 5
    np.testing.assert_allclose(doubt(drawn), -np.log(softmax(drawn, axis=1).max(1)))


@pytest.mark.parametrize("k", [1, 3, 10])
def test_distance_is_that_of_scikit_learn(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    monkeypatch.setattr("carsclf.inference.openness.AT_ONCE", 40 * 7)  # in several pieces
    trained, asked = rng.normal(size=(40, 8)), 30 * rng.normal(size=(23, 8))
    unit = trained / np.linalg.norm(trained, axis=1, keepdims=True)
    search = NearestNeighbors(n_neighbors=k).fit(unit)
    expected = search.kneighbors(asked / np.linalg.norm(asked, axis=1, keepdims=True))[0][:, -1]
    np.testing.assert_allclose(distance(asked, normalised(trained), k), expected, atol=1e-5)


def test_distance_of_few_and_of_the_same() -> None:
    rows = np.array([[3, 4], [0, 2]])
    # unit rows (0.6, 0.8) and (0, 1): their cosine is 0.8, their distance sqrt(0.4)
    found = distance(rows, normalised(rows), k=10)
    np.testing.assert_allclose(found, 2 * [np.sqrt(0.4)], rtol=1e-6)
    assert distance(rows, normalised(rows), k=1) == pytest.approx([0, 0], abs=1e-3)
    assert np.isfinite(distance(np.zeros((1, 2)), normalised(rows), k=1)).all()


def test_a_scale_says_which_share_lies_lower() -> None:
    values = np.random.default_rng(2).gamma(3, size=4000)
    scale = Scale.of(values)
    for share in (0.1, 0.5, 0.9, 0.95):
        height = np.quantile(values, share)
        assert scale.share(np.array([height])) == pytest.approx(share, abs=2e-3)
    assert (scale.share(values) > 0.95).mean() == pytest.approx(0.05, abs=1e-3)
    high = np.array([0, values.min(), *np.linspace(1, 200, 50)])
    assert (np.diff(scale.surprise(high)) >= 0).all()
    assert (np.diff(scale.surprise(high[high > 3])) > 0).all()  # far ones still differ
    assert scale.share(high).min() == 0
    assert scale.share(high).max() <= 1


def test_a_scale_of_next_to_nothing() -> None:
    for values in ([1.0], [2.0, 2.0], [1.0, 2.0]):
        shares = Scale.of(np.array(values)).share(np.array([0.0, 1.5, 9.0]))
        assert np.isfinite(shares).all()
        assert shares[0] == 0
        assert shares[2] > 0.95


def made(seed: int = 0) -> tuple[Openness, np.ndarray, np.ndarray]:
    """Of two directions; with features and logits of validation."""
    rng = np.random.default_rng(seed)
    centres = np.array([[5, 0, 0, 0], [0, 5, 0, 0]])
    train, val = (np.repeat(centres, n, 0) + rng.normal(size=(2 * n, 4)) for n in (60, 200))
    logits = 3 * val[:, :2]
    return Openness.fit(train, val, logits, "a key"), val, logits


def test_one_in_twenty_of_validation_is_beyond_the_threshold() -> None:
    openness, val, logits = made()
    score = openness.score(val, logits)
    assert score.dtype == np.float32
    assert score.min() >= 0
    assert score.max() <= 1
    assert (score > 0.95).mean() == pytest.approx(0.05, abs=0.005)
    assert (openness.remoteness(val) > 0.95).mean() == pytest.approx(0.05, abs=0.005)
    elsewhere = np.array([[0, 0, 0, 6.0]])
    assert openness.score(elsewhere, np.zeros((1, 2)))[0] > 0.99
    assert openness.score(np.array([[6.0, 0, 0, 0]]), np.array([[20.0, 0]]))[0] < 0.5


def test_it_is_kept_as_it_is(tmp_path: Path) -> None:
    openness, val, logits = made()
    path = tmp_path / "openness.safetensors"
    openness.write(path)
    kept = Openness.read(path)
    np.testing.assert_array_equal(kept.score(val, logits), openness.score(val, logits))
    assert kept.digest == openness.digest != made(1)[0].digest
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="openness=true measures it anew"):
        Openness.read(path)


def test_of_a_run(
    command: Command, tiny: list[str], pictures: Path, tmp_path: Path, capfd, monkeypatch
) -> None:
    """Measured once; found again; not another model's; and told what to do without the data."""
    assert command("train.py", *tiny, "name=one") == 0
    folder = tmp_path / "runs/train/one"
    draw(tmp_path / "new/a.png", 7, 0)
    capfd.readouterr()
    arguments = ["run=runs/train/one", "images=new", "csv=said.csv"]
    assert command("predict.py", *arguments) == 0
    assert "openness=true measures it, once" in capfd.readouterr().out
    assert "openness" not in pd.read_csv("said.csv")
    assert command("predict.py", *arguments, "openness=true") == 0
    row = pd.read_csv("said.csv").iloc[0]
    kept = (folder / "openness.safetensors").read_bytes()
    monkeypatch.setattr(bank, "make_openness", None)
    pictures.rename(tmp_path / "moved")
    assert command("predict.py", *arguments) == 0  # auto finds it
    assert pd.read_csv("said.csv").iloc[0].equals(row)
    assert (folder / "openness.safetensors").read_bytes() == kept
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state["fc.bias"] = state["fc.bias"] + torch.tensor([1.0, 0, 0])
    save_file(state, folder / "model.safetensors")
    assert command("predict.py", *arguments) == 0
    assert "openness=true measures it, once" in capfd.readouterr().out
    assert command("predict.py", *arguments, "openness=true") == 1
    assert "give root=<where they lie now>" in capfd.readouterr().err
    assert command("predict.py", *arguments, "openness=true", f"root={tmp_path}/moved") == 0
    assert 0 <= float(pd.read_csv("said.csv")["openness"].to_numpy()[0]) <= 1
    # the run's own validation photos, 12 of 60, lie where validation lies
    found = Openness.read(folder / "openness.safetensors")
    assert found.bank.shape[0] == 48


def test_of_many_photos_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    from carsclf.data.samples import Sample

    samples = [Sample(str(i), Path(str(i)), 0) for i in range(100)]
    assert bank.drawn([*samples, *samples]) == samples
    monkeypatch.setattr(bank, "LARGEST", 30)
    drawn = bank.drawn(samples)
    assert len({s.id for s in drawn}) == 30
    assert drawn == bank.drawn(samples) == sorted(drawn, key=lambda s: int(s.id))
