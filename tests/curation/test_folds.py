"""Folds: who judges whom, flipped labels found, and trainings that go on after a kill."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from sklearn.linear_model import LogisticRegression

from carsclf.analysis.label_errors import label_issues, wrong_and_sure
from carsclf.curation.frozen import FrozenFolds, fit_folds
from carsclf.curation.out_of_fold import OutOfFold, cross_predict, deal
from carsclf.curation.trained import TrainedFolds
from carsclf.data.build import make_data, make_source
from carsclf.data.samples import Sample
from carsclf.errors import DataError
from carsclf.records import Predictions, RunFolder

Config = Callable[..., DictConfig]


def samples(*counts: int) -> list[Sample]:
    return [
        Sample(f"{target}/{n}", Path(f"/{target}/{n}"), target)
        for target, count in enumerate(counts)
        for n in range(count)
    ]


def test_each_class_is_dealt_out_evenly_and_by_name_alone() -> None:
    listed = samples(10, 7, 2, 1)
    folds = deal(listed, 5, 0)
    for target in range(3):
        own = Counter(folds[[s.target == target for s in listed]].tolist())
        assert max(own.values()) - min(own.values() if len(own) == 5 else [0]) <= 1
    assert folds[-1] == -1  # its class has no other photo
    sizes = np.bincount(folds[folds >= 0])
    assert sizes.max() - sizes.min() <= 1
    order = np.random.default_rng(0).permutation(len(listed))
    assert (deal([listed[i] for i in order], 5, 0) == folds[order]).all()
    assert (deal(listed, 5, 1) != folds).any()
    with pytest.raises(DataError, match="are too few: lower it"):
        deal(samples(1, 1, 2), 3, 0)


def drawn(seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Rows of three classes that hardly overlap."""
    rng = np.random.default_rng(seed)
    targets = np.arange(240) % 3
    centres = np.array([[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]])
    return torch.from_numpy((centres[targets] + rng.normal(0, 0.45, (240, 4))).astype("f")), targets


def test_heads_are_those_of_scikit_learn_and_see_nothing_of_their_fold() -> None:
    x, targets = drawn()
    folds = np.arange(240) // 3 % 4
    heads = fit_folds(x, targets.tolist(), folds, 3, (0.1, 0.0316, 0.01, 0.00316, 0.001))
    for fold in range(4):
        inside = folds != fold
        peer = LogisticRegression(C=1 / (heads.penalty * inside.sum()), max_iter=1000, tol=1e-8)
        peer.fit(x[inside].numpy(), targets[inside])
        expected = peer.predict_proba(x[~inside].numpy())
        found = heads.probabilities(fold, x[~inside])
        assert np.abs(found - expected).max() < 0.02  # both end within their tolerance
        assert (found.argmax(1) == expected.argmax(1)).mean() > 0.98


def test_flipped_labels_are_found() -> None:
    x, right = drawn()
    noisy = right.copy()
    wrong = np.arange(5, 240, 21)  # 5 %
    noisy[wrong] = (right[wrong] + 1) % 3
    folds = np.arange(240) // 3 % 4
    by = FrozenFolds(None, x, noisy.tolist(), folds, 3)  # type: ignore[arg-type]
    listed = [Sample(str(i), Path(str(i)), int(t)) for i, t in enumerate(noisy)]
    said = cross_predict(listed, ["a", "b", "c"], folds, by.judge)
    every = set(label_issues(noisy, said.probabilities, "predicted_neq_given").tolist())
    assert len(every & set(wrong.tolist())) >= 0.8 * len(wrong)
    # which stops at the number of wrong labels that it estimates, and so names fewer
    found = set(label_issues(noisy, said.probabilities, "prune_by_noise_rate").tolist())
    assert len(found & set(wrong.tolist())) >= max(0.6 * len(wrong), 0.8 * len(found))
    assert set(wrong_and_sure(noisy, said.probabilities, 0.9).tolist()) <= every


def test_what_was_kept_is_read_back_only_for_the_same_question(tmp_path: Path) -> None:
    shares = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
    told = Predictions(["a, b", "é"], ["/a", "/é"], np.array([0, 1]), shares, ["x", "[y]"])
    path = tmp_path / "oof.parquet"
    OutOfFold(told, np.array([1, 0]), {"key": "k", "seed": 0}).write(path)
    again = OutOfFold.read(path, key="k")
    assert again is not None
    assert again.predictions.ids == told.ids
    assert (again.predictions.probabilities == shares).all()
    assert (again.fold.tolist(), again.said) == ([1, 0], {"key": "k", "seed": 0})
    assert OutOfFold.read(path, key="other") is None
    path.write_bytes(path.read_bytes()[:100])
    assert OutOfFold.read(path, key="k") is None


class Killed(BaseException):
    pass


def folds_of(config: DictConfig, folder: Path) -> TrainedFolds:
    data, _ = make_data(config)
    listed = [s for part in data.splits.values() for s in part]
    source, _ = make_source(config)
    return TrainedFolds(config, source.root, listed, deal(listed, 2, 0), data.class_names, folder)


def test_trainings_of_folds_go_on_after_a_kill_to_the_same_bits(
    config_of: Config, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the second fold, after its first epoch; the first one is not trained again."""
    from carsclf.curation import trained

    config = config_of(*tiny, "mode=finetune", "data.test_fraction=0.2")
    whole = folds_of(config, tmp_path / "whole")
    expected = [whole.judge(fold) for fold in range(2)]

    real, calls = trained.fit, []

    def dying(config: DictConfig, folder: Path, **how: object) -> None:
        calls.append(folder)
        if len(calls) == 2:
            real(config, folder, on_epoch=_die, **how)  # type: ignore[arg-type]
        real(config, folder, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(trained, "fit", dying)
    cut = folds_of(config, tmp_path / "cut")
    first = cut.judge(0)
    with pytest.raises(Killed):
        cut.judge(1)
    assert RunFolder(cut.run_of(1)).last.is_file()
    assert not RunFolder(cut.run_of(1)).weights.is_file()
    found = [cut.judge(0), cut.judge(1)]
    assert len(calls) == 3
    for one, two in zip([first, *found], [expected[0], *expected], strict=True):
        assert (one == two).all()


def _die(*_: object) -> None:
    raise Killed


def test_a_fold_is_judged_by_what_it_was_not_in(
    config_of: Config, tiny: list[str], tmp_path: Path
) -> None:
    config = config_of(*tiny, "trainer.max_epochs=1", "mode=freeze")
    by = folds_of(config, tmp_path)
    shares = by.judge(0)
    run = RunFolder(by.run_of(0))
    said = Predictions.read(run.predictions("val"))
    assert sorted(said.ids) == sorted(
        s.id for s, fold in zip(by.samples, by.folds, strict=True) if fold == 0
    )
    assert shares.shape == (30, 3)
    own = [s for s, fold in zip(by.samples, by.folds, strict=True) if fold == 0]
    row = said.ids.index(own[4].id)
    assert (shares[4] == said.probabilities[row]).all()
    assert len(by.probabilities(0, torch.zeros(2, 3, 32, 32, dtype=torch.uint8))) == 2
