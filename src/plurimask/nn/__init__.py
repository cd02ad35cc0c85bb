"""Building blocks that methods share. They know no method."""
