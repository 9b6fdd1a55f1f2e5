"""Licence and origin of weights: as timm's source states them, and passed on from run to run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from safetensors import safe_open
from safetensors.torch import save_file

from carsclf.inference.predict import load_model
from carsclf.models.networks import build_network, create
from carsclf.models.provenance import Provenance, forbids_commerce, stated_at, stated_by_timm
from carsclf.records import ModelCard, Run, RunFolder
from carsclf.training.command import summary
from carsclf.training.run import fit

TINY = "test_resnet"


def provenance(weights: str | Path) -> Provenance:
    return build_network(TINY, num_classes=4, weights=str(weights), seed=0)[1].provenance


@pytest.mark.parametrize(
    ("name", "license", "source"),
    [  # read off timm's models/resnet.py, convnext.py and vision_transformer.py
        (
            "resnet18.tv_in1k",
            "bsd-3-clause",
            {
                "hf_hub_id": "timm/resnet18.tv_in1k",
                "tag": "tv_in1k",
                "origin_url": "https://github.com/pytorch/vision",
            },
        ),
        (
            "resnet18.a1_in1k",
            "apache-2.0",
            {
                "hf_hub_id": "timm/resnet18.a1_in1k",
                "tag": "a1_in1k",
                "origin_url": "https://github.com/huggingface/pytorch-image-models",
                "paper_ids": "arXiv:2110.00476",
            },
        ),
        (
            "convnextv2_atto.fcmae",
            "cc-by-nc-4.0",
            {"hf_hub_id": "timm/convnextv2_atto.fcmae", "tag": "fcmae"},
        ),
    ],
)
def test_timms_statement(name: str, license: str, source: dict[str, str]) -> None:
    config: Any = create(name).pretrained_cfg
    stated = stated_by_timm(config)
    assert stated.license == license
    assert {k: stated.source.get(k) for k in source} == source
    assert "url" not in stated.source


@pytest.mark.parametrize(
    ("license", "restricted"),
    [
        ("cc-by-nc-4.0", True),
        ("CC-BY-NC-SA-4.0", True),
        ("fair-noncommercial-research-license", True),
        ("apple-amlr", True),
        ("seer-license", True),
        ("apache-2.0", False),
        ("mit", False),
        ("apple-ascl", False),
        ("cc-by-4.0", False),
        ("dinov3-license", False),
        ("unknown", False),
        (None, False),
    ],
)
def test_which_licences_forbid_commerce(license: str | None, restricted: bool) -> None:
    assert forbids_commerce(license) is restricted


def test_files_say_it_or_it_is_unknown(tmp_path: Path) -> None:
    state = create(TINY).state_dict()
    save_file(state, tmp_path / "bare.safetensors")
    assert provenance(tmp_path / "bare.safetensors") == Provenance("unknown", {})
    told = {"license": "cc-by-nc-4.0", "hf_hub_id": "me/cars", "format": "pt"}
    save_file(state, tmp_path / "told.safetensors", told)
    expected = Provenance("cc-by-nc-4.0", {"hf_hub_id": "me/cars"})
    assert provenance(tmp_path / "told.safetensors") == expected
    assert provenance("none") == Provenance(None, {})
    (tmp_path / "hub").mkdir()
    save_file(state, tmp_path / "hub" / "model.safetensors", told)
    (tmp_path / "hub" / "model.json").write_text("[]")  # some other program's
    assert provenance(tmp_path / "hub") == expected


def test_a_run_passes_on_what_it_began_with(
    tmp_path: Path, tiny: list[str], config_of: Callable[..., DictConfig], capsys: Any
) -> None:
    told = {"license": "cc-by-nc-4.0", "origin_url": "https://example.org/cars"}
    save_file(create(TINY).state_dict(), tmp_path / "told.safetensors", told)
    short = [*(o for o in tiny if not o.startswith("model.weights")), "trainer.max_epochs=1"]
    first = fit(config_of(*short, f"model.weights={tmp_path}/told.safetensors"), tmp_path / "a")
    second = fit(config_of(*short, f"model.weights={tmp_path}/a"), tmp_path / "b")
    for run, folder in ((first, "a"), (second, "b")):
        written = json.loads((tmp_path / folder / "run.json").read_text())
        assert written["weights_license"] == run.weights_license == "cc-by-nc-4.0"
        assert written["weights_source"] == {"origin_url": "https://example.org/cars"}
        card = load_model(tmp_path / folder).card
        assert (card.weights_license, card.weights_source) == (
            run.weights_license,
            run.weights_source,
        )
    with safe_open(tmp_path / "b" / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"weights_license": "cc-by-nc-4.0"}
    summary(second, tmp_path / "b")
    assert capsys.readouterr().out.count("(cc-by-nc-4.0: NOT for commercial use)") == 1


def test_records_of_earlier_versions_read(tmp_path: Path) -> None:
    files = RunFolder(tmp_path)
    card = ModelCard(TINY, ["a"], {}, [0.5] * 3, [0.5] * 3, "ImageNet (timm/test_resnet)")
    card.write(files.card)
    old = json.loads(files.card.read_text())
    del old["weights_license"], old["weights_source"]
    files.card.write_text(json.dumps(old))
    assert ModelCard.read(files.card) == card
    assert stated_at(tmp_path) == Provenance("unknown", {})
    assert Run.__dataclass_fields__["weights_license"].default == "unknown"
