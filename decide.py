"""Decisions on photos: python decide.py decisions=<csv> photos=<folder> library=<folder>"""

import hydra
from omegaconf import DictConfig

from carsclf.errors import one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="decide")
def main(config: DictConfig) -> None:
    from carsclf.curation.decide import decide  # after --help and --cfg

    with one_line_errors():
        decide(config)


if __name__ == "__main__":
    run(main)
