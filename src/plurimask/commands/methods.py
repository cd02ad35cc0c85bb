"""`plurimask methods`."""

from __future__ import annotations

from collections.abc import Sequence

from plurimask.commands.parsing import Options, console, parse
from plurimask.errors import InputError


class MethodsOptions(Options):
    """List the methods, what each is in one line, its presets and its paper."""


def main(arguments: Sequence[str]) -> int:
    parse(MethodsOptions, arguments, "methods")

    from plurimask.methods import find_method, method_names
    from plurimask.methods.presets import presets_of

    for name in method_names():
        try:
            method = find_method(name)
        except InputError as error:  # of another package: the rest is listed nevertheless
            console().print(f"{name}\n    {error}", markup=False)
            continue
        print(f"{name}\n    {method.summary}\n    {method.paper}")
        for preset, content in presets_of(name).items():
            print(f"    --preset {preset}: {content.summary}")
    return 0
