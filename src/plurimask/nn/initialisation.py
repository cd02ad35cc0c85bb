"""Initial weights as the published code sets them."""

from __future__ import annotations

from typing import Literal

from torch import nn

Initialisation = Literal["he_normal", "orthogonal", "glorot_uniform"]


def initialise(network: nn.Module, kind: Initialisation) -> None:
    """Weights of every convolution and linear layer by `kind`.

    "he_normal" is the choice of the Probabilistic U-Net's released code (truncated at two sigmas), "orthogonal"
    (gain 1) that of its paper, both with biases from a truncated normal of sigma 0.001. "glorot_uniform" with biases
    of 0 is what Keras does by default. Each group of a grouped (depthwise) convolution is a convolution of its own.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            for weight in module.weight.detach().chunk(getattr(module, "groups", 1)):
                if kind == "orthogonal":
                    nn.init.orthogonal_(weight)
                elif kind == "glorot_uniform":
                    nn.init.xavier_uniform_(weight)
                else:
                    # A normal truncated at two sigmas has a standard deviation of 0.8796 sigma.
                    sigma = (2 / weight[0].numel()) ** 0.5 / 0.8796
                    nn.init.trunc_normal_(weight, std=sigma, a=-2 * sigma, b=2 * sigma)
            if module.bias is not None and kind == "glorot_uniform":
                nn.init.zeros_(module.bias)
            elif module.bias is not None:
                nn.init.trunc_normal_(module.bias, std=1e-3, a=-2e-3, b=2e-3)
