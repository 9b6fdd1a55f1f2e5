"""A reference set, frozen under a name: python reference.py name=<name> photos=<folder>"""

import hydra
from omegaconf import DictConfig

from carsclf.errors import one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="reference")
def main(config: DictConfig) -> None:
    from carsclf.inference.reference import make_reference  # after --help and --cfg

    with one_line_errors():
        make_reference(config)


if __name__ == "__main__":
    run(main)
