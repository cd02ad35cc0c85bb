"""The fused functions are the formulas: in blocks, in any memory layout and precision, compiled, and in gradients."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import pytest
import torch
from naive_moments import uncertain
from torch import Tensor

from plurimask.nn.moments import fused
from plurimask.nn.moments.fused import can_compile, fused_larger, fused_leaky, learned_leaky
from plurimask.nn.moments.gaussian import larger_moments, leaky_moments

SHAPE = (2, 3, 5, 7)
CPU = torch.device("cpu")


def assert_equal(got: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float = 1e-6) -> None:
    for one, right in zip(got, expected, strict=True):
        torch.testing.assert_close(one, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("block", [1, 7, 30, 105, 209, 210, 211])
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_blocks_of_any_size_give_the_same(block: int, slope: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = uncertain(*SHAPE, dtype=torch.float32), uncertain(*SHAPE, seed=1, dtype=torch.float32)
    monkeypatch.setattr(fused, "BLOCK", block)
    mean, variance = (one.clone().requires_grad_() for one in x)
    got = fused_leaky(mean, variance, slope)
    assert_equal(got, leaky_moments(*x, slope))
    of_blocks = torch.autograd.grad(got, (mean, variance), tuple(y))
    monkeypatch.setattr(fused, "BLOCK", 10**6)
    whole = fused_leaky(mean, variance, slope)
    of_whole = torch.autograd.grad(whole, (mean, variance), tuple(y))
    assert_equal(of_blocks, of_whole)
    monkeypatch.setattr(fused, "BLOCK", block)
    assert_equal(fused_larger(x, y), larger_moments(*x, *y))


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0, -0.4])
def test_gradients_of_a_leaky_relu(slope: float) -> None:
    mean, variance = (one.requires_grad_() for one in uncertain(4, 3, 5))
    assert torch.autograd.gradcheck(lambda m, v: fused_leaky(m, v, slope), (mean, variance))


def test_gradients_of_a_leaky_relu_with_learned_slopes() -> None:
    mean, variance = (one.requires_grad_() for one in uncertain(4, 3, 5))
    for slope in (torch.tensor([0.2]), torch.tensor([[0.0], [0.25], [-0.5]])):
        assert torch.autograd.gradcheck(learned_leaky, (mean, variance, slope.double().requires_grad_()))


def test_gradients_of_the_larger_of_two() -> None:
    inputs = [one.requires_grad_() for one in (*uncertain(4, 3, 5), *uncertain(4, 3, 5, seed=1))]
    assert torch.autograd.gradcheck(lambda a, b, c, d: fused_larger((a, b), (c, d)), tuple(inputs))


def test_gradients_are_finite_without_variance() -> None:
    mean = torch.tensor([-1e6, -30.0, -1e-6, 1e-6, 4.0, 1e6])
    other = torch.tensor([-1e6, 30.0, 1e-6, -2.0, 4.5, 2e6])
    for variance in (0.0, 1e-30, 1e-12):
        values = [one.clone().requires_grad_() for one in (mean, torch.full_like(mean, variance))]
        others = [one.clone().requires_grad_() for one in (other, torch.full_like(mean, variance))]
        slope = torch.tensor([0.25], requires_grad=True)
        total = sum(one.sum() for one in fused_leaky(*values, 0.0))
        total = total + sum(one.sum() for one in fused_larger(tuple(values), tuple(others)))
        total = total + sum(one.sum() for one in learned_leaky(*values, slope))
        for gradient in torch.autograd.grad(total, [*values, *others, slope]):
            assert bool(gradient.isfinite().all())


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels_last": lambda values: values.contiguous(memory_format=torch.channels_last),
    "transposed": lambda values: values.transpose(1, 3).contiguous().transpose(1, 3),
    "every second": lambda values: values.repeat_interleave(2, 3)[..., ::2],
    "with an offset": lambda values: torch.cat([values, values])[len(values) :],
}


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("of", ["mean", "variance", "both"])
def test_any_memory_layout_gives_the_same(layout: str, of: str) -> None:
    x, y = uncertain(*SHAPE, dtype=torch.float32), uncertain(*SHAPE, seed=1, dtype=torch.float32)
    mean = LAYOUTS[layout](x.mean) if of != "variance" else x.mean
    variance = LAYOUTS[layout](x.variance) if of != "mean" else x.variance
    assert torch.equal(mean, x.mean)
    got = fused_leaky(mean, variance, 0.0)
    assert_equal(got, leaky_moments(*x, 0.0))
    if of != "variance" and layout == "channels_last":
        assert all(one.is_contiguous(memory_format=torch.channels_last) for one in got)
    assert_equal(fused_larger((mean, variance), y), larger_moments(*x, *y))
    assert_equal(fused_larger(y, (mean, variance)), larger_moments(*y, *x))


@pytest.mark.parametrize("block", [11, 10**6])
def test_inputs_are_overwritten_only_where_that_is_allowed(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "BLOCK", block)
    x = uncertain(*SHAPE, dtype=torch.float32)
    expected = leaky_moments(*x, 0.2, 1e-3)
    kept = x.moved(torch.clone)
    assert_equal(fused_leaky(*kept, 0.2, 1e-3), expected)
    assert_equal(tuple(kept), tuple(x), 0)
    assert_equal(fused_leaky(*kept, 0.2, 1e-3, overwrite=True), expected)
    mean = x.mean.clone().requires_grad_()
    got = fused_leaky(mean, x.variance.clone(), 0.2, 1e-3, overwrite=True)
    assert_equal(got, expected)
    assert torch.equal(mean, x.mean)
    one = torch.tensor(0.3).expand(SHAPE)
    assert_equal(fused_leaky(x.mean.clone(), one, 0.2, overwrite=True), leaky_moments(x.mean, one.clone(), 0.2))
    assert bool((one == 0.3).all())


def test_expanded_values_are_read_as_they_stand() -> None:
    x = uncertain(*SHAPE, dtype=torch.float32)
    one = torch.tensor(0.3).expand(SHAPE)
    assert_equal(fused_leaky(x.mean, one, 0.0), leaky_moments(x.mean, one.clone(), 0.0))
    assert_equal(fused_leaky(one, x.variance, 0.0), leaky_moments(one.clone(), x.variance, 0.0))
    assert_equal(fused_leaky(one, one, 0.1), leaky_moments(one.clone(), one.clone(), 0.1))


@pytest.mark.parametrize(("dtype", "last_digit"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_precision_is_computed_in_float32_and_rounded_once(
    dtype: torch.dtype, last_digit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = uncertain(*SHAPE, dtype=dtype), uncertain(*SHAPE, seed=1, dtype=dtype)
    precise, other = x.moved(Tensor.float), y.moved(Tensor.float)
    for block in (11, 10**6):
        monkeypatch.setattr(fused, "BLOCK", block)
        with torch.autocast("cpu", dtype=dtype):
            got = fused_leaky(*x, 0.0)
            larger = fused_larger(x, y)
        assert all(one.dtype == dtype for one in (*got, *larger))
        assert_equal(got, tuple(one.to(dtype) for one in leaky_moments(*precise, 0.0)), last_digit)
        assert_equal(larger, tuple(one.to(dtype) for one in larger_moments(*precise, *other)), last_digit)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(CPU), reason="torch.compile needs a C++ compiler")
def test_compiled_functions_give_the_same_forward_and_backward() -> None:
    """The one test that compiles: half a minute."""
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2**-7)):
        inputs = [*uncertain(*SHAPE, dtype=dtype), *uncertain(*SHAPE, seed=1, dtype=dtype)]
        results = []
        for compiled in (False, True):
            m1, v1, m2, v2 = (one.clone().requires_grad_() for one in inputs)
            outputs = (*fused_leaky(m1, v1, 0.1, compiled=compiled), *fused_larger((m1, v1), (m2, v2), compiled))
            total = sum((one.float() * (1 + number)).sum() for number, one in enumerate(outputs))
            results.append((*outputs, *torch.autograd.grad(total, [m1, v1, m2, v2])))
            spent = [one.clone() for one in inputs[:2]]
            results[-1] += fused_leaky(spent[0], spent[1], 0.1, 1e-3, compiled, overwrite=True)
        assert_equal(results[1], results[0], tolerance)


def test_where_the_compiler_fails_the_blocks_take_over_and_say_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(formula: object, overwrite: bool) -> object:
        raise RuntimeError("no compiler\nand much more")

    monkeypatch.setattr(fused, "_compiled", broken)
    monkeypatch.setattr(fused, "_NOT_COMPILED", set())
    mean, variance = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)), torch.full((5, 7), 0.3)
    with pytest.warns(UserWarning, match="torch.compile does not work here.*no compiler$"):
        got = fused_leaky(mean, variance, 0.0, compiled=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = fused_leaky(mean, variance, 0.0, compiled=True)
    for one, other, want in zip(got, again, leaky_moments(mean, variance, 0.0), strict=True):
        assert torch.equal(one, want)
        assert torch.equal(other, want)


def test_too_little_memory_is_no_failure_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(formula: object, overwrite: bool) -> object:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(fused, "_compiled", full)
    monkeypatch.setattr(fused, "_NOT_COMPILED", set())
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        fused_leaky(torch.ones(3), torch.ones(3), 0.0, compiled=True)
    assert not fused._NOT_COMPILED


def test_each_formula_is_compiled_by_itself() -> None:
    """The compiler counts variants for each code object, and gives up at eight."""
    fused._compiled.cache_clear()
    codes = set()
    for formula in (leaky_moments, larger_moments):
        for overwrite in (False, True):
            codes.add(fused._compiled(formula, overwrite)._torchdynamo_orig_callable.__code__)  # type: ignore[attr-defined]
    assert len(codes) == 4


def test_what_the_compiler_says_of_its_work_reaches_nobody() -> None:
    loggers = [logging.getLogger(f"torch.{name}") for name in ("_dynamo.convert_frame", "_inductor.compile_fx")]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fused._silence_compiler.__wrapped__()
            for module in ("torch._dynamo.variables", "torch._inductor.codecache", "torch.nn.functional"):
                warnings.warn_explicit(module, UserWarning, "file.py", 1, module)
        assert [str(one.message) for one in caught] == ["torch.nn.functional"]
        assert not any(logger.isEnabledFor(logging.WARNING) for logger in loggers)
        assert all(logger.isEnabledFor(logging.ERROR) for logger in loggers)
    finally:
        torch._logging.set_logs()
