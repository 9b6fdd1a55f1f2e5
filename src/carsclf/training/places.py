"""Where the photos of a training lie, and lists about them, as absolute paths."""

from omegaconf import DictConfig

from carsclf.data.reference import references_named
from carsclf.data.samples import absolute, check_names
from carsclf.models.weights import NAMED


def settle_paths(config: DictConfig) -> None:
    """Makes the data's place absolute, so that a run folder works from anywhere."""
    data = config.data
    table = data.get("table")
    if data.root is not None:
        data.root = str(absolute(data.root))
    elif table is not None:  # else it is relative to the root
        data.table = str(absolute(table))
    if data.get("extra"):
        data.extra = [str(absolute(folder)) for folder in data.extra]
    if data.get("references"):
        data.references = [str(file) for file in references_named(data.references)]
    exclude = data.get("exclude")
    if exclude is not None:
        data.exclude = str(absolute(exclude))
    decisions = data.get("decisions")
    if decisions is not None:
        data.decisions = str(absolute(decisions))
    if config.model.weights not in NAMED:  # where a run began is looked for later, from anywhere
        config.model.weights = str(absolute(config.model.weights))
    named = (data.root, table, exclude, decisions, *(data.get("extra") or ()))
    check_names([str(path) for path in named if path is not None])
