"""Classes of several parts that train apart and are told as one."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from carsclf.data.samples import Sample


@dataclass(frozen=True)
class Wholes:
    """As what each trained class is told; parts: trained class -> whole, in the head's order.

    All that is predicted and measured is about wholes: the probability of one is the sum of its
    parts'. A class without parts is a whole itself, and its logit stays as it is to the bit.
    """

    parts: Mapping[str, str]

    @classmethod
    def of(cls, class_names: Sequence[str], report: Mapping[str, str]) -> "Wholes":
        return cls({name: report.get(name, name) for name in class_names})

    @cached_property
    def names(self) -> list[str]:
        """What is told, in the order of the first parts."""
        return list(dict.fromkeys(self.parts.values()))

    @cached_property
    def index(self) -> list[int]:
        """For each trained class the place of its whole."""
        places = {name: i for i, name in enumerate(self.names)}
        return [places[whole] for whole in self.parts.values()]

    @cached_property
    def any(self) -> bool:
        """Whether anything is told otherwise than it is trained."""
        return [*self.parts] != self.names

    def logits(self, logits: torch.Tensor) -> torch.Tensor:
        """(n, parts) to (n, wholes) float32, whose softmax is the sum of the parts' softmax."""
        if not self.any:
            return logits
        logits = logits.float()
        place = torch.tensor(self.index, device=logits.device).expand_as(logits)
        empty = logits.new_zeros(len(logits), len(self.names))
        most = empty.scatter_reduce(1, place, logits, "amax", include_self=False)
        share = (logits - most.gather(1, place)).exp()
        return most + empty.scatter_add(1, place, share).log()

    def targets(self, targets: torch.Tensor) -> torch.Tensor:
        """(n,) trained classes to (n,) wholes."""
        return torch.tensor(self.index, device=targets.device)[targets] if self.any else targets

    def samples(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The samples with their wholes as targets."""
        if not self.any:
            return samples
        return [dataclasses.replace(s, target=self.index[s.target]) for s in samples]
