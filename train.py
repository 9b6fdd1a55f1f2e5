"""One training: python train.py model=resnet18 mode=finetune"""

import hydra
from omegaconf import DictConfig

from carsclf.errors import one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> str | None:
    from carsclf.training.command import train  # after --help and --cfg, which need no torch

    with one_line_errors():
        return train(config)


if __name__ == "__main__":
    run(main)
