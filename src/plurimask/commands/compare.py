"""`plurimask compare DATA --methods A B C --out FOLDER`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from plurimask.commands.parsing import (
    Data,
    Flips,
    Foreground,
    Group,
    ImagePattern,
    MaskPatterns,
    Options,
    PatientGroup,
    Split,
    console,
    place_of,
    read,
)
from plurimask.commands.settings import read_settings
from plurimask.errors import InputError, shown, unknown_name
from plurimask.files.writing import remove_temporaries
from plurimask.methods.presets import DEFAULT_PRESET
from plurimask.pretrained import folder_of
from plurimask.training.config import TrainingConfig
from plurimask.training.signals import exit_code

if TYPE_CHECKING:
    from plurimask.compare.contenders import Contender
    from plurimask.data import DataSource
    from plurimask.runs.staging import Staging


class CompareOptions(Options):
    """Train several methods on DATA with one budget each, or take runs that are there, evaluate all on the same
    images with the same seed, and write a table, figures and a page with every image. Interrupted, the same
    command continues. The settings of the training follow the general options.
    """

    data: Data = None
    images: ImagePattern = None
    masks: MaskPatterns = ()
    foreground: Foreground = False
    out: Path = Field(description="the folder to write; what an interrupted call left there is continued")
    methods: tuple[str, ...] = Field((), description="what to train; `plurimask methods` lists them")
    runs: tuple[Path, ...] = Field((), description="run folders to compare beside them")
    preset: str = Field(DEFAULT_PRESET, description="named settings to start from, of each method")
    config: Path | None = Field(
        None, description="YAML file of settings for all, and by the name of a method for that one"
    )
    split: Split = "val"
    samples: int = Field(16, ge=2, le=4096, description="samples per image")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="of the trainings and of the samples")
    group: PatientGroup = None
    flips: Flips = None
    overwrite: bool = Field(
        False, description="replace the comparison in --out, once the first training of the new one has ended"
    )


def main(arguments: Sequence[str]) -> int:
    training = TrainingConfig.model_fields
    group = Group("settings of the training", training, dict.fromkeys(training, "the preset's"))
    settings = read(CompareOptions, [group], arguments, "compare")
    general = settings.keys() & CompareOptions.model_fields.keys()
    options = CompareOptions(**{name: settings.pop(name) for name in general})

    from plurimask.compare.contenders import refuse_different
    from plurimask.runs.load import find_split, load_run

    # Everything that can be wrong is looked for before anything is trained, and that before anything is removed.
    contenders = _contenders(options, settings)
    source = _open(options)
    find_split(source, options.split)
    for run in options.runs:
        if Path(os.path.realpath(options.out / "runs")) in Path(os.path.realpath(run)).parents:
            raise InputError(f"--runs {run}: lies in --out; name its method by --methods, or give another --out")
    if options.runs:
        refuse_different([load_run(run) for run in options.runs])
    return _compare(options, contenders, source)


def _compare(options: CompareOptions, contenders: list[Contender], source: DataSource) -> int:
    from plurimask.compare.contenders import evaluate_contenders, train_contenders
    from plurimask.compare.write import write_comparison
    from plurimask.prediction.predict import Sampling
    from plurimask.runs.prepare import prepare

    say = console()
    with _writing(options) as staging, Bars(say) as watcher:
        if not train_contenders(contenders, source, options.out, watcher, prepare, staging):
            how = " without --overwrite" * options.overwrite
            say.print(f"Stopped; what is done is kept in {options.out}. Continue by the same command{how}.")
            return exit_code()
        sampling = Sampling(options.samples, options.seed)
        out = options.out if staging is None else staging.here(options.out)
        compared = evaluate_contenders(contenders, source, out, options.split, sampling, watcher)
        table = write_comparison(compared, source, out, watcher)
        if staging is not None:
            staging.settle()
    Console(markup=False, emoji=False).print(table, soft_wrap=True)
    say.print(f"All columns are in table.md and table.json beside {options.out / 'index.html'}")
    return 0


@contextmanager
def _writing(options: CompareOptions) -> Iterator[Staging | None]:
    """The folder of the comparison, for this process alone; a new comparison in place of another is built beside it."""
    from plurimask.compare.contenders import STATE_FILE, is_begun, is_comparison
    from plurimask.compare.write import OUTPUTS
    from plurimask.runs.folder import is_free
    from plurimask.runs.lock import FolderLock
    from plurimask.runs.staging import NEW, Staging, mend

    out, names = options.out, (STATE_FILE, *OUTPUTS)
    with FolderLock(out):
        mend(out, names, does_stand=not options.overwrite and is_begun(out / NEW))
        is_there = is_comparison(out)
        if not is_there and not is_free(out):
            raise InputError(f"{out} holds files, but no comparison, and nothing else is replaced: give another --out")
        remove_temporaries(out, ("evaluations", "figures"))
        with Staging(out, names) if is_there and options.overwrite else nullcontext() as staging:
            yield staging


def _contenders(options: CompareOptions, settings: dict[str, Any]) -> list[Contender]:
    from plurimask.compare.contenders import Contender
    from plurimask.methods import METHODS, find_method, method_names
    from plurimask.runs.plan import Plan, merged, resolve, settings_for

    if not options.methods and not options.runs:
        raise InputError("nothing to compare: name --methods to train, or --runs that are there")
    file = read_settings(options.config) if options.config else {}
    names = {name.replace("-", "_"): name for name in (*method_names(), *options.methods)}
    methods = {names[key]: value for key, value in file.items() if key in names}
    common = {key: value for key, value in file.items() if key not in names}
    known = set(TrainingConfig.model_fields)
    for name, own in methods.items():
        if not isinstance(own, dict):
            raise InputError(f"{options.config}: {name} is {shown(own)}, expected a table of settings of that method")
    members = common.get("members", [])
    if not isinstance(members, list) or not all(isinstance(name, str) for name in members):
        raise InputError(f"{options.config}: members is {shown(members)}, expected a list of names of methods")
    for name in (*METHODS, *options.methods, *members):
        known |= set(find_method(name).Config.model_fields)
    for key in sorted(common.keys() - known):
        raise unknown_name(f"setting or method in {options.config}", key, {*known, *names.values()})
    contenders = []
    for method in dict.fromkeys(options.methods):
        own = merged(merged(settings_for(method, common), methods.get(method, {})), settings)
        plan = Plan(method, options.preset, own, options.seed, options.group)
        resolve(plan)
        contenders.append(Contender(method.rpartition(":")[2], plan))
    contenders += [Contender(run.name, run=run) for run in map(folder_of, options.runs)]
    name, number = Counter(contender.name for contender in contenders).most_common(1)[0]
    if number > 1:
        raise InputError(f"two of the compared are called {name!r}: rename a run's folder")
    return contenders


def _open(options: CompareOptions) -> DataSource:
    from plurimask.data import open_data
    from plurimask.runs.load import open_run_data
    from plurimask.runs.record import read_record

    place = place_of(options)
    if not options.runs:
        return open_data(place, group=options.group, seed=options.seed, flips=options.flips)
    record = read_record(options.runs[0])  # its split, classes and flips
    if options.group is not None and options.group != record.group:
        raise InputError(f"--group {options.group}: {options.runs[0]} was split by {record.group!r}: leave it out")
    return open_run_data(record, place, options.flips)


class Bars:
    """A line for each stage, and a bar where the number of images is known. Follows `contenders.Watcher`."""

    def __init__(self, say: Console) -> None:
        self.say, self.progress = say, Progress(console=say, transient=True)
        self.task: Any = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def stage(self, text: str, total: int | None = None) -> None:
        self.progress.stop()
        self.say.print(text)
        if total is not None:
            self.progress = Progress(console=self.say, transient=True)
            self.task = self.progress.add_task(escape(text), total=total)
            self.progress.start()

    def image(self) -> None:
        self.progress.advance(self.task)
