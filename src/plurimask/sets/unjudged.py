"""The label of pixels that nobody judged, for those who read data and need no torch yet."""

from __future__ import annotations

IGNORE = 255
"""The label of a pixel that nobody judged. An absent rater is a map of IGNORE; one who saw nothing is one of 0."""
