"""What a model says of new pictures: python predict.py run=<run folder> images=<file or folder>"""

import hydra
from omegaconf import DictConfig

from carsclf.errors import one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="predict")
def main(config: DictConfig) -> None:
    from carsclf.inference.bulk import predict_pictures  # after --help and --cfg: no torch yet

    with one_line_errors():
        predict_pictures(config)


if __name__ == "__main__":
    run(main)
