"""The presets hold the published settings."""

from __future__ import annotations

import pytest

from plurimask.methods import METHODS, build_method
from plurimask.methods.presets import PRESETS
from plurimask.runs.plan import Plan, resolve
from plurimask.training.config import TrainingConfig


@pytest.mark.parametrize(("method", "preset"), [(method, preset) for method in PRESETS for preset in PRESETS[method]])
def test_every_preset_builds_and_has_an_end(method: str, preset: str) -> None:
    own, training = resolve(Plan(method, preset))
    METHODS[method].Config(**own)
    assert training.max_steps or training.max_minutes


def test_cityscapes_has_the_settings_of_the_released_code() -> None:
    own, training = resolve(Plan("probabilistic-unet", "cityscapes"))
    assert tuple(own["channels"]) == (32, 64, 128, 192, 192, 192, 192)
    method = build_method("probabilistic-unet", image_channels=3, num_classes=24, **own)
    assert method.config.latent_dim == 6
    assert method.config.beta == 1.0
    assert (training.max_steps, training.batch_size, training.raters_per_step) == (240_000, 10, 1)
    assert (training.optimizer, training.learning_rate, training.weight_decay) == ("adam", 1e-4, 1e-5)
    rates = {step: 1e-4 * training.learning_rate_factor(step / 240_000, step) for step in (0, 79_999, 80_000, 160_000)}
    assert rates == pytest.approx({0: 1e-4, 79_999: 1e-4, 80_000: 0.5e-4, 160_000: 1e-5})
    assert training.resize == (256, 512)
    augmentation = training.augmentation
    assert (augmentation.rotation, augmentation.scale) == (22.5, (0.8, 1.2))
    assert (augmentation.gamma, augmentation.gamma_probability) == ((0.7, 1.5), 0.3)


def test_an_ensemble_of_the_paper_trains_each_member_as_long_as_one_network() -> None:
    own, training = resolve(Plan("ensemble", "lidc"))
    assert len(own["members"]) == 16
    assert training.max_steps == 16 * 240_000


def test_drops_belong_to_the_piecewise_schedule_alone() -> None:
    with pytest.raises(ValueError, match="needs drops"):
        TrainingConfig(schedule="piecewise")
    with pytest.raises(ValueError, match="needs drops"):
        TrainingConfig(drops=((0.5, 0.1),))
    with pytest.raises(ValueError, match="between 0 and 1"):
        TrainingConfig(schedule="piecewise", drops=((1.5, 0.1),))
    with pytest.raises(ValueError, match="of 8 to"):
        TrainingConfig(resize=(4, 100))
