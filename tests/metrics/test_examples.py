"""The examples in the docstrings of the metrics run, and give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import plurimask.metrics

MODULES = [module.name for module in pkgutil.iter_modules(plurimask.metrics.__path__)]
WITH_EXAMPLES = {
    "calibration",
    "distance",
    "energy_distance",
    "error_detection",
    "hungarian",
    "modes",
    "names",
    "overlap",
    "reconstruction",
    "scores",
    "uncertainty",
    "volumes",
}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(f"plurimask.metrics.{name}"))
    assert found.failed == 0
    assert (found.attempted > 0) == (name in WITH_EXAMPLES)
