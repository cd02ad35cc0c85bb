"""One image with its encoder run once: what the head, or the decoder, makes of latents that a person chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_leaves

from plurimask.data.resampling import resized
from plurimask.distribution import IGNORE, most_likely
from plurimask.latent import LatentSegmentation
from plurimask.method import SegmentationMethod
from plurimask.noise import Noise
from plurimask.prediction.device import fast_precision, images_in_layout
from plurimask.prediction.predict import Sampling
from plurimask.prediction.seeds import generators_of
from plurimask.runs.load import Run
from plurimask.viewer.errors import Answer, NotFound
from plurimask.viewer.gallery import Stored

Kind = Literal["vector", "scales"]
"""Of latents: one vector an image, of two dimensions at least; or maps at several scales."""

LIMIT = 8.0
"""Sigmas of the prior, as far as a point can be dragged."""
SHOWN = 3.0
"""Sigmas of the prior that the plane shows to begin with."""
MAX_DRAWS = 256
"""Draws of a scale that can be asked for."""
MAX_RATERS = 16
"""Whose posteriors are shown, at most."""
_TRIAL = 32  # pixels


class Decoded(NamedTuple):
    """A label map that was asked for, and how likely all but its background is; in the window's pixels."""

    labels: NDArray[np.uint8]
    """`(h, w)`."""
    probability: NDArray[np.float32]
    """`(h, w)`: of all but the background; without a background, of the most likely class."""


def latent_kind(method: SegmentationMethod) -> Kind | None:
    """Which latents a method has that can be explored, found by a small trial."""
    device, channels = next(method.parameters()).device, method.config.image_channels
    with torch.inference_mode(), fast_precision(device):
        return _kind(method(torch.zeros(1, channels, _TRIAL, _TRIAL, device=device)))


def _kind(prediction: object) -> Kind | None:
    if not isinstance(prediction, LatentSegmentation):
        return None
    if prediction.noise[0].kind == "places":
        return "scales"
    is_plane = len(prediction.noise) == 1 and prediction.prior is not None and prediction.prior.mean.shape[1] > 1
    return "vector" if is_plane else None


class Explorer:
    """An encoded image, and its latents: all that is drawn is as in the samples of the same seed.

    Args:
        run: of a method whose `latent_kind` is not None.
        stored: the image.
        sampling: of the samples that are shown beside it.
    """

    def __init__(self, run: Run, stored: Stored, sampling: Sampling) -> None:
        self.about, self.preprocessing = run.record.data, run.record.preprocessing
        self.stored, self.sampling = stored, sampling
        self.size = self.preprocessing.cut(stored.image).shape[-2:]
        device = next(run.method.parameters()).device
        image = self.preprocessing.image(stored.image, stored.name)[None].to(device)
        with torch.inference_mode():
            with fast_precision(device):
                prediction = run.method(images_in_layout(image, "channels_last"))
            assert isinstance(prediction, LatentSegmentation)
            self.prediction, self.kind = prediction, _kind(prediction)
            self.noise = self._drawn(sampling.num_samples)
            if self.kind == "vector":
                assert prediction.prior is not None
                self.mean, self.sigma = prediction.prior.mean[0].float(), prediction.prior.log_sigma[0].float().exp()
                self.axes = self.sigma.argsort(descending=True, stable=True)[:2].sort().values
                self.latents = prediction.latents(self.noise)[0][:, 0]

    @property
    def num_bytes(self) -> int:
        """How much memory the encoded image takes, without the weights."""
        own = [part for name, part in vars(self.prediction).items() if name != "method"]
        tensors = [part for part in tree_leaves(own) if isinstance(part, Tensor)]
        return sum(part.nbytes for part in (*tensors, *self.noise, self.stored.image))

    def content(self) -> dict[str, Any]:
        """What the page must know to let a person choose latents."""
        if self.kind == "scales":
            places = [part.shape[1:] for part in self.prediction.noise]
            levels = [
                {"name": " x ".join(map(str, place)), "shape": part.shape, "pixels": part.stride}
                for place, part in zip(places, self.prediction.noise, strict=True)
            ]
            return {"kind": "scales", "levels": levels}
        places_of_samples = ((self.latents - self.mean) / self.sigma)[:, self.axes]
        return {
            "kind": "vector",
            "dims": len(self.mean),
            "axes": self.axes.tolist(),
            "names": [f"latent {int(axis) + 1}" for axis in self.axes],
            "limit": SHOWN,
            "samples": places_of_samples.tolist(),
            "raters": self._posteriors(),
        }

    def _posteriors(self) -> list[dict[str, Any]]:
        """Where the latents of each rater's map lie, in sigmas of the prior; none of a method without a posterior."""
        if self.stored.example is None or self.stored.example.flips:
            return []
        labels = self.stored.example.labels
        present = [rater for rater, one in enumerate(labels) if bool((one != IGNORE).any())][:MAX_RATERS]
        if not present:
            return []
        seen = self.preprocessing.seen(labels[present])
        with torch.inference_mode():
            levels = self.prediction.posterior(seen[:, None])
        if not levels:
            return []
        posterior = levels[0]
        means = ((posterior.mean[:, 0] - self.mean) / self.sigma)[:, self.axes].tolist()
        sigmas = (posterior.log_sigma[:, 0].exp() / self.sigma)[:, self.axes].tolist()
        return [
            {"index": rater, "mean": mean, "sigma": sigma}
            for rater, mean, sigma in zip(present, means, sigmas, strict=True)
        ]

    def at(self, x: float, y: float, base: int | None = None) -> Decoded:
        """What is decoded at a point of the plane, in sigmas of the prior from its mean.

        The other dimensions are those of sample `base`, or at the prior's mean.
        """
        if self.kind != "vector":
            raise Answer("this run has latents at several scales: choose levels, not x and y")
        if base is not None and not 0 <= base < len(self.latents):
            raise NotFound(f"there is no sample {base}")
        with torch.inference_mode():
            latents = (self.mean if base is None else self.latents[base]).clone()
            latents[self.axes] = self.mean[self.axes] + self.sigma[self.axes] * latents.new_tensor([x, y])
            return self._decoded(self.prediction.decode([latents[None, None]]))

    def of_levels(self, levels: Sequence[int | None]) -> Decoded:
        """What is decoded with each level's latents from the draw of this number, or at the prior's mean (None)."""
        if self.kind != "scales":
            raise Answer("this run has one latent vector: choose x and y, not levels")
        count = len(self.prediction.noise)
        if len(levels) != count:
            raise Answer(f"{len(levels)} levels were given, the run has {count}: give one number or m for each")
        numbers = [number for number in levels if number is not None]
        if any(not 0 <= number < MAX_DRAWS for number in numbers):
            raise NotFound(f"draws are numbered 0 to {MAX_DRAWS - 1}")
        with torch.inference_mode():
            if numbers and max(numbers) >= len(self.noise[0]):
                self.noise = self._drawn(min(MAX_DRAWS, 2 * (max(numbers) + 1)))  # the first ones stay the same
            chosen: Noise = tuple(
                torch.zeros_like(part[:1]) if number is None else part[number : number + 1]
                for part, number in zip(self.noise, levels, strict=True)
            )
            return self._decoded(self.prediction.logits(chosen))

    def _drawn(self, count: int) -> Noise:
        return self.prediction.draw_noise(count, generators_of(self.sampling.seed, [self.stored.name]))

    @property
    def num_pixels(self) -> int:
        """Of the window."""
        return int(self.size[0] * self.size[1])

    def _decoded(self, logits: Tensor) -> Decoded:
        """Logits `(1, 1, C, *spatial)` in the pixels of the window."""
        probabilities = logits[0, 0].softmax(0)
        own = 1 - probabilities[0] if self.about.has_background else probabilities.amax(0)
        labels = resized(most_likely(logits)[0].cpu(), self.size)[0]
        return Decoded(labels.numpy(), resized(own[None].cpu(), self.size)[0].numpy())
