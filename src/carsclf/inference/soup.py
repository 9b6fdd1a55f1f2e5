"""A weight soup: the mean of several runs' weights as one network, as quick as each of them.

Wortsman et al., ICML 2022, the uniform one. It needs runs of one network that began with the same
weights and were trained on the same photos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from carsclf.data.reference import NOTE
from carsclf.errors import CheckpointError, DataError
from carsclf.files import atomic_write
from carsclf.inference.split import How, OpenRun, open_run
from carsclf.models.statistics import measure_anew
from carsclf.records import Ensemble, ModelCard, Predictions, Run, RunFolder, refuse_leaked

State = dict[str, torch.Tensor]
DRAWN = ("random", "none")  # initial weights that are another network for each seed


def make_soup(
    runs: Sequence[Path], names: Sequence[str], how: How, folder: Path, said: Ensemble
) -> None:
    """Writes the mean of the runs' weights into a folder that is used as a run folder.

    said: what the folder says that it is, from its first file on, so that it may be made anew.
    Statistics of BatchNorm in which the runs differ are those of the mean network on the training
    pictures. Raises CheckpointError or DataError, naming the run, for what has no mean.
    """
    records = check_members(runs, names)
    states = [load_file(RunFolder(run).weights) for run in runs]
    state = mean_of(dict(zip(names, states, strict=True)))
    first = open_run(runs[0], how)
    first.model.network.load_state_dict(state)
    if moved := moved_statistics(first.model.network, states):
        with torch.inference_mode():
            measure_anew(moved, first.model, first.data.train_dataloader())
    said.write(RunFolder(folder).ensemble)
    write_soup(first, records, folder)


def check_members(runs: Sequence[Path], names: Sequence[str]) -> list[Run]:
    """The runs' records. Refuses other networks, classes, starts or photos than the first run's."""
    records = [Run.read(RunFolder(run).run) for run in runs]
    cards = [ModelCard.read(RunFolder(run).card) for run in runs]
    held_out = [Predictions.read(RunFolder(run).predictions("val")).ids for run in runs]
    for name, record, card, photos in zip(names, records, cards, held_out, strict=True):
        refuse_leaked(card.leak, f"runs: {name}")
        if unlike := differences(cards[0], card):
            raise CheckpointError(
                f"ensemble=soup: {name} differs from {names[0]} in {', '.join(unlike)}, and a mean "
                "of weights needs one network for one list of classes: ensemble=mean takes both"
            )
        starts = {r.seed if r.weights in DRAWN else None for r in (records[0], record)}
        if record.weights != records[0].weights or len(starts) > 1:
            raise CheckpointError(
                f"ensemble=soup: {name} began with other weights ({record.weights}, seed "
                f"{record.seed}) than {names[0]} ({records[0].weights}, seed {records[0].seed}), "
                "so that their mean means nothing: ensemble=mean takes both"
            )
        if photos != held_out[0]:
            raise DataError(
                f"ensemble=soup: {name} and {names[0]} hold out different photos, so that no photo "
                "is new to the soup: train both on one split, with data.split_seed=0"
            )
    return records


def differences(one: ModelCard, other: ModelCard) -> list[str]:
    """Names of what two models differ in, of all that is needed to use them."""
    stated = ("weights_license", "weights_source", "weights")
    keys = [field.name for field in fields(ModelCard) if field.name not in stated]
    return [key for key in keys if getattr(one, key) != getattr(other, key)]


def mean_of(states: Mapping[str, State]) -> State:
    """Each tensor's mean; counters are the first one's. Raises CheckpointError naming the odd."""
    first = next(iter(states.values()))
    shapes = {key: tensor.shape for key, tensor in first.items()}
    for name, state in states.items():
        if {key: tensor.shape for key, tensor in state.items()} != shapes:
            raise CheckpointError(
                f"ensemble=soup: the weights of {name} have other names or shapes: ensemble=mean "
                "takes all"
            )
    return {
        key: torch.stack([state[key] for state in states.values()]).mean(0)
        if tensor.is_floating_point()
        else tensor
        for key, tensor in first.items()
    }


def moved_statistics(network: nn.Module, states: Sequence[State]) -> list[_BatchNorm]:
    """BatchNorms whose statistics the runs changed: where all kept the same, these are right."""

    def same(name: str) -> bool:
        keys = [f"{name}.{kind}" for kind in ("running_mean", "running_var")]
        return all(torch.equal(states[0][key], state[key]) for key in keys for state in states)

    return [
        module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats and not same(name)
    ]


def write_soup(first: OpenRun, records: Sequence[Run], folder: Path) -> None:
    """A folder as of a run; what it says of its training is the first member's or a sum."""
    files = RunFolder(folder)
    state = first.model.network.state_dict()
    plain = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
    card = first.model.card
    told = {"weights_license": card.weights_license} if card.weights_license else None
    with atomic_write(files.weights) as temporary:
        save_file(plain, temporary, told)
    own, note = first.files, first.files.root / NOTE
    for kept in (own.config, own.photos, own.decisions, own.excluded, note):  # what it held out
        if kept.is_file():
            with atomic_write(folder / kept.name) as temporary:
                temporary.write_bytes(kept.read_bytes())
        else:  # of a soup of other members
            (folder / kept.name).unlink(missing_ok=True)
    card.write(files.card)
    record = replace(
        records[0],
        mode=f"soup of {len(records)}, {records[0].mode}",
        seconds=sum(run.seconds for run in records),
        images_trained=sum(run.images_trained for run in records),
        metrics={},
    )
    record.write(files.run)
