from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from loracore.data.store.memory import MemoryStore
from loracore.data.store.store import Store
from loracore.training.caches.sharing import Sharing

_COUNT = 100
_CODE = """
import sys, time
from pathlib import Path
import torch
from loracore import hookimpl
from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.data.reading import Reading
from loracore.data.scanning import scan
from loracore.data.store.store import Store
from loracore.training.caches import sharing
from loracore.training.caches.encoding import encode_pictures, encode_texts
from loracore.training.assembly.phases import Loading
from loracore.training.caches.picture_keys import picture_keys

class Slow:
    done = 0
    @hookimpl(wrapper=True)
    def encode_images(self, images):
        return (yield from self.slowly(len(images)))
    @hookimpl(wrapper=True)
    def encode_text(self, captions):
        return (yield from self.slowly(len(captions)))
    def slowly(self, count):
        time.sleep(0.03 * count)
        self.done += count
        return (yield)

config, folder, what, count = sys.argv[1:]
sharing._SECONDS = 0.1
request, slow = read_request([config, "--text_encoder_batch_size", "1"]), Slow()
request.plugins.register(slow)
loading = Loading(request.plugins.hook, torch.device("cpu"), torch.float32, request.config)
index = scan(read_datasets(request.config, request.document), Reading()).training
keys, store = picture_keys(loading, index, on_disk=True), Store(Path(folder))
loading.models("vae", "text")
print("ready", flush=True)
sys.stdin.readline()
if what == "captions":
    captions = [f"caption {number}" for number in range(int(count))]
    encode_texts(loading, store, bytes(16), captions, ("text",), hits=0, show=False)
else:
    encode_pictures(loading, index, store, keys.missing(store), hits=0, show=False)
print(slow.done, flush=True)
"""


@pytest.mark.parametrize("what", ["captions", "pictures"])
def test_two_runs_that_fill_at_once_share_the_work(what: str, toy_config: Path, pictures: Path, tmp_path: Path) -> None:
    for number in range(6, _COUNT):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text(f"caption {number}", "utf-8")
    command = [sys.executable, "-c", _CODE, str(toy_config), str(tmp_path / "shared"), what, str(_COUNT)]
    runs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"  # both begin when both have loaded their models
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    done = [int(run.communicate()[0]) for run in runs]
    assert Store(tmp_path / "shared").usage()[0] == _COUNT
    assert min(done) < _COUNT
    assert sum(done) <= _COUNT * 1.3


def test_each_filling_of_a_shared_store_has_an_order_of_its_own(tmp_path: Path) -> None:
    chunks = list(range(1000))
    first, second = (Sharing.of(Store(tmp_path)).shuffled(chunks) for _ in range(2))
    assert sorted(first) == sorted(second) == chunks
    assert first != second
    assert Sharing.of(MemoryStore()).shuffled(chunks) == chunks
