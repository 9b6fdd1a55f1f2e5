"""Folds of whole trainings: as the run itself was trained, each on all folds but one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from carsclf.data.decision_log import HEADER, Entry
from carsclf.data.samples import Sample, absolute
from carsclf.errors import ConfigError
from carsclf.features.cache import content_key
from carsclf.files import atomic_write
from carsclf.inference.predict import load_model
from carsclf.records import Predictions, Run, RunFolder
from carsclf.training.configuration import option_of
from carsclf.training.run import fit

BOX = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class TrainedFolds:
    """`folder` holds a run folder for each fold, and goes on where it was killed."""

    config: DictConfig
    root: Path  # of the photos
    samples: Sequence[Sample]
    folds: np.ndarray
    class_names: list[str]
    folder: Path

    def judge(self, fold: int) -> np.ndarray:
        """Probabilities of the photos of a fold, in their order; trains where that is not done.

        The last epoch counts: the best on the photos that are judged would flatter them.
        """
        files = RunFolder(self.run_of(fold))
        if not (files.run.is_file() and Run.read(files.run).finished):
            fit(self._config(fold), files.root, resume=True)
        said = Predictions.read(files.predictions("val"))
        row = {path: i for i, path in enumerate(said.paths)}
        return said.probabilities[
            [row[str(s.path)] for s, f in zip(self.samples, self.folds, strict=True) if f == fold]
        ]

    def probabilities(self, fold: int, pictures: torch.Tensor) -> np.ndarray:
        """(n, 3, size, size) uint8 to (n, classes) of a model that did not see this fold."""
        model = _model(self.run_of(fold))
        with torch.inference_mode():
            return model({"pictures": pictures}).float().softmax(1).cpu().numpy()

    def run_of(self, fold: int) -> Path:
        """Another division, or another configuration, has run folders of its own."""
        told = [[s.id, s.target, int(f)] for s, f in zip(self.samples, self.folds, strict=True)]
        key = content_key(config=OmegaConf.to_yaml(self.config, resolve=True), folds=told)
        return self.folder / key[:12] / str(fold)

    def _config(self, fold: int) -> DictConfig:
        """The run's configuration on a list of photos, of which those of the fold are `val`."""
        place = absolute(self.run_of(fold).with_suffix(".parquet"))
        self._list(fold, place)
        config = self.config.copy()
        own = {"name", "source", "class_depth", "ignore"}  # of other sources
        shared = {k: v for k, v in config.data.items() if k not in own}
        with open_dict(config):
            config.data = shared | {
                "name": "table", "source": {"_target_": "carsclf.data.table.table"},
                "root": str(self.root), "table": str(place), "protocol": "official",
                "columns": {"path": "path", "class": "class", "split": "split", "box": None},
                "classes": self.class_names, "min_images_per_class": 0, "test_fraction": 0.0,
                "fraction": 1.0, "bootstrap": None, "exclude": None, "references": [],
                "decisions": self._turns(place),
            }  # fmt: skip
            config.pop("lr_finder", None)
        config.reported, config.look = "last", False
        return config

    def _turns(self, place: Path) -> str | None:
        """The turns of a run's decisions; the rest of them is in the list already."""
        turned = [s for s in self.samples if s.turn]
        if not turned:
            return None
        said = [Entry("", "", s.id, "", "turn", str(s.turn)) for s in turned]
        with atomic_write(place.with_suffix(".csv")) as temporary:
            temporary.write_text(HEADER + "".join(entry.line() for entry in said))
        return str(place.with_suffix(".csv"))

    def _list(self, fold: int, place: Path) -> None:
        rows = [
            {"path": str(s.path), "class": self.class_names[s.target]}
            | {"split": "val" if f == fold else "train"}
            | (dict(zip(BOX, s.box, strict=True)) if s.box else {})
            for s, f in zip(self.samples, self.folds, strict=True)
        ]
        with atomic_write(place) as temporary:
            pd.DataFrame(rows).to_parquet(temporary)


def check_trainable(config: DictConfig) -> None:
    """Refuses what would choose its model by the photos that are to be judged."""
    if option_of(config.optimizer) == "head_grid":
        raise ConfigError(
            "folds.mode=run: optimizer=head_grid chooses its head by the photos that each fold "
            "judges: folds.mode=freeze fits such heads without that"
        )


@lru_cache(1)  # of all folds they would fill a card
def _model(folder: Path):
    return load_model(folder)
