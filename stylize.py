"""Training photos in other styles, to train on: python stylize.py data=... out=<folder>"""

import hydra
from omegaconf import DictConfig

from carsclf.errors import one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="stylize")
def main(config: DictConfig) -> None:
    from carsclf.styles.command import stylize  # after --help and --cfg: no torch yet

    with one_line_errors():
        stylize(config)


if __name__ == "__main__":
    run(main)
