"""Sets of label maps: how far maps are from each other, and the few with weights that stand for many."""
