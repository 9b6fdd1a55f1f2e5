"""Made pictures are trained on and nothing else, and none is a way around the split."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from safetensors.torch import load_file

from carsclf.data.build import make_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.resizing import growing
from carsclf.errors import CarsclfError
from carsclf.inference.split import How, open_run
from carsclf.records import Run, RunFolder
from carsclf.training.configuration import phases_of
from carsclf.training.run import fit
from tests.conftest import until

Make = Callable[..., DictConfig]
CLASSES = ["class 0", "class 1", "class 2"]


def paint(path: Path, value: int, size: tuple[int, int]) -> None:
    """A picture of one colour that no photo has, each another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (255, value, 255)).save(path)


def make(
    folder: Path,
    *,
    trained_on: Any = None,
    sources: Any = None,
    classes: list[str] = CLASSES,
    count: int = 4,
    size: tuple[int, int] = (20, 24),
    **more: Any,
) -> Path:
    """A folder of made pictures, of another size than the photos."""
    for i, name in enumerate(classes):
        for n in range(count):
            paint(folder / name / f"{n}.png", 10 * i + n, size)
    told = {"kind": "wgan", "classes": classes, "seed": 0, "made_by": {"split_seed": 7}}
    told |= {"trained_on": trained_on, "sources": sources} | more
    (folder / "synthetic.json").write_text(json.dumps(told))
    return folder


def data_of(config_of: Make, *options: str) -> CarsDataModule:
    return make_data(config_of(*options))[0]


def greens(batches: Any) -> list[int]:
    """The colours of made pictures among what a loader shows (32 x 32, squashed)."""
    shown = torch.cat([b["pictures"] for b in batches]).numpy()
    made = [p for p in shown if (p[0] == 255).all() and (p[2] == 255).all()]
    return sorted(int(p[1, 0, 0]) for p in made)


def of_train(data: CarsDataModule) -> list[str]:
    return [sample.id for sample in data.splits["train"]]


@pytest.mark.parametrize("packed", ["true", "false"])
def test_training_alone_shows_them_each_once_an_epoch(
    packed: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    tiny = [*tiny, "augmentation=none", f"data.packed={packed}", "data.test_fraction=0.2"]
    plain = data_of(config_of, *tiny)
    made = make(tmp_path / "made", trained_on=of_train(plain))
    data = data_of(config_of, *tiny, f"data.extra=[{made}]")
    assert data.splits == plain.splits
    expected = sorted(10 * i + n for i in range(3) for n in range(4))
    assert greens(data.train_dataloader()) == expected
    for split in ("train", "val", "test"):
        assert greens(data.eval_loader(split)) == []
        assert sum(len(b["targets"]) for b in data.eval_loader(split)) == len(plain.splits[split])
    assert greens(data.val_dataloader()) == []
    loader = data.train_dataloader()
    for batch in loader:
        for picture, target in zip(batch["pictures"], batch["targets"], strict=True):
            if greens([{"pictures": picture[None]}]):
                assert int(picture[1, 0, 0]) // 10 == int(target)


def test_no_count_of_the_split_knows_of_them(
    tiny: list[str], config_of: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = [*tiny, "augmentation=none"]
    photos = of_train(data_of(config_of, *tiny))
    made = make(tmp_path / "made", trained_on=photos, count=30)
    with pytest.raises(CarsclfError, match="min_images_per_class=21 leaves no class"):
        data_of(config_of, *tiny, f"data.extra=[{made}]", "data.min_images_per_class=21")
    caplog.set_level("INFO")
    options = [*tiny, f"data.extra=[{made}]", "look=true", "trainer.max_epochs=1"]
    run = fit(config_of(*options), tmp_path / "run")
    assert run.split_sizes == {"train": 48, "val": 12}
    assert (run.extra, run.images_trained) == ({"wgan": 90}, 48 + 90)
    counts = pd.read_csv(tmp_path / "run" / "look" / "class_counts.csv")
    assert counts["train"].tolist() == [16, 16, 16]
    assert "to be trained on only, 90 pictures of kind wgan" in caplog.text
    assert Run.read(RunFolder(tmp_path / "run").run).extra == {"wgan": 90}


def test_a_generator_that_saw_held_out_photos_is_refused(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    tiny = [*tiny, "data.test_fraction=0.2"]
    plain = data_of(config_of, *tiny)
    for split, does in {"val": "validates", "test": "tests"}.items():
        saw = [*of_train(plain), plain.splits[split][0].id]
        made = make(tmp_path / split, trained_on=saw)
        with pytest.raises(CarsclfError, match=rf"1 photos that .* {does} on .*split_seed=7"):
            data_of(config_of, *tiny, f"data.extra=[{made}]")
    made = make(tmp_path / "own", trained_on=of_train(plain))
    with pytest.raises(CarsclfError, match="photos that this training validates on"):
        data_of(config_of, *tiny, f"data.extra=[{made}]", "seed=1")  # draws another split
    assert data_of(config_of, *tiny, f"data.extra=[{made}]", "seed=1", "data.split_seed=0").extra
    strange = make(tmp_path / "strange", trained_on=["a.png", "b.png"])
    with pytest.raises(CarsclfError, match="of which none is among those below"):
        data_of(config_of, *tiny, f"data.extra=[{strange}]")
    nothing = make(tmp_path / "drawn", trained_on=[])  # by a program that saw no photo
    assert len(data_of(config_of, *tiny, f"data.extra=[{nothing}]").extra["wgan"]) == 12


@pytest.mark.parametrize("less", [[], ["data.fraction=0.5"], ["data.bootstrap=3"]])
def test_pictures_of_photos_that_are_not_trained_on_are_left_out(
    less: list[str],
    tiny: list[str],
    config_of: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    plain = data_of(config_of, *tiny, *less)
    everyone = sorted(f"{name}/{n:02}.png" for name in CLASSES for n in range(20))
    sources = {f"{name}/{n}.png": f"{name}/{n:02}.png" for name in CLASSES for n in range(20)}
    made = make(tmp_path / "made", sources=sources, count=20, kind="style")
    data = data_of(config_of, *tiny, *less, f"data.extra=[{made}]")
    kept = sorted(sources[Path(s.id).relative_to(made).as_posix()] for s in data.extra["style"])
    assert kept == sorted(set(of_train(plain)))
    assert len(kept) < len(everyone)
    left = len(everyone) - len(kept)
    assert f"{left} made pictures of photos that are not trained on" in caplog.text
    told = dict.fromkeys(sources, plain.splits["val"][0].id)
    made = make(tmp_path / "others", sources=told, count=20)
    with pytest.raises(CarsclfError, match="none of the 60 pictures .* data.split_seed=7"):
        data_of(config_of, *tiny, f"data.extra=[{made}]")


def test_a_generator_may_have_seen_more_training_photos_which_is_said(
    tiny: list[str], config_of: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = make(tmp_path / "made", trained_on=of_train(data_of(config_of, *tiny)))
    caplog.set_level("INFO")
    data_of(config_of, *tiny, f"data.extra=[{made}]", "data.fraction=0.25")
    assert "its generator saw 36 photos that are not trained on here" in caplog.text


def test_made_pictures_are_never_the_photos(
    tiny: list[str], config_of: Make, tmp_path: Path, pictures: Path
) -> None:
    made = make(tmp_path / "made", trained_on=[])
    with pytest.raises(CarsclfError, match="on which no accuracy may be judged"):
        data_of(config_of, *tiny, f"data.root={made}", "data.batch_size=2")
    (tmp_path / "made").rename(pictures / "class 3")
    with pytest.raises(CarsclfError, match="on which no accuracy may be judged"):
        data_of(config_of, *tiny, "data.class_depth=1")


def test_mistakes_are_told_in_one_line(
    tiny: list[str], config_of: Make, tmp_path: Path, pictures: Path
) -> None:
    good = make(tmp_path / "good", trained_on=[])
    short = make(tmp_path / "short", sources={"class 0/0.png": "class 0/00.png"})
    empty = make(tmp_path / "empty", trained_on=[], classes=[*CLASSES[:2], "class 2"])
    for path in (empty / "class 1").glob("*"):
        path.unlink()
    said = {
        str(tmp_path / "nowhere"): "nowhere is no folder",
        str(pictures): "has no synthetic.json.*wgan",
        str(make(tmp_path / "other", trained_on=[], classes=["class 0", "clas 1"])): (
            "1 classes that the photos lack: clas 1; did you mean 'class 1'"
        ),
        str(short): "does not say of which photo 11 pictures were made",
        str(empty): "class 1 has no picture",
        f"{good},{good}/../good": "names .*good twice",
        str(make(tmp_path / "a", trained_on=[], kind=3)): "kind: expected a word",
        str(make(tmp_path / "b")): "sources or trained_on is missing",
        str(make(tmp_path / "c", trained_on=[1])): "trained_on: expected a list of ids",
        str(make(tmp_path / "d", sources=[])): "sources: expected",
        str(make(tmp_path / "e", trained_on=[], made_by={"crop": "box"})): "data.crop=box.*=none",
    }
    (tmp_path / "e" / "f").mkdir()
    (tmp_path / "e" / "f" / "synthetic.json").write_text("{nothing")
    said[str(tmp_path / "e" / "f")] = "is not readable JSON"
    for folders, expected in said.items():
        with pytest.raises(CarsclfError, match=expected) as error:
            data_of(config_of, *tiny, f"data.extra=[{folders}]")
        assert "\n" not in str(error.value)
    outside = make(tmp_path / "x", trained_on=[])
    told = json.loads((outside / "synthetic.json").read_text()) | {"classes": ["../good/class 0"]}
    (outside / "synthetic.json").write_text(json.dumps(told))
    with pytest.raises(CarsclfError, match="lack: ../good/class 0"):
        data_of(config_of, *tiny, f"data.extra=[{outside}]")


def test_classes_not_asked_for_are_left_out_and_the_others_keep_their_names(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    made = make(tmp_path / "made", trained_on=[])
    chosen = ["data.classes=[class 2,class 1]", "augmentation=none", f"data.extra=[{made}]"]
    data = data_of(config_of, *tiny, *chosen)
    told = {(Path(s.id).parent.name, data.class_names[s.target]) for s in data.extra["wgan"]}
    assert told == {("class 1", "class 1"), ("class 2", "class 2")}


def test_what_cannot_be_read_is_named_or_skipped(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    made = make(tmp_path / "made", trained_on=[])
    (made / "class 1" / "2.png").write_bytes(b"no picture")
    for packed in ("true", "false"):
        options = [*tiny, f"data.extra=[{made}]", f"data.packed={packed}"]
        with pytest.raises(CarsclfError, match="1 of 12 photos below .*made cannot be read"):
            data_of(config_of, *options)
        data = data_of(config_of, *options, "data.skip_unreadable=true")
        assert len(data.extra["wgan"]) == 11


def test_balanced_sampling_counts_them(tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    made = make(tmp_path / "made", trained_on=[], classes=["class 0"], count=36)
    plain = [*tiny, "augmentation=none", f"data.extra=[{made}]"]
    for sampling, expected in {"natural": [52, 16, 16], "balanced": [28, 28, 28]}.items():
        data = data_of(config_of, *plain, f"data.sampling={sampling}")
        targets = torch.cat([b["targets"] for b in data.train_dataloader()])
        assert np.bincount(targets).tolist() == expected


MODES = {
    "finetune": ["mode=finetune", "augmentation=light", "class_weights=inverse"],
    "freeze": ["mode=freeze", "optimizer=adamw", "mixing=mixup"],
    "views": ["mode=freeze", "optimizer=adamw", "augmentation=light", "mode.views=2"],
    "lbfgs": ["mode=freeze"],
    "partial": ["mode=partial", "mode.boundary=layer3"],
    "adapt": ["mode=adapt", "averaging=ema"],
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_trains_on_them_and_resumes_exactly(
    mode: str,
    tiny: list[str],
    config_of: Make,
    tmp_path: Path,
    counted: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CARSCLF_CACHE", str(tmp_path / "cache"))
    made = make(tmp_path / "made", trained_on=[], size=(50, 50))
    options = [*tiny, *MODES[mode], "trainer.max_epochs=3"]
    config = config_of(*options, f"data.extra=[{made}]")
    whole = fit(config, tmp_path / "whole")
    assert whole.extra == {"wgan": 12}
    # cached features: photos and made pictures, each view once
    expected = {"finetune": 0, "adapt": 0, "views": 12 + 2 * 60}.get(mode, 72)
    assert sum(counted) == expected
    fit(config, tmp_path / "parts", on_epoch=until(1))
    fit(config, tmp_path / "parts", resume=True)
    fit(config_of(*options), tmp_path / "without")
    weights = {n: load_file(tmp_path / n / "model.safetensors") for n in ("whole", "parts")}
    other = load_file(tmp_path / "without" / "model.safetensors")
    assert all(torch.equal(t, weights["parts"][k]) for k, t in weights["whole"].items())
    assert not all(torch.equal(t, other[k]) for k, t in weights["whole"].items())


def test_evaluation_needs_them_no_more(tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    made = make(tmp_path / "made", trained_on=[])
    fit(config_of(*tiny, f"data.extra=[{made}]"), tmp_path / "run")
    made.rename(tmp_path / "gone")
    assert len(open_run(tmp_path / "run", How("train")).data.to_train) == 48


@pytest.mark.parametrize("names", [["class 0", "class 2"], ["first", "first"]])
def test_classes_renamed_since_or_before(
    names: list[str], tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """class 0 and class 2 are one now; the pictures have the old names or the new one."""
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("rename: {class 0: first, class 2: first}\n")
    made = make(tmp_path / "made", trained_on=[], classes=list(dict.fromkeys(names)))
    data = data_of(config_of, *tiny, f"data.mapping={mapping}", f"data.extra=[{made}]")
    assert data.class_names == ["first", "class 1"]
    assert [s.target for s in data.extra["wgan"]] == [0] * 4 * len(set(names))


def test_growing_pictures_show_them_too(tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    small = ["resizing=progressive", "resizing.sizes=[16]", "resizing.epochs=[1]"]
    made = make(tmp_path / "made", trained_on=[])
    options = [*tiny, *small, "augmentation=none", f"data.extra=[{made}]", "mode=finetune"]
    config = config_of(*options)
    data = make_data(config)[0]
    grown = growing(
        data,
        phases_of(config),
        transform=config.data.transform,
        interpolation=config.data.interpolation,
        augmentation=instantiate(config.augmentation),
    )
    shown = torch.cat([b["pictures"] for b in grown.train_dataloader()])
    assert shown.shape[-1] == 16
    assert len(shown) == len(data.splits["train"]) + 12
