"""The constrained reconstruction and its multiplier, and the random selection of hard pixels."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from plurimask.nn.geco import ConstrainedReconstruction, hard_pixels

KAPPA, DECAY = 0.05, 0.9
VALUES = (40.0, 30.0, 5.0, 1.0)
SELECTED = 60.0


def test_the_average_starts_with_the_first_value_and_follows() -> None:
    constraint = ConstrainedReconstruction(KAPPA, DECAY)
    average = VALUES[0]
    for number, value in enumerate(VALUES):
        average = value if number == 0 else DECAY * average + (1 - DECAY) * value
        total = constraint(torch.tensor(value), torch.tensor(SELECTED))
        assert float(total.detach()) == pytest.approx(average - KAPPA * SELECTED, rel=1e-5)  # lambda is 1
        assert float(constraint.average) == pytest.approx(average, rel=1e-6)
    assert int(constraint.num_averaged) == len(VALUES)


def test_gradients_go_straight_through_and_turn_round_at_the_multiplier() -> None:
    constraint = ConstrainedReconstruction(KAPPA, DECAY)
    constraint(torch.tensor(7.0), torch.tensor(SELECTED))
    with torch.no_grad():
        constraint.log_multiplier.fill_(math.log(3.0))
    reconstruction = torch.tensor(20.0, requires_grad=True)
    constraint(reconstruction, torch.tensor(SELECTED)).backward()
    violation = DECAY * 7 + (1 - DECAY) * 20 - KAPPA * SELECTED
    assert reconstruction.grad is not None and constraint.log_multiplier.grad is not None
    assert float(reconstruction.grad) == pytest.approx(3.0)  # lambda, not lambda (1 - decay)
    assert float(constraint.log_multiplier.grad) == pytest.approx(-3.0 * violation, rel=1e-5)


@pytest.mark.parametrize(("reconstruction", "direction"), [(KAPPA * SELECTED * 2, 1), (KAPPA * SELECTED / 2, -1)])
def test_one_step_of_adam_moves_the_logarithm_by_the_rate(reconstruction: float, direction: int) -> None:
    constraint = ConstrainedReconstruction(KAPPA)
    optimizer = torch.optim.Adam(constraint.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        constraint(torch.tensor(reconstruction), torch.tensor(SELECTED)).backward()
        optimizer.step()
    # Adam's step is the rate while gradients keep their size; they grow with lambda, by 20 % here.
    assert math.log(float(constraint.multiplier)) == pytest.approx(direction * 20 * 1e-2, rel=0.1)


def test_outside_training_nothing_is_kept() -> None:
    constraint = ConstrainedReconstruction(KAPPA, DECAY)
    constraint(torch.tensor(7.0), torch.tensor(SELECTED))
    constraint.eval()
    constraint(torch.tensor(700.0), torch.tensor(SELECTED))
    assert float(constraint.average) == 7.0


def test_a_step_without_labels_leaves_the_average() -> None:
    constraint = ConstrainedReconstruction(KAPPA, DECAY)
    constraint(torch.tensor(0.0), torch.tensor(0.0))
    assert int(constraint.num_averaged) == 0
    constraint(torch.tensor(7.0), torch.tensor(SELECTED))
    constraint(torch.tensor(0.0), torch.tensor(0.0)).backward()
    assert float(constraint.average) == 7.0
    assert int(constraint.num_averaged) == 1
    assert constraint.log_multiplier.grad is not None
    assert float(constraint.log_multiplier.grad) == 0


def _average_of_two_processes(rank: int, rendezvous: str, out: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    constraint = ConstrainedReconstruction(KAPPA, DECAY)
    constraint(torch.tensor([4.0, 10.0][rank]), torch.tensor(SELECTED))
    constraint(torch.tensor([0.0, 27.0][rank]), torch.tensor([0.0, SELECTED][rank]))  # one process has no labels
    torch.save(constraint.average, f"{out}{rank}")
    torch.distributed.destroy_process_group()


def test_processes_share_one_average(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_average_of_two_processes, (str(tmp_path / "meet"), str(tmp_path / "out")), nprocs=2)
    for rank in range(2):
        average = torch.load(tmp_path / f"out{rank}", weights_only=True)
        assert float(average) == pytest.approx(DECAY * 7 + (1 - DECAY) * 27)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_as_many_pixels_of_the_whole_batch_are_selected_as_asked_for() -> None:
    values = torch.rand(3, 20, 17, generator=seeded())
    values[1] = 0  # solved, or not judged
    selected = hard_pixels(values, 0.02, seeded())
    assert selected.shape == values.shape
    assert int(selected.sum()) == int(0.02 * values.numel())
    assert not selected[1].any()
    assert torch.equal(hard_pixels(values, 1.0), values > 0)


def test_what_does_not_count_is_never_selected_even_if_too_little_is_left() -> None:
    values = torch.zeros(2, 10, 13)
    values[0, 0, :3] = 1
    assert torch.equal(hard_pixels(values, 0.5, seeded()), values > 0)


def test_selection_is_the_gumbel_top_k() -> None:
    """How often each of six pixels is among three drawn, against the same by Gumbel noise on logarithms."""
    values, rounds, count = torch.tensor([0.1, 0.5, 1.0, 2.0, 4.0, 0.05]), 8000, 3
    ours = torch.stack([hard_pixels(values[None], count / 6, seeded(seed))[0] for seed in range(rounds)]).float()
    uniform = torch.rand(rounds, 6, generator=seeded())
    scores: Tensor = values.log() - (-uniform.log()).log()
    theirs = torch.zeros(rounds, 6).scatter_(1, scores.topk(count).indices, 1.0)
    error = (ours.var(0) / rounds + theirs.var(0) / rounds).sqrt()
    assert bool(((ours.mean(0) - theirs.mean(0)).abs() < 4.5 * error).all())
    assert float(ours[:, 4].mean()) > 0.9 > 0.2 > float(ours[:, 5].mean())
