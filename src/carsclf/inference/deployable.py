"""What must not be deployed, for services and gates."""

from carsclf.files import AnyPath
from carsclf.records import Ensemble, ModelCard, Run, RunFolder, leak_told


def why_not_deployable(folder: AnyPath) -> str | None:
    """Why a run's model, or an ensemble with it, must not be deployed, in one line; else None.

    A throw-away run, a leak, random weights that nobody asked for, as model.json or run.json says.
    Raises CheckpointError where there is no model, or either cannot be read.
    """
    files = RunFolder(folder)
    if files.ensemble.is_file() and not files.card.is_file():
        members = Ensemble.read(files.ensemble).members
        return next((why for member in members if (why := why_not_deployable(member))), None)
    told: list[ModelCard | Run] = [ModelCard.read(files.card)]
    if files.run.is_file():  # a model may be used without it
        told.append(Run.read(files.run))
    if not all(each.deployable for each in told):
        return (
            f"{files.root} is a throw-away run, trained to find photos: train it without throw_away"
        )
    if leak := next((each.leak for each in told if each.leak), None):
        return leak_told(leak, files.root)
    if any(each.weights == "random" for each in told):
        return (
            f"{files.root} was trained from random weights, as no ImageNet weights could be had: "
            "train it with model.weights=imagenet, or model.weights=none if that was meant"
        )
    return None
