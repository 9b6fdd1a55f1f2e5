"""Predictions and metrics of a trained model: python evaluate.py run=<run folder> split=test"""

import hydra
from omegaconf import DictConfig

from carsclf.errors import one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig) -> None:
    from carsclf.inference.evaluate import evaluate  # after --help and --cfg, which need no torch

    with one_line_errors():
        evaluate(config)


if __name__ == "__main__":
    run(main)
