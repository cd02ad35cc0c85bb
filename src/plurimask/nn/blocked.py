"""Chains of convolutions and ReLUs in the layout of oneDNN's own kernels, for training in float32 on a processor.

Between two dense tensors each convolution brings its input into blocks of 8 or 16 channels and its output back, in the
forward pass and in both of its gradients. In a chain that is needed at its ends alone. The numbers are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_CHAINED = (nn.Conv2d, nn.ReLU)


def is_chained(block: nn.Module, x: Tensor) -> bool:
    """Whether a block may see `x` as `x.to_mkldnn()`: it is only such layers, their gradient is wanted, and both are in
    the plain layout, `(B, F, H, W)` one plane after the other."""
    if not isinstance(x, Tensor):  # but what stands for one while the network is traced
        return False
    if torch._C._len_torch_function_stack():  # somebody computes in the layers' place, as `nn/bayesian` does
        return False
    has_kernels: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (has_kernels and torch.backends.mkldnn.enabled and torch.is_grad_enabled()):
        return False
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or not x.numel():
        return False
    layers = list(block.children())
    weights = [layer.weight for layer in layers if isinstance(layer, nn.Conv2d)]
    return (
        all(type(layer) in _CHAINED for layer in layers)
        and all(part.dtype == torch.float32 and part.is_contiguous() for part in (x, *weights))
        and all(weight.requires_grad for weight in weights)
    )


def dense(x: Tensor) -> Tensor:
    """`x`, not in blocks."""
    return x.to_dense() if isinstance(x, Tensor) and x.is_mkldnn else x


def joined(block: nn.Module, x: Tensor, skip: Tensor) -> Tensor:
    """`block(torch.cat([x, skip], dim=1))`, dense; `skip` may be in blocks.

    The first convolution is the sum of one of each: so a skip connection in blocks stays there.
    """
    first, *others = block.children()
    if not (isinstance(first, nn.Conv2d) and isinstance(first.padding, tuple) and is_chained(block, x)):
        out: Tensor = block(torch.cat([x, dense(skip)], dim=1))
        return out
    weights = torch.split(first.weight, [x.shape[1], skip.shape[1]], dim=1)
    for_x, for_skip = (part.contiguous() for part in weights)
    out = functional.conv2d(x.to_mkldnn(), for_x, first.bias, padding=first.padding)
    out = out + functional.conv2d(skip if skip.is_mkldnn else skip.to_mkldnn(), for_skip, padding=first.padding)
    for layer in others:
        out = layer(out)
    return out.to_dense()
