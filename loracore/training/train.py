"""The whole way of `loracore train`: data, output folder, phases, loop."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pluggy

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import LoggingOptions, ProcessOptions, SavingOptions, ValidationOptions
from loracore.config.sharding import Sharding
from loracore.data.reading import reading_of
from loracore.data.scan_messages import be, counted
from loracore.data.scanning import scan
from loracore.training.assembly.assembling import assemble_run
from loracore.training.assembly.network_weights import read_network_weights, read_on_resume
from loracore.training.assembly.plan import Plan, choose_seed
from loracore.training.assembly.rehearsing import rehearse
from loracore.training.failing_together import failing_together
from loracore.training.in_step import check_in_step, sharding_notes
from loracore.training.planning.auto_memory import with_memory
from loracore.training.processes import join_processes
from loracore.training.results.outputs import ResultFiles, guarded, result_files
from loracore.training.run import Run
from loracore.training.state.content import restore
from loracore.training.state.folder import clean_states
from loracore.training.state.resuming import Resumed, state_to_resume
from loracore.training.state.starting import run_start
from loracore.training.steps.control import stopped_by_signals
from loracore.training.steps.loop import train_loop
from loracore.training.telling.console_logging import console_logging
from loracore.training.uploading.fetching import resumed_from_hub
from loracore.training.watchdogs.out_of_memory import explaining


@stopped_by_signals()
def train(
    config: Config,
    plugins: pluggy.PluginManager,
    datasets: Sequence[DatasetSpec],
    notes: Sequence[str] = (),
    sharding: Sharding | None = None,
) -> Path | None:
    """Train as the options say and return the path of the final file, None in all processes but the main one.

    SIGTERM and SIGHUP stop it as Ctrl-C does: at once while it loads and encodes (KeyboardInterrupt), behind a step
    later.
    Raises LoracoreError for data, models and folders that cannot be used, before anything is loaded wherever the
    fault can be seen by then.
    """
    processes = join_processes(config[ProcessOptions], sharding)
    check_in_step(processes, datasets)
    notes = [*notes, *sharding_notes(processes, asked=sharding is not None)]
    config = resumed_from_hub(config)
    files = result_files(config[SavingOptions])
    resumed = state_to_resume(config, files.states)
    seed = choose_seed(config, processes) if resumed is None or resumed.seed is None else resumed.seed
    config = config.with_datasets(datasets)
    fresh = resumed is None or resumed.content is None
    weights, left_out = read_network_weights(config) if fresh or read_on_resume(config) else (None, [])
    hold = guarded(files, overwrite=_may_overwrite(config, files, resumed)) if processes.main else nullcontext()
    with console_logging(config, shown=processes.main), failing_together(processes), hold:
        if processes.main:
            clean_states(files.states)
        scanned = scan(datasets, reading_of(config, seed), show=processes.main and config[LoggingOptions].shows_bars)
        notes = [*notes, *left_out, *scanned.training.warnings, *_held_out(len(scanned.validation), config)]
        start, said = run_start(resumed, config, scanned.training, datasets, processes.count)
        plan = Plan(config, plugins.hook, processes, seed, datasets, scanned, weights, [*notes, *said], start)
        with explaining(config, "loading"):
            run = assemble_run(with_memory(rehearse(plan)), files)
        begin(run, resumed)
        train_loop(run)
        if run.results.saver is not None:
            run.results.saver.check()
    return files.final if processes.main else None


def begin(run: Run, resumed: Resumed | None) -> None:
    """Bring a run to where it begins: to the state that it resumes, or its rates to behind the steps left out."""
    if resumed is not None and resumed.content is not None:
        restore(run.resumable, resumed.content)
        return
    for _ in range(run.start.taken):
        run.moving.schedule.step()


def _may_overwrite(config: Config, files: ResultFiles, resumed: Resumed | None) -> bool:
    """Tell whether results of this name may be replaced: a run that goes on replaces its own."""
    names = files.states
    own = resumed is not None and resumed.path is not None and names.holds(resumed.path)
    return own or config[SavingOptions].overwrite


def _held_out(count: int, config: Config) -> Sequence[str]:
    """Return what is said of pictures that are not trained on."""
    if not count:
        return ()
    are = f"{counted(count, 'picture')} {be(count)}"
    never = "" if config[ValidationOptions].validates else ", and never looked at: validation is off"
    return (f"{are} held out by validation_split{never}",)
