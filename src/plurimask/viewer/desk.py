"""All that the viewer knows and does, without a word of HTTP: runs, images, predictions, latents, scores and masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plurimask.distribution import IGNORE
from plurimask.errors import InputError, is_out_of_memory
from plurimask.metrics.maps import label_map_of
from plurimask.prediction.predict import Sampling
from plurimask.prediction.readings import class_areas
from plurimask.prediction.whole import whole_map
from plurimask.runs.load import Run
from plurimask.version import __version__
from plurimask.viewer.bundle import Scaled, pack, scaled, step_of, unpack
from plurimask.viewer.cache import Cache
from plurimask.viewer.errors import NotFound
from plurimask.viewer.gallery import Gallery
from plurimask.viewer.latents import Explorer
from plurimask.viewer.pictures import classes_of, image_bundle, thumbnail
from plurimask.viewer.predicting import Shown, ShownRun, predicted_of, show, shown_run
from plurimask.viewer.saving import Choice, LatentChoice, Saving, ScalesChoice, chosen_map
from plurimask.viewer.work import Job, threads_for
from plurimask.viewer.worklist import WorkList

PREDICTION_BYTES, EXPLORER_BYTES, PICTURE_BYTES = 2**29, 2**28, 2**26
"""Kept of predictions, of encoded images, and of thumbnails."""
_FEW_PIXELS = 2**18
"""Up to which one thread decodes."""


def require_alike(runs: Sequence[Run]) -> None:
    """Raise `InputError` if runs cannot be shown side by side: of other classes or channels."""
    first, *others = (run.record.data for run in runs)
    for run, about in zip(runs[1:], others, strict=True):
        for what, own, expected in (
            ("classes", about.class_names, first.class_names),
            ("channels", about.channel_names, first.channel_names),
        ):
            if own != expected:
                raise InputError(
                    f"{run.folder}: the {what} are {', '.join(own)}, those of {runs[0].folder} {', '.join(expected)}: "
                    "only runs of the same data are shown side by side"
                )


class Desk:
    """What requests are answered from. All methods but `read` and what uses it alone belong into the worker's thread.

    Args:
        runs: at least one, alike.
        gallery: the images.
        sampling: of every prediction.
        out: the folder for masks that are saved.
    """

    def __init__(self, runs: Sequence[Run], gallery: Gallery, sampling: Sampling, out: Path) -> None:
        require_alike(runs)
        self.runs = [shown_run(run) for run in runs]
        self.about = runs[0].record.data
        self.gallery, self.sampling = gallery, sampling
        self.saving = Saving(out, self.about)
        self.work_list = WorkList(gallery, len(runs))
        self.predictions: Cache[tuple[int, int], Shown] = Cache(PREDICTION_BYTES)
        self.explorers: Cache[tuple[int, int], Explorer] = Cache(EXPLORER_BYTES)
        self.thumbnails: Cache[tuple[int, int | None], bytes] = Cache(PICTURE_BYTES)

    def run(self, number: int) -> ShownRun:
        """A run; `NotFound` if there is none of this number."""
        if not 0 <= number < len(self.runs):
            raise NotFound(f"there is no run {number}")
        return self.runs[number]

    # ---- of stored images ---------------------------------------------------------------------------------------

    def image(self, number: int) -> bytes:
        """The bundle of an image as it is stored."""
        stored, opened = self.gallery.read(number), self.gallery.opened
        return image_bundle(number, stored, self.about, opened.rater_names if opened else (), self.sampling.seed)

    def plain_thumbnail(self, number: int) -> bytes:
        """The image alone, in small."""
        kept = self.thumbnails.get((number, None))
        if kept is None:
            stored = self.gallery.read(number)
            cut = self.runs[0].run.record.preprocessing.cut(stored.image)
            kept = thumbnail(cut.numpy(), None, classes_of(self.about))
            self.thumbnails.put((number, None), kept, len(kept))
        return kept

    def upload(self, file_name: str, content: bytes) -> dict[str, Any]:
        """Take an image that was dropped in."""
        number, gone = self.gallery.uploads.add(file_name, content, self.about.channel_names)
        for old in gone:
            self.forget(old)
        self.work_list.changed()
        return {"id": number, "name": self.gallery.name(number)}

    def remove_upload(self, number: int) -> None:
        """Forget an image that was dropped in, and all that was computed of it."""
        self.gallery.uploads.remove(number)
        self.forget(number)

    def forget(self, number: int) -> None:
        """Drop what was computed of an image."""
        for run in range(len(self.runs)):
            self.predictions.drop((number, run))
            self.explorers.drop((number, run))
            self.thumbnails.drop((number, run))
        self.thumbnails.drop((number, None))
        self.work_list.forget(number)

    # ---- of predictions -----------------------------------------------------------------------------------------

    def prediction(self, number: int, run: int, job: Job, is_spare: bool = False) -> Shown:
        """What a run predicts for an image; of a spare job nothing that was asked for makes way."""
        key = number, run
        kept = self.predictions.get(key)
        if kept is None:
            one = self.run(run)
            made, predicted = show((number, run), one, self.gallery.read(number), self.sampling, job)
            small = thumbnail(predicted.image, predicted.samples, classes_of(self.about))
            self.thumbnails.put(key, small, len(small))
            self.predictions.put(key, made, len(made.bundle), only_if_free=is_spare)
            self.work_list.scored(run, number, made.scores)
            kept = made
        return kept

    def spare(self) -> Callable[[Job], Any] | None:
        """What to do while nothing is asked for: the next image of the list that has no scores."""
        wanted = self.work_list.next_to_score()
        if wanted is None:
            return None
        run, number = wanted

        def score(job: Job) -> None:
            try:
                self.prediction(number, run, job, is_spare=True)
            except Exception as error:  # told when somebody opens the image
                if not isinstance(error, InputError) and not is_out_of_memory(error):
                    raise
                self.work_list.scored(run, number, None)

        return score

    # ---- of latents ---------------------------------------------------------------------------------------------

    def explorer(self, number: int, run: int) -> Explorer:
        """An image with its encoder run."""
        key = number, run
        kept = self.explorers.get(key)
        if kept is None:
            kept = Explorer(self.run(run).run, self.gallery.read(number), self.sampling)
            self.explorers.put(key, kept, kept.num_bytes)
        return kept

    def latent(self, number: int, run: int) -> dict[str, Any]:
        """What the page must know of an image's latents."""
        if self.run(run).latent is None:
            self.gallery.name(number)
            return {"kind": None}
        return self.explorer(number, run).content()

    def decoded(self, number: int, run: int, where: LatentChoice | ScalesChoice) -> bytes:
        """The bundle of what is decoded from chosen latents."""
        labels, probability = self._decode(number, run, where)
        step = step_of((labels.shape[0], labels.shape[1]))
        meta = {"areas": class_areas(labels, self.about.num_classes).tolist(), "step": step}
        thin = labels[::step, ::step], scaled(probability[::step, ::step], 1.0)
        return pack(meta, {"labels": thin[0], "probability": thin[1]})

    def _decode(
        self, number: int, run: int, where: LatentChoice | ScalesChoice
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        if self.run(run).latent is None:
            raise NotFound(f"the run {self.run(run).name} has no latents to choose")
        explorer = self.explorer(number, run)
        with threads_for(explorer.num_pixels, _FEW_PIXELS):
            if isinstance(where, LatentChoice):
                return explorer.at(where.x, where.y, where.base)
            return explorer.of_levels(where.levels)

    # ---- of masks that are saved --------------------------------------------------------------------------------

    def chosen(self, number: int, run: int, choice: Choice, job: Job) -> NDArray[np.uint8]:
        """The label map `(h, w)` of a choice, in the window."""
        if isinstance(choice, LatentChoice | ScalesChoice):
            return self._decode(number, run, choice)[0]
        shown = self.prediction(number, run, job)
        _, arrays = unpack(shown.bundle)
        medoids = [one.medoid for one in shown.readings]
        samples, likely, mean = arrays["samples"], arrays["most_likely"], arrays["mean"]
        if shown.step > 1:  # the page has every k-th pixel: all of them are predicted again
            again = predicted_of(self.run(run).run, self.gallery.read(number), self.sampling, job)
            samples, mean = again.samples, scaled(again.mean, 1.0)
            likely = label_map_of(torch.as_tensor(again.mean)).numpy()
        assert isinstance(mean, Scaled) and not isinstance(samples, Scaled) and not isinstance(likely, Scaled)
        return chosen_map(choice, samples, likely, mean.stored, medoids, self.about.has_background)

    def preview(self, number: int, run: int, choice: Choice, job: Job) -> bytes:
        """The bundle of what would be saved."""
        labels = self.chosen(number, run, choice, job)
        step = step_of((labels.shape[0], labels.shape[1]))
        areas = class_areas(labels, self.about.num_classes).tolist()
        return pack({"areas": areas, "step": step}, {"labels": labels[::step, ::step]})

    def save(self, number: int, run: int, choice: Choice, overwrite: bool, job: Job) -> dict[str, Any]:
        """Write the mask of a choice."""
        labels, one = self.chosen(number, run, choice, job), self.run(run)
        preprocessing = one.run.record.preprocessing
        height, width = self.gallery.read(number).image.shape[-2:]
        outside = 0 if self.about.has_background else IGNORE
        whole = whole_map(labels, preprocessing.window((height, width)), (height, width), outside)
        told = {
            "choice": choice.model_dump(),
            "run": {"folder": one.name, "method": one.run.record.method, "identity": one.run.record.identity},
            "seed": self.sampling.seed,
            "num_samples": self.sampling.num_samples,
            "plurimask": __version__,
        }
        written = self.saving.save(number, self.gallery.name(number), whole, told, overwrite)
        self.work_list.changed()
        return {**written, "areas": class_areas(whole, self.about.num_classes).tolist()}

    def undo(self, token: int | None) -> dict[str, Any]:
        """Undo a save."""
        done = self.saving.undo(token)
        self.work_list.changed()
        return done
