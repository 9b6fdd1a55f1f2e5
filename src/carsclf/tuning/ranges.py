"""Hydra's sweeps as a space: what `train.py -m` is given becomes overrides of `tune.py`.

optimizer.lr=tag(log, interval(1e-4,1e-1))   +space.optimizer.lr={low:0.0001,high:0.1,log:true}
optimizer=adamw,sgd                          +space.optimizer={choices:[adamw,sgd]}
schedule.patience=range(0,21)                +space.schedule.patience={low:0,high:20,int:true}
data.batch_size=range(16,65,16)              +space.data.batch_size={choices:[16,32,48,64]}
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from hydra import compose
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
)

from carsclf.errors import ConfigError
from carsclf.tuning.study.composition import SEARCH_KEYS

MOST = 1000
"""Choices of one key; more are a range in all but name."""
NOT_SEARCHED = {
    "experiment": "an experiment is the training that is searched; give one",
    "seed": "a study has one seed; its final repeats the best over several by itself",
}
NOT_HERE = {
    "space": "the sweeps are the space here; for one of conf/space/: python tune.py space=...",
    "resume": "go on with: python tune.py resume=...",
}


def study_overrides(arguments: Sequence[str], loader: ConfigLoader | None = None) -> list[str]:
    """The study that sweeps among overrides of `train.py` ask for, as overrides of `tune.py`.

    The last word on a key counts; a plain value before its sweep is the study's own, from which
    the search starts, and a key that + adds starts from the first value of its sweep. The space of
    tune.py or of an experiment gives way to the sweeps. `loader` knows what a glob can choose.
    Raises ConfigError for a sweep that cannot be searched, and where there is none.
    """
    own: list[Override] = []
    sweeps: dict[str, Override] = {}
    for override in OverridesParser.create(loader).parse_overrides(list(arguments)):
        sweeps.pop(override.key_or_group, None)
        if override.is_sweep_override():
            sweeps[override.key_or_group] = override
        else:
            own.append(override)
    _check(own, sweeps.values())
    ranges = {key: _range(override) for key, override in sweeps.items()}
    known = {override.key_or_group for override in own}
    lines = [str(override.input_line) for override in own]
    lines += [
        f"++{key}={ranges[key][1]}"
        for key, override in sweeps.items()
        if (override.is_add() or override.is_force_add()) and key not in known
    ]
    left = compose("tune", [*lines, "~space"]).get("space") or {}
    lines += ["~space", *(f"~space.{key}" for key in left)]
    return lines + [f"+space.{key}={text}" for key, (text, _) in ranges.items()]


def _check(own: Iterable[Override], sweeps: Collection[Override]) -> None:
    for override in own:
        if said := NOT_HERE.get(override.key_or_group.split(".")[0]):
            raise ConfigError(f"{override.input_line}: {said}")
        if override.key_or_group == "objective" and override.value() != "train":
            raise ConfigError(
                f"{override.input_line}: expected objective=train; python tune.py has others"
            )
    for override in sweeps:
        key = override.key_or_group
        if key in NOT_SEARCHED:
            raise ConfigError(f"{override.input_line}: {NOT_SEARCHED[key]}")
        if key.split(".")[0] in (*SEARCH_KEYS, "overrides") or override.package is not None:
            raise ConfigError(
                f"{override.input_line}: this is no option of the training, so it cannot be "
                "searched; give it one value"
            )
    if not sweeps:
        raise ConfigError(
            "nothing is searched: expected a sweep of an option, for example "
            "'optimizer.lr=tag(log, interval(1e-4,1e-1))' or optimizer=adamw,sgd"
        )


def _range(override: Override) -> tuple[str, str]:
    """A sweep as the space writes it, and its first value."""
    sweep = override.value()
    log = _log(override, sweep)
    if isinstance(sweep, IntervalSweep):
        low, high = sweep.start, sweep.end
        whole = isinstance(low, int) and isinstance(high, int)
        return _between(low, high, log, whole), str(low)
    if isinstance(sweep, RangeSweep):
        if not sweep.step:
            raise ConfigError(f"{override.input_line}: expected a step other than 0")
        values = sweep.range()
        if isinstance(values, range) and abs(values.step) == 1 and len(values) > 1:
            low, high = sorted((values[0], values[-1]))
            return _between(low, high, log, True), str(values[0])
    if log:
        raise ConfigError(
            f"{override.input_line}: expected log with interval(low,high), or with "
            "range(low,high) of step 1; choices have no scale"
        )
    return _choices(override)


def _log(override: Override, sweep: object) -> bool:
    tags = sweep.tags if isinstance(sweep, Sweep) else set()
    if foreign := sorted(tags - {"log"}):
        raise ConfigError(f"{override.input_line}: expected no tag but log, got {foreign[0]}")
    return bool(tags)


def _between(low: float | None, high: float | None, log: bool, whole: bool) -> str:
    return f"{{low:{low},high:{high}{',log:true' * log}{',int:true' * whole}}}"


def _choices(override: Override) -> tuple[str, str]:
    """Listed in the order in which they were typed, so that a study repeats itself."""
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep | RangeSweep):
        sweep.shuffle = False
    values = list(islice(override.sweep_string_iterator(), MOST + 1))
    if not values:
        raise ConfigError(f"{override.input_line}: this holds no value; a glob chooses of a group")
    if len(values) > MOST:
        raise ConfigError(
            f"{override.input_line}: expected at most {MOST} choices; interval(low,high) is a range"
        )
    return f"{{choices:[{','.join(values)}]}}", values[0]
