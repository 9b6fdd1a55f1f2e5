"""A trained model over HTTP: python serve.py run=<run folder>"""

import hydra
from omegaconf import DictConfig

from carsclf.errors import ConfigError, one_line_errors
from carsclf.options.command_line import run


@hydra.main(version_base="1.3", config_path="conf", config_name="serve")
def main(config: DictConfig) -> None:
    with one_line_errors():
        try:
            from carsclf.serving.command import serve  # after --help and --cfg: no torch yet
        except ImportError as error:
            needs = "pip install 'carsclf[serving]'"
            raise ConfigError(f"serving needs {error.name}: {needs}") from None
        serve(config)


if __name__ == "__main__":
    run(main)
