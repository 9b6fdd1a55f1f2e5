"""May a model be deployed? python gate.py candidate=<run folder> deployed=<run folder>"""

import hydra
from omegaconf import DictConfig

from carsclf.errors import one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="gate")
def main(config: DictConfig) -> None:
    from carsclf.report.gate import gate  # after --help and --cfg, which need no torch

    with one_line_errors():
        gate(config)


if __name__ == "__main__":
    run(main)
