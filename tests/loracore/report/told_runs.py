"""Events of runs that never were, as a file of them: long ones, and ones that hold anything."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

Event = Mapping[str, Any]

SCRIPT = "<script>document.title = 'taken over'</script>"


def event(kind: str, step: int, **values: Any) -> Event:
    return {"time": 1.7e9 + step, "kind": kind, "step": step, **values}


def started(step: int = 0, steps: int = 1000, *, resumed: bool = False) -> Event:
    config = {"output_name": "fish", "arch": "toy", "network_dim": 4, "learning_rate": 1e-4, "tags": ["a", "b"]}
    environment = {"device": "cpu", "seed": 1, "command": "loracore train fish.toml", "versions": {"torch": "2.13.0"}}
    length = {"steps": steps, "epochs": 10, "steps_per_epoch": steps // 10}
    notes = [f"a caption says {SCRIPT}"]
    values = {"environment": environment, "notes": notes, "length": length, "resumed": resumed}
    return event("started", step, config=config, given=["learning_rate"], **values)


def step(number: int, loss: float | None = None) -> Event:
    wave = 0.1 + 0.2 / (1 + number / 200) + 0.05 * math.sin(number * 12.9898) * math.cos(number * 78.233)
    average = 0.1 + 0.2 / (1 + number / 200)
    rates = {"unet": 1e-4 * min(1.0, number / 100), "te1": 5e-5}
    values = {"loss": wave if loss is None else loss, "average": average, "grad_norm": 1.0, "skipped": False}
    return event("step", number, epoch=1 + number // 100, lr=rates, **values)


def preview(number: int, index: int, path: Path) -> Event:
    prompt = f"a striped fish, prompt {index} {SCRIPT if index else ''}"
    return event(
        "preview", number, path=str(path), prompt=prompt, negative_prompt="", index=index, seed=7, scope="step"
    )


def whole_run(folder: Path, steps: int = 1000) -> list[Event]:
    """Return the events of a run with everything that a page shows, and draw its previews into a folder."""
    found = [started(steps=steps)]
    for number in range(1, steps + 1):
        found.append(step(number))
        if number == 333:
            found.append(event("skipped", number, ids=["pictures/1.png"], epoch=4))
        if number % 200 == 0:
            bands = {"200": 0.05 + 10 / number, "800": 0.2 + 20 / number}
            loss = 0.12 + 15 / number
            found.append(event("validation", number, epoch=2, scope="step", loss=loss, bands=bands, divergence=0.01))
            found += [preview(number, index, _drawn(folder, number, index)) for index in range(2)]
            found.append(event("saved", number, path=f"out/fish-step{number:08d}.safetensors", what="network"))
    found.append(event("preview_failed", steps, message="out of memory", prompt="x"))
    return [*found, event("finished", steps, reason="done", seconds=754.2)]


def write_events(path: Path, events: Iterable[Event]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in events), encoding="utf-8")
    return path


def _drawn(folder: Path, number: int, index: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"fish_{number}_{index}.png"
    Image.linear_gradient("L").resize((512, 768)).convert("RGB").save(path)
    return path
