"""The parts of training: batches, the adapter to Lightning, and what is kept on disk. `plurimask.train` joins them."""
