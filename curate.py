"""What to clean in the photos of a run: python curate.py run=<run folder>"""

import hydra
from omegaconf import DictConfig

from carsclf.errors import one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="curate")
def main(config: DictConfig) -> None:
    from carsclf.curation.command import curate  # after --help and --cfg, which need no torch

    with one_line_errors():
        curate(config)


if __name__ == "__main__":
    run(main)
