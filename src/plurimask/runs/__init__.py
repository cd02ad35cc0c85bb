"""The run folder: what to train, the record of what was trained, training into it, loading, joining.

The lowest room that knows the methods by name.
"""
