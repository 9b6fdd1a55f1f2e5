"""One study, or several with -m: python tune.py search=bohb search.budget=20"""

import hydra
from omegaconf import DictConfig

from carsclf.errors import one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="tune")
def main(config: DictConfig) -> str | None:
    from carsclf.tuning.command import tune  # after --help and --cfg, which need no torch

    with one_line_errors():
        return tune(config)


if __name__ == "__main__":
    run(main)
