"""The command line. What a command needs is imported when it runs, so that `plurimask --help` answers at once."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module

from plurimask.errors import InputError, one_line, shown, unknown_name
from plurimask.version import __version__

COMMANDS = {
    "train": "train a method on a folder of images and masks",
    "evaluate": "measure how well a run's samples match the raters' disagreement",
    "predict": "draw plausible masks for new images",
    "combine": "join runs that were trained apart to an ensemble",
    "compare": "train several methods with one budget each, and set them side by side",
    "report": "one HTML page: data, training, samples, metrics",
    "figures": "the figures of that page as files",
    "check": "say what is in a data set, how much its raters agree, and what a perfect model would score",
    "import": "copy the images and masks of any tree of files into the plain layout",
    "methods": "list the methods, their presets and papers",
    "demo": "the main job on a built-in world, in a few minutes",
}

MODULES = {"import": "import_files"}
"""Of commands whose name is none for a module."""

USAGE = """\
plurimask {version}: probabilistic segmentation of ambiguous images

usage: plurimask COMMAND ...        (plurimask COMMAND --help tells more)

{commands}

Start here:

  plurimask demo --out demo
  plurimask check DATA
  plurimask train DATA --method probabilistic-unet --out RUN
  plurimask report RUN DATA --out report.html
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0, 2 for input that a person can mend, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal cannot show is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
        print(USAGE.format(version=__version__, commands="\n".join(lines)))
        return 0
    if arguments[0] in ("-V", "--version"):
        print(__version__)
        return 0
    try:
        for word in arguments:
            _refuse_impossible(word)
        if arguments[0] not in COMMANDS:
            raise unknown_name("command", arguments[0], COMMANDS)
        module = MODULES.get(arguments[0], arguments[0])
        code: int = import_module(f"plurimask.commands.{module}").main(arguments[1:])
        return code
    except InputError as error:
        print(f"plurimask: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except OSError as error:
        print(one_line(f"plurimask: {error.filename or 'a file'}: {error.strerror or error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("plurimask: interrupted", file=sys.stderr)
        return 130


def _refuse_impossible(word: str) -> None:
    """Raise `InputError` if no shell gives such a word and no file has such a name."""
    try:
        impossible = b"\0" in os.fsencode(word)
    except UnicodeEncodeError:
        impossible = True
    if impossible:
        raise InputError(f"{shown(word)}: a word that no file or option is called: correct it")
