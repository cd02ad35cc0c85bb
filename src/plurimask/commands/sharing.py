"""Options of commands that work on many images: which of them, and who does it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

CohortPart = Annotated[
    str | None,
    Field(description="a share of the images, such as 3/20: twenty calls with 1/20 to 20/20 do all of them"),
]
DaskWorkers = Annotated[
    str | None,
    Field(
        description="let workers of Dask do it: local[N] for N processes here, or the address of a scheduler that you "
        "trust (pip install 'plurimask[dask]')"
    ),
]
Memory = Annotated[
    str | None,
    Field(
        description="what the program may take, such as 4GB: images that would need more are computed in tiles; by "
        "default 80 % of the machine or its container"
    ),
]
