"""From images to samples and statistics, and to files.

The device, the precision and the seeds of every prediction are decided here, for training and evaluation too. It knows
the interface of a method, and none by name.
"""
