"""The command line. What a command needs is imported when it runs, so that `plurimask --help` answers at once."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from importlib import import_module

from plurimask.errors import InputError, is_out_of_memory, one_line, shown, unknown_name
from plurimask.training.signals import ending, exit_code, last_signal, own_process
from plurimask.version import __version__

COMMANDS = {
    "train": "train a method on a folder of images and masks",
    "evaluate": "measure how well a run's samples match the raters' disagreement",
    "predict": "draw plausible masks for new images",
    "combine": "join runs that were trained apart to an ensemble",
    "compare": "train several methods with one budget each, and set them side by side",
    "view": "look at a run's samples in the browser, beside the raters; save the mask that you choose",
    "report": "one HTML page: data, training, samples, metrics",
    "figures": "the figures of that page as files",
    "check": "say what is in a data set, how much its raters agree, and what a perfect model would score",
    "import": "copy the images and masks of any tree of files into the plain layout",
    "methods": "list the methods, their presets and papers",
    "demo": "the main job on a built-in world, in a few minutes",
}

MODULES = {"import": "import_files"}
"""Of commands whose name is none for a module."""

_TRAINING = "a smaller --crop, --batch-size or --raters-per-step, --resize, or fewer or narrower --channels"
LESS_MEMORY = {
    "train": f"{_TRAINING}; for validations a smaller --validation-crop",
    "compare": f"{_TRAINING}; for evaluations fewer --samples",
    "evaluate": "fewer --samples, a smaller --batch-size, or smaller images",
    "predict": "fewer --samples, a smaller --batch-size, or images cut into parts",
    "view": "fewer --samples, or smaller images",
    "report": "fewer --samples, or smaller images",
    "figures": "fewer --samples, or smaller images",
}
"""What to change where memory does not suffice; for all other commands: smaller images."""

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
    """Run a command. Returns the exit code: 0, 2 for input that a person can mend, and 128 + the number of a signal
    that ended it (`plurimask.training.signals`): 130 after Ctrl-C, 143 after SIGTERM."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal cannot show is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    if arguments is not None:
        return _command(arguments)
    over = own_process()
    code = _command(sys.argv[1:])
    with suppress(OSError):  # whoever read it is gone
        sys.stdout.flush()
    over(code)
    return code


def _command(arguments: list[str]) -> int:
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
        with ending():
            return _run(arguments[0], arguments[1:])
    except InputError as error:
        print(f"plurimask: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return _ended()
    except Exception as error:
        if last_signal() is not None:  # what a signal breaks off, as an import, may say so in its own way
            return _ended()
        if is_out_of_memory(error):
            advice = LESS_MEMORY.get(arguments[0], "smaller images")
            print(f"plurimask: the memory does not suffice: take {advice}, or a larger machine", file=sys.stderr)
            return 2
        if not isinstance(error, OSError):
            raise
        print(one_line(f"plurimask: {error.filename or 'a file'}: {error.strerror or error}"), file=sys.stderr)
        return 2


def _ended() -> int:
    print(f"plurimask: ended by {last_signal() or 'Ctrl-C'}", file=sys.stderr)
    return exit_code()


def _run(command: str, arguments: list[str]) -> int:
    if command not in COMMANDS:
        raise unknown_name("command", command, COMMANDS)
    module = MODULES.get(command, command)
    code: int = import_module(f"plurimask.commands.{module}").main(arguments)
    return code


def _refuse_impossible(word: str) -> None:
    """Raise `InputError` if no shell gives such a word and no file has such a name."""
    try:
        impossible = b"\0" in os.fsencode(word)
    except UnicodeEncodeError:
        impossible = True
    if impossible:
        raise InputError(f"{shown(word)}: a word that no file or option is called: correct it")
