"""What the figures of the table mean, in words: stored beside them."""

from __future__ import annotations

from plurimask.metrics.row import AVERAGED
from plurimask.metrics.table import TABLE, Table

GENERAL = (
    "d = 1 - IoU. IoU counts the classes in counted_classes (background is left out): it is the mean over those that "
    "are in at least one of the two maps, and 1 (d = 0) if none is. Per image only pixels that every present rater "
    "judged count, for samples and raters alike; a rater whose map is wholly ignored is absent; images without a "
    "common pixel are left out of the means and counted in num_undefined. What is pooled is summed over all pairs of a "
    "judged pixel and a rater of the data set before it is divided. subset_b: images on which at least two raters are "
    "present and each marked a counted class."
)
FLIPPING = (
    "Where classes flip at random, the raters are all modes with their exact probabilities: expectations over raters "
    "are weighted by these, ged_oracle = mu / n, hungarian_iou_balanced is an optimal transport from samples of equal "
    "weight, reconstructions are of the annotator's own map, only the classes that flip and their twins are "
    "counted_classes, and images of which the annotator marked none of them are left out."
)


def conventions(table: Table = TABLE) -> str:
    """What the figures mean, in words."""
    told = " ".join(f"{row.key}: {row.sentence} ({AVERAGED[row.over]})." for row in table)
    missing = "; ".join(f"{row.key} needs {row.needs}" for row in table if row.needs)
    return f"{GENERAL} {told} {FLIPPING} null: the figure does not exist ({missing})."


CONVENTIONS = conventions()
"""What the figures mean, in words: stored beside them."""
