"""Built-in worlds: images whose readers follow a law that is known, so that samples can be held against the truth."""
