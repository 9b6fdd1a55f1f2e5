"""What several tests of training watch."""

import pytest


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures went through the frozen part, each time some did."""
    from carsclf.training import features

    counts: list[int] = []
    real = features.run_prefix

    def counting(module, loader, *settings):
        counts.append(len(loader.dataset))
        return real(module, loader, *settings)

    monkeypatch.setattr(features, "run_prefix", counting)
    return counts
