"""The best classifier that some hours buy: python advise.py data=folder data.root=photos hours=2"""

import time

import hydra
from omegaconf import DictConfig

from carsclf.errors import one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="advise")
def main(config: DictConfig) -> str | None:
    began = time.monotonic()
    from carsclf.report.advice.command import advise  # after --help and --cfg, which need no torch

    with one_line_errors():
        return advise(config, began)


if __name__ == "__main__":
    run(main)
