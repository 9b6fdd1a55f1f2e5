"""`report.py`: which page is asked for; that of a log needs no torch, and little memory."""

from pathlib import Path

from omegaconf import DictConfig

from carsclf.errors import ConfigError
from carsclf.options.command_line import argument, say_next
from carsclf.options.kinds import checked
from carsclf.options.table import REPORT

OF_LOGS = {"period": "auto", "since": None, "until": None}
OF_RUNS = {"upload": False, "attention": False, "root": None}
FOLDER = "runs/performance"


def report(config: DictConfig) -> Path:
    """Writes the page of runs and studies, or of a log, into `folder`; returns its path."""
    if of_log(read := checked(config, REPORT)):
        return report_log(read)
    from carsclf.report import command

    return command.report(config)


def of_log(config: DictConfig) -> bool:
    """Whether a log is asked for; raises ConfigError for options of the other kind of page."""
    if config.log is None:
        for name, usual in OF_LOGS.items():
            if config[name] != usual:
                raise ConfigError(f"{name}={config[name]} is about a prediction log: give it as "
                                  f"log=<log.sqlite or URL>, or leave {name}= out")  # fmt: skip
        return False
    if named := [name for name in ("runs", "studies") if config[name]]:
        raise ConfigError(
            f"log= makes a page of its own, about a model in use: leave {named[0]}= out, and make "
            f"the page of {named[0]} by a command of its own"
        )
    for name, usual in OF_RUNS.items():
        if config[name] != usual:
            raise ConfigError(f"{name}= is about runs and studies: leave it out beside log=")
    return True


def report_log(config: DictConfig) -> Path:
    """Writes the page; returns its path."""
    try:
        from carsclf.report.served.command import write_log_report
    except ImportError as error:  # the database's packages
        raise ConfigError(f"log= needs {error.name}: pip install 'carsclf[serving]'") from None
    typed = {**OF_LOGS, "folder": None}
    page = write_log_report(
        config.log,
        folder=config.folder or FOLDER,
        period=config.period,
        since=config.since,
        until=config.until,
        options=[argument(k, str(config[k])) for k, v in typed.items() if config[k] != v],
    )
    print(f"report: {page}")
    say_next(f"open {page} in a browser")
    return page
