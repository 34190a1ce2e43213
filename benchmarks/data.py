"""Measures what data costs before and during training: scanning folders, remembering them, reading caches, loading.

``python benchmarks/data.py --out FOLDER`` makes folders of 10,000 and 100,000 small JPEG pictures with captions (once;
``--counts`` chooses others; a million take 8 GB of disk), writes data.json and data.md there and prints the table. Each
measurement is a process of its own. All files were written by this script, so that the file system's cache is warm.
Times are of one machine, for comparison within one run.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec

Figures = Mapping[str, float]

SIZES = ((1024, 1024), (832, 1216), (1216, 832), (1920, 1080), (1000, 1500), (768, 1344), (640, 480))
WORDS = (
    "photo",
    "small",
    "grey",
    "cat",
    "large",
    "dog",
    "in",
    "the",
    "snow",
    "on",
    "a",
    "green",
    "hill",
    "at",
    "night",
)
CAPTION_BYTES = 50
WARM_UP = 100  # pictures of a first scan, so that imports are not counted
CACHED = 1000  # pictures with cached latents and captions
SAMPLES = 6000  # of the loader, for each number of workers
READS = 3000  # of one cached sample


def make_pictures(folder: Path, count: int) -> None:
    """Write pictures whose headers are real and whose pixels are of one colour, and a caption beside each."""
    from PIL import Image

    done = folder.with_name(f"{folder.name}.complete")
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for size in SIZES:
        buffer = io.BytesIO()
        Image.new("RGB", size, (90, 120, 60)).save(buffer, "JPEG", quality=10)
        files.append(buffer.getvalue())
    rng = random.Random(0)  # noqa: S311  # sizes, not secrets
    for number in range(count):
        path = folder / f"{number:07}.jpg"
        path.write_bytes(rng.choice(files))
        path.with_suffix(".txt").write_text(" ".join(rng.choices(WORDS, k=16))[:CAPTION_BYTES], encoding="utf-8")
    done.touch()
    time.sleep(3)  # files of the last two seconds are read again: they might still change


def measure_scan(pictures: Path, work: Path) -> Figures:
    """Return the seconds of one scan, what stays resident, and what an epoch's order costs."""
    import psutil

    from loracore.data.reading import Reading
    from loracore.data.sampler import epoch_order
    from loracore.data.scanning import scan

    process = psutil.Process()
    scan([_dataset(work / str(WARM_UP))], Reading())
    before = process.memory_info().rss
    started = time.perf_counter()
    index = scan([_dataset(pictures)], Reading(keep=work / "tables")).training
    scanned = time.perf_counter() - started
    resident = process.memory_info().rss - before
    started = time.perf_counter()
    order = epoch_order(index, [4], 0, 0)
    ordered = time.perf_counter() - started
    started = time.perf_counter()
    assert order[len(order) // 2].rows
    found = time.perf_counter() - started
    return {
        "scan, s": scanned,
        "resident, bytes a picture": resident / len(index),
        "order of an epoch, s": ordered,
        "any batch of it, µs": found * 1e6,
    }


def measure_reading(pictures: Path, work: Path) -> Figures:
    """Return the median time of reading the latents of one picture of 1024² from a store on disk."""
    from loracore.data.store.store import Store
    from loracore.data.store.tensors import to_tensors

    _fill(pictures, work)
    store = Store(work / f"tensors-{pictures.name}")
    keys = [_key("latents", row) for row in range(CACHED)]
    rng = random.Random(1)  # noqa: S311  # an order
    taken = []
    for number in range(2 * READS):
        key = rng.choice(keys)
        started = time.perf_counter()
        to_tensors(store.read(store.slot(key)))
        if number >= READS:  # the first half warms up
            taken.append(time.perf_counter() - started)
    return {"cached latents of one picture (262 kB), median µs": statistics.median(taken) * 1e6}


def measure_loading(pictures: Path, work: Path) -> Figures:
    """Return how many cached samples a second reach a model that takes no time, and what workers cost in memory."""
    import numpy as np
    import psutil

    from loracore.data.cache import LatentCache, TextCache
    from loracore.data.loader import Loader, ahead
    from loracore.data.reading import Reading
    from loracore.data.sampler import MicroBatch, epoch_order
    from loracore.data.scanning import scan
    from loracore.data.store.store import Store
    from loracore.data.visits import Draws
    from loracore.types import Examples

    _fill(pictures, work)
    index = scan([_dataset(pictures, batch_size=4)], Reading(keep=work / "tables")).training.take(np.arange(CACHED))
    store = Store(work / f"tensors-{pictures.name}")
    keys = np.frombuffer(b"".join(_key("latents", row) for row in range(CACHED)), dtype=np.uint8).reshape(-1, 16)
    slots = np.stack([store.find(keys), np.full(CACHED, -1)], axis=1)
    loader = Loader(index, Draws(0, 1), [1.0], LatentCache(store, slots), TextCache(store, b""))

    def batches() -> Iterator[MicroBatch]:
        for epoch in range(SAMPLES // CACHED):
            yield from epoch_order(index, [4], 0, epoch)

    def load(batch: MicroBatch) -> Examples:
        return loader.examples(batch, 0, 0)

    process, figures = psutil.Process(), {}
    for workers in (0, 0, 1, 2, 8):  # the first pass warms up
        before, started = process.memory_info().rss, time.perf_counter()
        count = sum(len(examples.ids) for examples in ahead(load, batches(), workers))
        figures[f"samples/s, {workers} workers"] = count / (time.perf_counter() - started)
        figures[f"growth, {workers} workers, MB"] = (process.memory_info().rss - before) / 1e6
    return figures


MEASUREMENTS: Mapping[str, Callable[[Path, Path], Figures]] = MappingProxyType(
    {"scan": measure_scan, "reading": measure_reading, "loading": measure_loading}
)


def main(arguments: Sequence[str]) -> None:
    """Run every measurement and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of data.json and data.md")
    parser.add_argument("--work", type=Path, default=Path("benchmark-data"), help="folder of pictures and caches")
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--measure", choices=MEASUREMENTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        figures = MEASUREMENTS[options.measure](options.work / str(options.counts[0]), options.work)
        print(json.dumps(dict(figures)))
        return
    for count in (WARM_UP, *options.counts):
        make_pictures(options.work / str(count), count)
    found = _every_figure(options.work, options.counts, options.runs)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "data.json").write_text(json.dumps({"machine": platform.platform(), **found}, indent=1), "utf-8")
    table = "\n".join(_table(found))
    (options.out / "data.md").write_text(f"{table}\n", encoding="utf-8")
    print(table)


def _every_figure(work: Path, counts: Sequence[int], runs: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for count in counts:
        first, second = [], []
        for _ in range(runs):
            shutil.rmtree(work / "tables", ignore_errors=True)
            first.append(_measured("scan", work, count))
            second.append(_measured("scan", work, count))
        found[f"{count:,} pictures, first scan"] = _medians(first)
        found[f"{count:,} pictures, second start"] = _medians(second)
    for name in ("reading", "loading"):
        found[name] = _medians([_measured(name, work, counts[0]) for _ in range(runs)])
    return found


def _measured(name: str, work: Path, count: int) -> Figures:
    """Return the figures of one process."""
    words = [sys.executable, __file__, "--out", str(work), "--work", str(work), "--counts", str(count)]
    done = subprocess.run([*words, "--measure", name], capture_output=True, text=True, check=True)  # noqa: S603  # ours
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _medians(several: Sequence[Figures]) -> dict[str, float]:
    return {name: statistics.median(figures[name] for figures in several) for name in several[0]}


def _table(found: Mapping[str, Figures]) -> Iterator[str]:
    yield "| what | figure | median |"
    yield "|---|---|---:|"
    for what, figures in found.items():
        yield from (f"| {what} | {name} | {value:,.3g} |" for name, value in figures.items())


def _dataset(pictures: Path, batch_size: int = 1) -> DatasetSpec:
    from loracore.config.dataset_spec import DatasetSpec, SubsetSpec

    subset = SubsetSpec(pictures, 1, "benchmark", caption_extension=".txt")
    return DatasetSpec(
        resolution=(1024, 1024),
        batch_size=batch_size,
        enable_bucket=True,
        min_bucket_reso=256,
        max_bucket_reso=2048,
        bucket_reso_steps=64,
        bucket_no_upscale=False,
        subsets=(subset,),
    )


def _key(kind: str, row: int) -> bytes:
    return hashlib.blake2b(f"{kind} {row}".encode("ascii"), digest_size=16).digest()


def _fill(pictures: Path, work: Path) -> None:
    """Store latents of 1024² (4 channels) and SDXL's encoded captions for the first pictures."""
    import torch

    from loracore.data.cache import append
    from loracore.data.cache_keys import text_key
    from loracore.data.store.store import Store

    with Store(work / f"tensors-{pictures.name}") as store:
        if store.slot(_key("latents", CACHED - 1)) >= 0:
            return
        for row in range(CACHED):
            pair = torch.randn(2, 4, 128, 128).half()
            append(store, _key("latents", row), {"mean": pair[0], "log_variance": pair[1]})
            caption = (pictures / f"{row:07}.txt").read_text(encoding="utf-8").strip()
            text = {"context": torch.randn(77, 2048).bfloat16(), "pooled": torch.randn(1280).bfloat16()}
            append(store, text_key(b"", caption), text)


if __name__ == "__main__":
    main(sys.argv[1:])
