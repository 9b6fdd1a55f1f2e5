"""A run whose class list grows, classes told as wholes, and throw-away runs, from end to end."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file
from scipy.special import softmax

from carsclf.data.build import cutoff, make_data
from carsclf.errors import ConfigError
from carsclf.inference.deployable import why_not_deployable
from carsclf.inference.predict import load_model
from carsclf.inference.split import How, open_run, predict_split
from carsclf.records import (
    Ensemble,
    ModelCard,
    Predictions,
    Run,
    RunFolder,
)
from carsclf.training.build import make_network
from carsclf.training.growing import place_new_rows
from carsclf.training.run import fit
from tests.conftest import draw, until

Make = Callable[..., DictConfig]
FREEZE = ["mode=freeze", "trainer.max_epochs=2"]
HEAD = ("fc.weight", "fc.bias")


@pytest.fixture
def earlier(tiny: list[str], config_of: Make, tmp_path: Path) -> Path:
    """A run of classes 0 and 2, in that order."""
    fit(config_of(*tiny, *FREEZE, "data.classes=['class 0','class 2']"), tmp_path / "earlier")
    return tmp_path / "earlier"


def begins(config: DictConfig) -> dict[str, torch.Tensor]:
    data, _ = make_data(config)
    return make_network(config, len(data.class_names), data.class_names)[0].state_dict()


def test_photos_that_the_start_had_trained_on_are_told(
    tiny: list[str], config_of: Make, tmp_path: Path, capfd
) -> None:
    config = config_of(*tiny, *FREEZE, "data.split_seed=0")
    assert fit(config, tmp_path / "one").seen == {}
    same = [*tiny, *FREEZE, f"model.weights={tmp_path / 'one'}"]
    assert fit(config_of(*same, "data.split_seed=0", "seed=5"), tmp_path / "two").seen == {}
    capfd.readouterr()
    other = [*tiny, *FREEZE, f"model.weights={tmp_path / 'two'}", "data.split_seed=1"]
    seen = fit(config_of(*other), tmp_path / "three").seen
    lists = [pd.read_parquet(RunFolder(tmp_path / name).photos) for name in ("one", "three")]
    trained, judged = (
        set(table["id"][table["split"] == split])
        for table, split in zip(lists, ("train", "val"), strict=True)
    )
    assert seen == {"val": len(trained & judged)}
    assert 0 < seen["val"] < len(judged)
    said = f"{seen['val']} of {len(judged)} val photos are ones that the run in model.weights"
    assert said in capfd.readouterr().err


def test_a_grown_run_begins_with_known_rows_and_says_so(
    earlier: Path, tiny: list[str], config_of: Make, tmp_path: Path, capfd
) -> None:
    grown = [*tiny, f"model.weights={earlier}", "model.head=keep", "trainer.max_epochs=0"]
    run = fit(config_of(*grown), tmp_path / "grown")
    before = load_file(RunFolder(earlier).weights)
    after = load_file(RunFolder(tmp_path / "grown").weights)
    for name in HEAD:
        assert torch.equal(after[name][[0, 2]], before[name])
    assert all(torch.equal(after[name], before[name]) for name in before if name not in HEAD)
    assert "head: 2 rows kept by name, 1 new (class 1)" in capfd.readouterr().err
    assert run.head == {"kept": 2, "merged": [], "parts": [], "new": ["class 1"], "dropped": []}
    assert Run.read(RunFolder(tmp_path / "grown").run).head == run.head


def test_the_head_of_other_classes_is_never_taken_by_position(
    earlier: Path, tiny: list[str], config_of: Make
) -> None:
    before = load_file(RunFolder(earlier).weights)
    own = [*tiny, f"model.weights={earlier}"]
    same = begins(config_of(*own, "data.classes=['class 0','class 2']"))
    assert torch.equal(same["fc.weight"], before["fc.weight"])
    for others in ("['class 2','class 0']", "['class 0','class 1']"):
        popped = begins(config_of(*own, f"data.classes={others}"))
        fresh = begins(config_of(*tiny, f"data.classes={others}"))  # weights=none, same seed
        assert torch.equal(popped["fc.weight"], fresh["fc.weight"])
        assert all(torch.equal(popped[name], before[name]) for name in before if name not in HEAD)
    turned = begins(config_of(*own, "data.classes=['class 2','class 0']", "model.head=keep"))
    assert torch.equal(turned["fc.weight"], before["fc.weight"].flip(0))


def test_rows_are_kept_under_the_new_names(
    earlier: Path, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("rename: {class 2: class 9}")
    own = [*tiny, f"model.weights={earlier}", "model.head=keep", f"data.mapping={path}"]
    config = config_of(*own)
    data, _ = make_data(config)
    assert data.class_names == ["class 0", "class 1", "class 9"]
    before = load_file(RunFolder(earlier).weights)
    assert torch.equal(begins(config)["fc.weight"][[0, 2]], before["fc.weight"])


def test_new_rows_at_means_know_their_class_before_any_training(
    earlier: Path, tiny: list[str], config_of: Make
) -> None:
    own = [*tiny, f"model.weights={earlier}", "model.head=keep", "model.new_rows=mean"]
    config = config_of(*own)
    data, _ = make_data(config)
    network, weights = make_network(config, 3, data.class_names)
    place_new_rows(config, network, weights.rows, data, torch.device("cpu"))
    from carsclf.models.networks import normalisation
    from carsclf.models.pixels import Normalise

    network, normalise = network.eval(), Normalise(*normalisation(network))
    samples = data.splits["val"]
    with torch.no_grad():
        said = [network(normalise(b["pictures"])).argmax(1) for b in data.loader_of(samples)]
    right = torch.cat(said).numpy() == [sample.target for sample in samples]
    assert right[[sample.target == 1 for sample in samples]].all()
    assert right.mean() > 0.8


def test_new_rows_at_means_leave_a_network_that_can_be_trained(
    earlier: Path, tiny: list[str], config_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that goes to an accelerator and back, which makes new tensors of all it has."""
    own = [*tiny, f"model.weights={earlier}", "model.head=keep", "model.new_rows=mean"]
    config = config_of(*own)
    data, _ = make_data(config)
    network, weights = make_network(config, 3, data.class_names)
    monkeypatch.setattr(network, "to", lambda device: network._apply(torch.clone))
    monkeypatch.setattr(network, "cpu", lambda: network._apply(torch.clone))
    place_new_rows(config, network, weights.rows, data, torch.device("cpu"))
    kept = [*network.parameters(), *network.buffers()]
    assert kept
    assert not any(tensor.is_inference() for tensor in kept)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["model.head=keep"], "model.weights=none does not name the classes"),
        (["model.new_rows=mean"], "puts new rows beside kept ones"),
        (["model.head=kept"], "model.head=kept: expected random, keep"),
        (["model.head=keep", "model.text=auto"], "both make the head"),
        (["data.mapping=gone.yaml"], "gone.yaml cannot be read"),
        (["+throw_away.cutoff_share=0"], "throw_away.cutoff_share=0: expected a number"),
        (["experiment=throw_away", "throw_away.identify=gone"], "gone is not there"),
        (["experiment=throw_away", "+throw_away.identity=x"], "did you mean 'identify'"),
    ],
)
def test_what_is_refused_when_it_is_read(
    given: list[str], said: str, tiny: list[str], config_of: Make
) -> None:
    with pytest.raises(ConfigError, match=said):
        config_of(*tiny, *given)


REPORT = "report: {class 0: dark, class 2: dark}\n"


def test_parts_train_apart_and_everything_downstream_is_about_wholes(
    tiny: list[str], config_of: Make, tmp_path: Path, pictures: Path
) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(REPORT)
    config = config_of(*tiny, *FREEZE, f"data.mapping={path}", "data.test_fraction=0.2")
    run = fit(config, tmp_path / "run")
    files = RunFolder(tmp_path / "run")
    path.unlink()
    card, head = ModelCard.read(files.card), load_file(files.weights)["fc.weight"]
    assert (card.class_names, len(head), run.classes) == (["dark", "class 1"], 3, 2)
    assert card.rows == ["class 0", "class 1", "class 2"]
    said = Predictions.read(files.predictions("val"))
    assert said.class_names == ["dark", "class 1"]
    np.testing.assert_allclose(said.probabilities.sum(1), 1, atol=1e-6)
    names = [id.partition("/")[0] for id in said.ids]
    assert [said.class_names[t] == "class 1" for t in said.targets] == [
        n == "class 1" for n in names
    ]
    # the sums of what the three rows say, which the network's own softmax tells
    model = load_model(files.root)
    with torch.no_grad():
        shown = torch.stack([model.transform(_pixels(pictures / id)) for id in said.ids])
        parts = softmax(model.network(model.normalise(shown)).double().numpy(), axis=1)
    sums = np.stack([parts[:, 0] + parts[:, 2], parts[:, 1]], 1)
    np.testing.assert_allclose(said.probabilities, sums, atol=1e-3)
    one = model.predict(str(pictures / said.ids[0]))
    assert one.class_names == ["dark", "class 1"]
    np.testing.assert_allclose(one.probabilities, sums[0], atol=1e-5)
    # metrics are those of the wholes, in each epoch too
    right = float((sums.argmax(1) == said.targets).mean())
    assert run.metrics["val/top1"] == pytest.approx(right)
    assert pd.read_csv(files.metrics)["val/top1"].to_numpy().max() == pytest.approx(right)
    tested = predict_split(open_run(files.root, How("test", workers=0)), How("test"))
    assert (len(tested.ids), tested.class_names) == (12, ["dark", "class 1"])


def _pixels(path: Path) -> torch.Tensor:
    from carsclf.data.images import read_picture
    from carsclf.data.samples import Sample

    return read_picture(Sample(str(path), path, 0))


def test_a_whole_that_is_split_begins_with_what_it_knew(
    earlier: Path, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("report: {class 0: class 2, class 2: class 2}\n")
    own = [*tiny, f"model.weights={earlier}", "model.head=keep", f"data.mapping={path}"]
    state, before = begins(config_of(*own)), load_file(RunFolder(earlier).weights)
    assert torch.equal(state["fc.weight"][2], before["fc.weight"][1])  # both were known themselves


def test_a_killed_grown_run_goes_on_to_the_same_bits(
    earlier: Path, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(REPORT)
    own = [*tiny, "optimizer.lr=0.01", f"model.weights={earlier}", f"data.mapping={path}"]
    config = config_of(*own, "model.head=keep", "model.new_rows=mean")
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "killed", on_epoch=until(1))
    fit(config, tmp_path / "killed", resume=True)
    one, two = (load_file(RunFolder(tmp_path / name).weights) for name in ("whole", "killed"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_classes_below_the_cutoff_are_listed_with_what_they_lack(
    tiny: list[str], config_of: Make, tmp_path: Path, pictures: Path, caplog
) -> None:
    for seed in range(7):
        draw(pictures / "class 3" / f"{seed}.png", 3, seed)
    (pictures / "class 1" / "00.png").unlink()
    with caplog.at_level("INFO", logger="carsclf"):
        config = config_of(*tiny, *FREEZE, "data.min_images_per_class=20")
        run = fit(config, tmp_path / "run")
    assert "2 classes with too few photos (class 1 lacks 1, class 3 lacks 13)" in caplog.text
    table = pd.read_csv(RunFolder(tmp_path / "run").too_few)
    assert table.to_numpy().tolist() == [["class 1", 19, 1], ["class 3", 7, 13]]
    assert (run.too_few, run.classes) == (2, 2)


def test_a_throw_away_run_lowers_the_cutoff_by_its_share(config_of: Make, tiny: list[str]) -> None:
    config = config_of(*tiny, "experiment=throw_away")
    assert (config.data.min_images_per_class, cutoff(config)) == (40, 35)
    for asked, share, lowered in ((20, 0.875, 18), (10, 0.7, 7), (0, 0.5, 0), (1, 0.1, 1)):
        given = [f"data.min_images_per_class={asked}", f"throw_away.cutoff_share={share}"]
        assert cutoff(config_of(*tiny, "experiment=throw_away", *given)) == lowered
    assert cutoff(config_of(*tiny, "data.min_images_per_class=40")) == 40


def test_a_throw_away_run_trains_is_evaluated_and_identifies_and_is_not_for_deployment(
    command, tiny: list[str], tmp_path: Path, pictures: Path, capfd
) -> None:
    for seed in range(35 - 20):
        for target in range(2):
            draw(pictures / f"class {target}" / f"more {seed}.png", target, seed + 50)
    new = tmp_path / "new photos"
    for seed in range(3):
        draw(new / f"{seed}.png", 1, seed + 90)
    own = ["+experiment=throw_away", f"throw_away.identify={new}", "name=one", *FREEZE]
    assert command("train.py", *tiny, "data.test_fraction=0.2", *own) == 0
    out = capfd.readouterr().out
    assert "NOT for deployment: a throw-away run" in out
    assert "test (fractions)" in out
    files = RunFolder(tmp_path / "runs/train/one")
    assert len(Predictions.read(files.predictions("test")).ids) == 14
    named = pd.read_csv(next((files.root / "predictions/pictures").glob("*.csv")))
    assert len(named) == 3
    assert pd.read_csv(files.too_few)["lacks"].tolist() == [15]  # class 2: 35 - 20
    assert json.loads(files.run.read_text())["deployable"] is False
    assert "throw-away run" in str(why_not_deployable(files.root))
    Ensemble("mean", [str(files.root)], [1.0]).write(RunFolder(tmp_path / "all").ensemble)
    assert why_not_deployable(tmp_path / "all") == why_not_deployable(files.root)


def test_other_runs_may_be_deployed(earlier: Path) -> None:
    assert why_not_deployable(earlier) is None
