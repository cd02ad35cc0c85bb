"""Rows of the table for representatives: a few weighted maps that stand for many draws. They are computed when asked
for, since they need those draws.
"""

from __future__ import annotations

import math

from plurimask.metrics.row import MetricRow
from plurimask.metrics.table import TABLE, Table

DRAWS = 100
"""How many draws they stand for."""
NUMBERS = (16, 4)
"""How many there are at most."""


def _row(number: int, key: str) -> MetricRow:
    return MetricRow(
        key,
        f"GED of {number} representatives",
        f"the GED of the {number} maps, or fewer, with weights that stand best for {DRAWS} draws, those with the least "
        "energy distance to them, apart from all other figures, which are of independent draws of equal weight; it "
        "may be below ged_oracle, which is of such draws too",
        better="lower",
        raters="ged_oracle",
        empty="empty_ged",
        of_image=lambda image: image.ged_representatives.get(number, math.nan),
        source="Mak and Joseph 2018, Annals of Statistics 46",
    )


REPRESENTATIVES: Table = tuple(
    _row(number, f"ged_representatives{f'_{number}' * (number != 16)}") for number in NUMBERS
)
TABLE_WITH_REPRESENTATIVES: Table = (*TABLE, *REPRESENTATIVES)
