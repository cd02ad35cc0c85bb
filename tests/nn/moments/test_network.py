"""Ordinary networks turned into ones that propagate moments: the project's own."""

from __future__ import annotations

import copy

import pytest
import torch
from naive_moments import EAGER, assert_same
from torch import Tensor, nn
from torch.nn import functional

from plurimask.errors import InputError
from plurimask.nn.deeplab import DeepLabSettings, DeepLabV3Plus
from plurimask.nn.moments import Moments, Propagation, moment_network
from plurimask.nn.space import Space
from plurimask.nn.unet import Style, UNetFeatures, class_scores

SMALL = DeepLabSettings((4, 6, 8), output_stride=8, rates=(1, 2), aspp_channels=10, low_level_channels=5)
BATCH_AND_MAX = Style("batch", "max", "nearest")


def unet(style: Style) -> nn.Module:
    return nn.Sequential(UNetFeatures(2, (5, 6, 7), 2, style), class_scores(5, 3))


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "unet": unet(Style()),
        "unet with batch norm, max-pool and nearest": unet(BATCH_AND_MAX),
        "residual unet": unet(Style(blocks="residual")),
        "residual unet with max-pool": unet(Style(pooling="max", blocks="residual")),
        "deeplab": DeepLabV3Plus(2, 3, SMALL),
        "deeplab with batch norm": DeepLabV3Plus(2, 3, SMALL._replace(normalisation="batch")),
        "deeplab with group norm": DeepLabV3Plus(2, 3, SMALL._replace(normalisation="group")),
        "separable deeplab": DeepLabV3Plus(2, 3, SMALL._replace(separable=True, normalisation="batch")),
    }


NAMES = list(networks())


def images(*size: int, seed: int = 1) -> Tensor:
    return torch.randn(4, 2, *(size or (19, 22)), generator=torch.Generator().manual_seed(seed))


def trained_a_little(network: nn.Module) -> nn.Module:
    """With statistics of batch norm that are not the initial ones."""
    with torch.no_grad():
        network.train()(images(33, 30, seed=2))
    return network.eval()


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_without_variance_it_is_the_ordinary_network(name: str, symmetric: bool) -> None:
    network = trained_a_little(networks()[name]).double()
    how = Propagation(max_pool="symmetric" if symmetric else "pairwise", compiled=False)
    converted = moment_network(network, how)
    for size in ((19, 22), (16, 32), (8, 5)):
        x = images(*size).double()
        got = converted(x, torch.zeros_like(x))
        torch.testing.assert_close(got.mean, network(x), rtol=1e-9, atol=1e-9)
        assert not got.variance.any()


@pytest.mark.parametrize("name", NAMES)
def test_in_training_too_and_batch_norm_moves_alike(name: str) -> None:
    network = networks()[name].train().double()
    ordinary = copy.deepcopy(network)
    x = images().double()
    got = moment_network(network, EAGER)(x, torch.zeros_like(x))
    torch.testing.assert_close(got.mean, ordinary(x), rtol=1e-9, atol=1e-9)
    for one, other in zip(network.buffers(), ordinary.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_three_dimensions() -> None:
    torch.manual_seed(0)
    for network in (
        UNetFeatures(2, (3, 4), 1, Style(pooling="max"), Space(3)),
        DeepLabV3Plus(2, 3, SMALL._replace(normalisation="group"), spatial_dims=3),
    ):
        x = images(5, 6, 9)
        got = moment_network(network, EAGER)(x, torch.zeros_like(x))
        torch.testing.assert_close(got.mean, network(x), rtol=1e-4, atol=1e-5)
        assert bool((moment_network(network, EAGER)(x, torch.ones_like(x)).variance > 0).all())


# Of the logarithms of variances: least correlation; and geometric mean of the ratios, lower and upper bound.
PROPAGATED = {
    # A shortcut and its residual are far from independent, and so are neighbours after an up-sampling by four.
    "unet": (0.85, 0.8, 1.4),
    "unet with batch norm, max-pool and nearest": (0.95, 1.0, 1.6),
    "residual unet": (0.5, 1.8, 3.6),
    "deeplab with batch norm": (0.45, 0.55, 1.0),
    "deeplab with group norm": (0.65, 1.3, 2.4),
}


@pytest.mark.parametrize("name", list(PROPAGATED))
def test_propagated_variances_are_near_those_of_passes_with_drawn_noise(name: str) -> None:
    """Values are taken as independent and Gaussian, which they are not: near, not equal."""
    network, (correlation, low, high) = trained_a_little(networks()[name]), PROPAGATED[name]
    x = images(16, 24)[:1]
    variance = torch.full_like(x, 0.04)
    noise = torch.randn(1500, *x.shape[1:], generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        got = moment_network(network, EAGER)(x, variance)
        samples = network(x + 0.2 * noise)
    drawn = samples.var(0, keepdim=True)
    logs = torch.stack([got.variance.flatten().log(), drawn.flatten().log()])
    ratio = float((logs[0] - logs[1]).mean().exp())
    away = ((got.mean - samples.mean(0)).abs() / drawn.sqrt()).mean()
    assert float(torch.corrcoef(logs)[0, 1]) > correlation
    assert low < ratio < high
    assert float(away) < 0.4


def test_weights_are_shared_and_listed_once() -> None:
    network = unet(BATCH_AND_MAX)
    converted = moment_network(network, EAGER)
    own, theirs = list(network.parameters()), list(converted.parameters())
    assert {id(one) for one in own} == {id(one) for one in theirs}
    assert len(own) == len(theirs)
    assert len(converted.state_dict()) == len(network.state_dict())
    assert {f"network.{name}" for name in network.state_dict()} == set(converted.state_dict())


def test_what_trains_one_trains_the_other() -> None:
    network = unet(Style())
    converted, x = moment_network(network, EAGER), images()
    before = network(x)
    optimiser = torch.optim.SGD(converted.parameters(), lr=0.1)
    moments = converted(x, torch.full_like(x, 0.1))
    (moments.mean.square().mean() + moments.variance.mean()).backward()
    assert all(
        parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in network.parameters()
    )
    optimiser.step()
    assert not torch.equal(network(x), before)
    torch.testing.assert_close(converted(x, torch.zeros_like(x)).mean, network(x), rtol=1e-4, atol=1e-5)


class WithDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Dropout2d(0.4), nn.ReLU())
        self.last = nn.Conv2d(5, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.first(x))
        return out


@pytest.mark.parametrize("of_the_original", [True, False])
def test_train_and_eval_reach_batch_norm_and_dropout(of_the_original: bool) -> None:
    torch.manual_seed(0)
    network, x = WithDropout(), images()
    converted = moment_network(network, EAGER)
    switched = network if of_the_original else converted
    batch_norm, nothing = network.first[1], torch.zeros_like(x)
    switched.eval()
    assert not converted(x, nothing).variance.any()
    assert int(batch_norm.num_batches_tracked) == 0
    switched.train()
    assert bool((converted(x, nothing).variance > 0).all())
    assert int(batch_norm.num_batches_tracked) == 1
    assert not torch.equal(batch_norm.running_mean, torch.zeros(5))
    switched.eval()
    assert not converted(x, nothing).variance.any()


def test_the_floor_is_added_at_each_layer_that_computes() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3).double()
    x = Moments(images().double(), torch.full((4, 2, 19, 22), 0.2).double())
    for layers, added in (([conv], [0.5]), ([conv, nn.Flatten()], [0.5]), ([conv, nn.AvgPool2d(2)], [0.5 / 4 + 0.5])):
        network = nn.Sequential(*layers)
        before, after = moment_network(network)(*x), moment_network(network, Propagation(0.5))(*x)
        assert_same(after, Moments(before.mean, before.variance + added[0]))
    relu = moment_network(nn.Sequential(conv, nn.ReLU()), Propagation(0.5, compiled=False))(*x)
    assert bool((relu.variance > 0.5).all())


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_finite_and_never_negative(name: str) -> None:
    network = trained_a_little(networks()[name])
    converted, x = moment_network(network, EAGER), images(21, 26)
    with torch.no_grad():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = converted(x, torch.full_like(x, 1e-3))
        precise = converted(x, torch.full_like(x, 1e-3))
    assert bool(torch.stack(got).isfinite().all())
    assert bool((got.variance >= 0).all())
    assert float((got.mean.float() - precise.mean).abs().max()) < 0.05 * float(precise.mean.abs().max())
    assert float((got.variance.float() / precise.variance).log().abs().mean()) < 0.1


def test_a_copy_and_a_saved_state_give_the_same() -> None:
    network = trained_a_little(unet(BATCH_AND_MAX))
    converted = moment_network(network, EAGER).eval()
    x = images()
    expected = converted(x, torch.ones_like(x))
    copied = copy.deepcopy(converted)
    assert_same(copied(x, torch.ones_like(x)), expected, tolerance=0)
    assert not {id(one) for one in copied.parameters()} & {id(one) for one in converted.parameters()}
    other = moment_network(unet(BATCH_AND_MAX), EAGER).eval()
    other.load_state_dict(converted.state_dict())
    assert_same(other(x, torch.ones_like(x)), expected, tolerance=0)


IN_PLACE = {
    "layer": (nn.ReLU(inplace=True), lambda own, x: own.inner(x) + x),
    "dropout": (nn.Dropout(0.0, inplace=True), lambda own, x: own.inner(x) + x),
    "function": (nn.Identity(), lambda own, x: functional.leaky_relu(x, 0.1, inplace=True) + x),
    "method": (nn.Identity(), lambda own, x: x.relu_() + x),
    "function of that name": (nn.Identity(), lambda own, x: torch.relu_(x) + x),
    "not in place": (nn.ReLU(), lambda own, x: own.inner(x) + x),
}


@pytest.mark.parametrize("kind", list(IN_PLACE))
def test_what_is_overwritten_in_place_is_read_as_overwritten(kind: str) -> None:
    inner, function = IN_PLACE[kind]
    network, x = Calls(function, inner), images().double()
    got = moment_network(network, EAGER)(x, torch.zeros_like(x))
    torch.testing.assert_close(got.mean, network(x.clone()))


# ---- the vocabulary, and what is refused ---------------------------------------------------------------------------


class Functions(nn.Module):
    """What networks do between layers, affine all of it."""

    def forward(self, x: Tensor) -> Tensor:
        y = 2 - 3 * (x + 1.5) / 2
        y = torch.cat([y, x.flip(2)], dim=1) - torch.ones(1)
        y = functional.pad(y, [1, 0, 0, 2]).permute(0, 2, 3, 1).transpose(1, 2).contiguous()
        y = torch.add(y, y.mean((1, 2), keepdim=True), alpha=-0.5)
        return y.reshape(y.size(0), -1).unsqueeze(1).flatten(1)


def test_functions_and_methods_of_tensors() -> None:
    network, x = Functions(), images(3, 5).double()
    got = moment_network(network)(x, torch.ones_like(x))
    torch.testing.assert_close(got.mean, network(x))
    assert bool((got.variance >= 0).all())
    y = moment_network(Doubled())(x, torch.ones_like(x))
    assert_same(y, Moments(2 * x, torch.full_like(x, 4)))


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x


class Calls(nn.Module):
    """A network of a function, which may call a layer."""

    def __init__(self, function: object, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.function = function
        self.inner = nn.ConvTranspose2d(2, 2, 3, stride=2) if inner is None else inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.function(self, x)  # type: ignore[operator]
        return out


class Pair(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


REFUSED = {
    "a layer": (nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(2, 3, 1), nn.GELU())), r"^1\.1: GELU has no rule"),
    "a function": (nn.Sequential(nn.ReLU(), Calls(lambda own, x: torch.tanh(x))), "^1: tanh has no rule"),
    "a method": (nn.Sequential(nn.ReLU(), Calls(lambda own, x: x.sigmoid())), "^1: sigmoid has no rule"),
    "a function at the top": (Calls(lambda own, x: torch.tanh(x)), "^the network itself: tanh has no rule"),
    "two inputs": (Pair(), "2 inputs"),
    "control flow": (Calls(lambda own, x: x if x.mean() > 0 else -x), "cannot be traced"),
    "a loop over values": (Calls(lambda own, x: sum(x[i] for i in range(x.shape[0]))), "cannot be traced"),
    "a length": (Calls(lambda own, x: x[: len(x)]), "cannot be traced"),
    "a dropout that stays": (nn.Sequential(Calls(lambda own, x: functional.dropout(x, 0.1))), "^0: dropout that drops"),
    "weights made by a hook": (nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(2, 2, 1))), "^0: Conv2d has hooks"),
    "a list": (Calls(lambda own, x: [x, x]), "returns no single tensor"),
    "a number": (Calls(lambda own, x: x.shape[0]), "returns no single tensor"),
    "in place on a part": (Calls(lambda own, x: torch.relu_(x[:, :1]) + x), "works in place on a view"),
    "in place under a view": (
        Calls(lambda own, x: x.flatten(1) + torch.relu_(x).flatten(1)),
        "works in place on a view",
    ),
    "an output size": (Calls(lambda own, x: own.inner(x, output_size=[10, 10])), "^inner: .*more than one"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_has_no_rule_is_named_with_its_path(name: str) -> None:
    network, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        moment_network(network)


REFUSED_WHEN_RUN = {
    "padding": (nn.Sequential(nn.ReLU(), nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")), "^1: padding_mode="),
    "deep": (nn.Sequential(nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=2, mode="bicubic"))), r"^0\.1: .*bicubic"),
    "repeated": (Calls(lambda own, x: functional.pad(x, [1, 1], mode="reflect")), "^pad: .*repeats values"),
    "no dim": (Calls(lambda own, x: functional.softmax(x)), "^softmax: called with arguments"),
    "product": (Calls(lambda own, x: x * x), "^mul: a product of two uncertain"),
    "division": (Calls(lambda own, x: 1 / x), "^truediv: a division by an uncertain"),
}


@pytest.mark.parametrize("name", list(REFUSED_WHEN_RUN))
def test_options_without_moments_are_named_with_their_path(name: str) -> None:
    network, message = REFUSED_WHEN_RUN[name]
    converted, x = moment_network(network, EAGER), images(5, 6)
    with pytest.raises(InputError, match=message):
        converted(x, torch.ones_like(x))


def test_shapes_that_do_not_fit_are_refused() -> None:
    converted, x = moment_network(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), EAGER), images(6, 6)
    for variance in (torch.ones(1), x[:1], x[..., :1]):
        with pytest.raises(InputError, match="a variance of"):
            converted(x, variance)
    for network in (nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 2, 1)):
        with pytest.raises(InputError, match=r"^0: takes \(B, K, H, W\), not the shape \(2, 6, 6\)"):
            moment_network(network, EAGER)(x[0], x[0].abs())


def test_a_layer_alone_and_names_of_arguments() -> None:
    x = images(6, 6)
    layer = nn.Conv2d(2, 3, 1)
    assert_same(
        moment_network(layer, EAGER)(x, x.abs()),
        moment_network(Calls(lambda own, x: torch.cat([own.inner(input=x)], axis=1), layer), EAGER)(x, x.abs()),
    )
