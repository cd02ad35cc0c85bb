"""`plurimask view`: a local server of one page on which a run's samples are looked at. Its sources are in `viewer/`."""
