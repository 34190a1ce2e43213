"""Times the commands that people wait for without training: help, plugins, options, a mistyped option.

Run it with the interpreter of an environment in which loracore and its plugins are installed:
``python benchmarks/startup.py [runs]``. It prints minimum, median and maximum in seconds of whole processes, and, for
comparison within the same run, what starting Python and importing torch cost on this machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python": ("-c", "pass"),
    "import torch": ("-c", "import torch"),
    "--help": ("-m", "loracore", "--help"),
    "plugins": ("-m", "loracore", "plugins"),
    "options": ("-m", "loracore", "options"),
    "options --arch sdxl": ("-m", "loracore", "options", "--arch", "sdxl"),
    "train with a typo": ("-m", "loracore", "train", "--arch", "sdxl", "--netwrok_dim", "8"),
}


def seconds(words: tuple[str, ...]) -> float:
    """Return how long one process takes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *words], capture_output=True, check=False)  # noqa: S603  # our own commands
    return time.perf_counter() - started


def main(runs: int) -> None:
    """Print one line a command."""
    print(f"{'command':22} {'min':>6} {'median':>7} {'max':>6}")
    for name, words in COMMANDS.items():
        taken = [seconds(words) for _ in range(runs)]
        print(f"{name:22} {min(taken):6.2f} {statistics.median(taken):7.2f} {max(taken):6.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
