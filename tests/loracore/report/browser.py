"""A page in a real headless browser: what it has drawn, and what went wrong in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

#: Set by .ci/run, which installs the browser: a test of a page is then never skipped.
NEEDED = "LORACORE_NEEDS_BROWSER"

#: Runs before the page's own script and notes what goes wrong; runs behind it and writes what is drawn into the page.
_LISTEN = """<script>
window.wrong = [];
addEventListener("error", (event) => wrong.push(String(event.message || event.target.outerHTML)), true);
addEventListener("securitypolicyviolation", (event) => wrong.push("loads " + event.blockedURI));
console.error = (...words) => wrong.push(words.join(" "));
</script>"""
_LOOK = """<script>
addEventListener("load", () => {
  const size = (one) => { const box = one.getBoundingClientRect(); return [box.width, box.height]; };
  const chart = document.querySelector(".chart svg");
  if (chart) {
    const box = chart.getBoundingClientRect();
    const at = { clientX: box.left + box.width / 2, clientY: box.top + 5, bubbles: true };
    chart.dispatchEvent(new PointerEvent("pointermove", at));
  }
  const found = {
    wrong, title: document.title, width: document.documentElement.scrollWidth, window: innerWidth,
    curves: [...document.querySelectorAll("path.curve")].map(size),
    lengths: [...document.querySelectorAll("path.curve:not(.dots)")].map((one) => one.getTotalLength()),
    pictures: [...document.images].map((one) => [one.complete, one.naturalWidth, one.alt, ...size(one)]),
    labels: [...document.querySelectorAll(".xs")].map((axis) => [...axis.children].map(
      (one) => { const box = one.getBoundingClientRect(); return [box.left, box.right]; })),
    reading: document.querySelector("output")?.textContent ?? "",
    loaded: performance.getEntriesByType("resource").map((one) => one.name).filter((one) => !one.startsWith("data:")),
    small: [...document.querySelectorAll("main *")].filter(
      (one) => one.children.length === 0 && one.textContent.trim() && parseFloat(getComputedStyle(one).fontSize) < 12
    ).length,
  };
  const out = document.createElement("pre");
  out.id = "found";
  out.textContent = JSON.stringify(found);
  document.body.append(out);
});
</script>"""


def browser() -> str:
    """Return the browser's program; skips the test where there is none, unless one is asked for."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        found = shutil.which(name)
        if found:
            return found
    if os.environ.get(NEEDED):
        pytest.fail(f"{NEEDED} is set, and there is no chromium")
    pytest.skip("no chromium or chrome is installed")


def look(page: Path, width: int, folder: Path) -> dict[str, Any]:
    """Open a page in a window of this many pixels; return what it has drawn, loaded and complained of."""
    text = page.read_text("utf-8").replace("<head>", "<head>" + _LISTEN, 1).replace("</body>", _LOOK + "</body>", 1)
    watched = page.with_name("watched.html")
    watched.write_text(text, encoding="utf-8")
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--window-size={width},900")
    words = [browser(), *flags, f"--user-data-dir={folder}", "--timeout=20000", "--dump-dom", watched.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=True, timeout=50)
    drawn = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert drawn is not None, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(unescape(drawn[1]))
    return found
