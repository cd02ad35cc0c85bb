"""Methods from other packages: by the name of an entry point, or by an import path `package.module:Class`.

A package offers methods by name in its `pyproject.toml`:

    [project.entry-points."plurimask.methods"]
    my-method = "mypackage.mine:MyMethod"
"""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from plurimask.errors import InputError, reason_of, shown
from plurimask.method import MethodConfig, SegmentationMethod

GROUP = "plurimask.methods"


def offered(name: str) -> EntryPoint | None:
    """What an installed package offers by a name; None where none does.

    Raises:
        InputError: two packages offer different methods by this name.
    """
    points = list(entry_points(group=GROUP, name=name))
    values = sorted({point.value for point in points})
    if len(values) > 1:
        raise InputError(
            f"two installed packages offer a method {name}: {' and '.join(values)}: remove one of them, or name the "
            "method by its import path"
        )
    return points[0] if points else None


def import_method(path: str) -> type[SegmentationMethod]:
    """The class at `package.module:Class`.

    Raises:
        InputError: the module is not installed, has no such name, or that is no usable method.
    """
    module_name, _, name = path.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise InputError(f"method {shown(path)}: expected package.module:Class")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"method {path}: no module {error.name!r}: install the package that holds it, or put its folder on "
            "PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:  # a module runs when it is imported
        raise InputError(
            f"method {path}: {module_name} cannot be imported ({type(error).__name__}: {reason_of(error)}): mend it, "
            "or name another"
        ) from error
    found = getattr(module, name, None)
    if found is None:
        raise InputError(f"method {path}: nothing in {module_name} is called {name!r}: expected package.module:Class")
    if not (isinstance(found, type) and issubclass(found, SegmentationMethod)):
        raise InputError(f"method {path}: {found!r} is no subclass of plurimask.method.SegmentationMethod")
    missing = [name for name in ("Config", "summary", "paper") if not hasattr(found, name)]
    if inspect.isabstract(found):
        missing += sorted(found.__abstractmethods__)
    if missing:
        raise InputError(f"method {path}: {', '.join(missing)} must be there; see SegmentationMethod")
    if not issubclass(found.Config, MethodConfig):
        raise InputError(f"method {path}: Config must be a subclass of plurimask.method.MethodConfig")
    return found
