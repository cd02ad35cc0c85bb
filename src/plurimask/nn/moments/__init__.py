"""Assumed density filtering: the mean and variance of every value of a network, in one forward pass."""

from plurimask.nn.moments.calibration import calibrate_moments
from plurimask.nn.moments.moments import Moments, Propagation
from plurimask.nn.moments.network import MomentNetwork, moment_network

__all__ = ["MomentNetwork", "Moments", "Propagation", "calibrate_moments", "moment_network"]
