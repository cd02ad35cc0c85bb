"""Several methods on one data set: trained or loaded, measured alike, and set side by side in a table and a page."""
