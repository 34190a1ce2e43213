"""The page's style and its small script, which shows a chart's numbers under the pointer."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1d1d1f; --soft: #5f6368; --line: #d9d9de;
  --c0: #1f5fbf; --c1: #b4540a; --c2: #14774a; --c3: #7a3fc4; --c4: #b0266b; --c5: #0b7285; --alert: #c4241c; }
@media (prefers-color-scheme: dark) { :root { --paper: #16171a; --ink: #e9e9ec; --soft: #a2a6ad; --line: #34363c;
  --c0: #7db0ff; --c1: #f2a65a; --c2: #63cf98; --c3: #bf9bf5; --c4: #f28cb8; --c5: #5fc9db; --alert: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem clamp(1rem, 4vw, 3rem) 4rem; max-width: 82rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 3rem 0 .9rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0; font-weight: 600; }
.lead { color: var(--soft); margin: 0; max-width: 65ch; }
dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1rem 1.5rem;
  margin: 1.8rem 0 0; }
dl.facts dt { color: var(--soft); font-size: .85rem; }
dl.facts dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.charts { margin-top: 3rem; display: grid; gap: 2.2rem 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }
.chart { margin: 0; min-width: 0; }
.chart:first-child { grid-column: 1 / -1; }
figcaption { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; justify-content: space-between; margin-bottom: .6rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1rem; color: var(--soft); font-size: .85rem; }
.key { display: inline-flex; align-items: center; gap: .4rem; overflow-wrap: anywhere; }
.key i { width: 1rem; height: 3px; border-radius: 2px; background: var(--colour); flex: none; }
.key i.mark { width: 2px; height: .8rem; background: var(--alert); }
.plot { display: grid; grid-template: minmax(0, 1fr) 1.6rem / 3.8rem minmax(0, 1fr); height: 15rem; }
.chart:first-child .plot { height: 19rem; }
.plot svg { width: 100%; height: 100%; border-bottom: 1px solid var(--line); grid-area: 1 / 2; touch-action: pan-y; }
.ys, .xs { position: relative; color: var(--soft); font-size: .78rem; font-variant-numeric: tabular-nums; }
.ys { grid-area: 1 / 1; } .xs { grid-area: 2 / 2; }
.ys span { position: absolute; right: .6rem; transform: translateY(-50%); }
.xs span { position: absolute; top: .25rem; transform: translateX(-50%); }
path { fill: none; vector-effect: non-scaling-stroke; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.grid { stroke: var(--line); stroke-width: 1; }
.curve { stroke: var(--colour); } .dots { stroke-width: 7; }
.faint { opacity: .38; } path.faint { stroke-width: 1.2; }
.skip { stroke: var(--alert); }
.c0 { --colour: var(--c0); } .c1 { --colour: var(--c1); } .c2 { --colour: var(--c2); }
.c3 { --colour: var(--c3); } .c4 { --colour: var(--c4); } .c5 { --colour: var(--c5); }
.reading { display: block; min-height: 1.4rem; padding-left: 3.8rem; color: var(--soft); font-size: .85rem;
  font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; width: 100%; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { text-align: left; vertical-align: top; padding: .35rem 1rem .35rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; min-width: 3rem; }
tbody th { font-weight: 500; } thead th { color: var(--soft); font-weight: 500; font-size: .85rem; }
.previews { width: auto; }
.previews th, .previews td { border: 0; padding: .2rem .8rem .4rem 0; }
.previews tbody th { padding-top: .9rem; }
.previews tbody th span { position: sticky; left: 0; display: inline-block; max-width: min(60rem, 82vw); }
.previews img { display: block; width: 12rem; max-width: 60vw; height: auto; border-radius: 4px; }
.missing { color: var(--soft); width: 10rem; }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--soft); }
ul.notes { padding-left: 1.2rem; overflow-wrap: anywhere; } .alert { color: var(--alert); }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 34rem) { .plot { grid-template-columns: 3.1rem minmax(0, 1fr); } .reading { padding-left: 0; }
  th, td { padding-right: .7rem; } }
@media (max-width: 22rem) { .xs span:not(:first-child, :last-child) { display: none; } }
@media print { .reading { display: none; } details { display: none; } }
"""

SCRIPT = """
for (const chart of document.querySelectorAll(".chart")) {
  const curves = JSON.parse(chart.dataset.curves), [left, right] = chart.dataset.span.split(",").map(Number);
  const svg = chart.querySelector("svg"), reading = chart.querySelector("output");
  const nearest = (points, x) => {
    let low = 0, high = points.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < x) low = middle; else high = middle;
    }
    return x - points[low][0] < points[high][0] - x ? points[low] : points[high];
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), x = left + (event.clientX - box.left) / box.width * (right - left);
    const found = curves.map(([name, points]) => [name, nearest(points, x)]);
    reading.textContent = `step ${found[0][1][0]}: ` + found.map(([name, point]) => `${name} ${point[1]}`).join(", ");
  });
  svg.addEventListener("pointerleave", () => { reading.textContent = ""; });
}
"""
