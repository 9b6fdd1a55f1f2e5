"""One page that answers the study's questions: python report.py studies=[...] runs=[...]"""

import hydra
from omegaconf import DictConfig

from carsclf.errors import one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="report")
def main(config: DictConfig) -> None:
    from carsclf.report.entry import report  # after --help and --cfg, which need no pandas

    with one_line_errors():
        report(config)


if __name__ == "__main__":
    run(main)
