"""`plurimask methods`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plurimask.commands.parsing import parse

DESCRIPTION = "List the methods, what each is in one line, its presets and its paper."


@dataclass(frozen=True)
class MethodsOptions:
    pass


def main(arguments: Sequence[str]) -> int:
    parse(MethodsOptions, arguments, "methods", DESCRIPTION)

    from plurimask.methods import METHODS
    from plurimask.methods.presets import PRESETS

    for name, method in METHODS.items():
        print(f"{name}\n    {method.summary}\n    {method.paper}")
        for preset, content in PRESETS[name].items():
            print(f"    --preset {preset}: {content.summary}")
    return 0
