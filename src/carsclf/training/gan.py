"""A Wasserstein GAN with gradient penalty as a LightningModule."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from carsclf.data.loaders import Item
from carsclf.errors import CarsclfError
from carsclf.models.gan import Critic, Generator, critic_loss, gradient_penalty
from carsclf.training.averaging import ema
from carsclf.training.validation import mean_metric


class GanModule(pl.LightningModule):
    """Trains a critic on each batch, and after every `n_critic` batches the generator once.

    Arjovsky et al. 2017; Gulrajani et al. 2017. A batch holds `pictures` (uint8) and `targets`;
    made pictures have the classes of the real ones. What is sampled is a moving average of the
    generator's weights. Rates fall in a line to nothing over `horizon` epochs of `steps` batches.
    """

    def __init__(
        self,
        *,
        classes: int,
        size: int,
        latent: int,
        generator_width: int,
        critic_width: int,
        n_critic: int,
        penalty: float,
        lr: float,
        betas: tuple[float, float],
        ema_decay: float,
        horizon: int,
        steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = Generator(
            classes=classes, latent=latent, width=generator_width, size=size
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic = Critic(classes=classes, width=critic_width, size=size).to(
            memory_format=torch.channels_last  # type: ignore[call-overload]
        )
        self.average = ema(self.generator, horizon, decay=ema_decay)
        self.n_critic, self.penalty, self.lr, self.betas = n_critic, penalty, lr, betas
        self.horizon, self.steps, self.seed = horizon, steps, seed
        self.steps_each = [steps] * horizon
        self.epoch_metrics: dict[str, float] = {}
        self.wasserstein, self.penalties, self.generator_loss = (mean_metric() for _ in range(3))
        self.train()

    @property
    def sampled(self) -> nn.Module:
        """The generator that makes pictures: the average, as soon as there is one."""
        return self.average.module if self.average.begun else self.generator

    def make(self, noise: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 3, size, size) uint8 of the classes given."""
        generator, before = self.sampled, self.sampled.training
        generator.eval()
        with torch.no_grad():
            pictures = generator(noise.to(self.device), targets.to(self.device))
        generator.train(before)
        return pictures.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()

    def training_step(self, batch: Item, batch_idx: int) -> None:
        done = self.current_epoch * self.steps + batch_idx  # of all steps, whatever was resumed
        self._set_rates(1 - done / (self.horizon * self.steps))
        real = batch["pictures"].float().div(127.5).sub(1)
        real = real.contiguous(memory_format=torch.channels_last)
        targets = batch["targets"]
        self._train_critic(real, targets)
        if (done + 1) % self.n_critic == 0:
            self._train_generator(targets)

    def _train_critic(self, real: torch.Tensor, targets: torch.Tensor) -> None:
        optimizer: Any = self.optimizers()[0]  # type: ignore[index]
        with torch.no_grad():
            made = self.generator(self._noise(len(real)), targets)
        loss = critic_loss(self.critic, real, made, targets)
        penalty = gradient_penalty(self.critic, real, made, targets)
        optimizer.zero_grad()
        self.manual_backward(loss + self.penalty * penalty)
        optimizer.step()
        self.wasserstein.update(-loss.detach())
        self.penalties.update(penalty.detach())

    def _train_generator(self, targets: torch.Tensor) -> None:
        optimizer: Any = self.optimizers()[1]  # type: ignore[index]
        self.critic.requires_grad_(False)
        loss = -self.critic(self.generator(self._noise(len(targets)), targets), targets).mean()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.critic.requires_grad_(True)
        self.average.after_step(self.generator)
        self.generator_loss.update(loss.detach())

    def _noise(self, count: int) -> torch.Tensor:
        return torch.randn(count, self.generator.latent, device=self.device)

    def _set_rates(self, share: float) -> None:
        for optimizer in self.optimizers(use_pl_optimizer=False):  # type: ignore[union-attr]
            for group in optimizer.param_groups:
                group["lr"] = self.lr * share

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:  # noise must not depend on what was drawn before a kill
            torch.manual_seed((self.seed * 1_000_003 + self.current_epoch) % 2**63)

    def on_train_epoch_end(self) -> None:
        found = {
            "gan/wasserstein": self.wasserstein,
            "gan/penalty": self.penalties,
            "gan/generator_loss": self.generator_loss,
        }
        # an epoch of few batches may have no step of the generator
        plain = {name: float(mean.compute()) for name, mean in found.items() if mean.weight > 0}
        for mean in found.values():
            mean.reset()
        for name, value in plain.items():
            if not math.isfinite(value):
                raise CarsclfError(
                    f"{name} became {value} in epoch {self.current_epoch + 1}: lower gan.lr; "
                    f"finished epochs are kept in {self.trainer.default_root_dir}"
                )
        self.epoch_metrics = plain
        self.log_dict(plain, batch_size=1)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [
            torch.optim.Adam(network.parameters(), lr=self.lr, betas=self.betas)
            for network in (self.critic, self.generator)
        ]
