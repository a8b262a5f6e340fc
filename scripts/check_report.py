"""Open a report in a browser and check it.

    python scripts/check_report.py report.html metrics.json [--screenshot OUT.png [--height N]]

Needs the Python package playwright and Chromium (found on PATH, or named by CHROMIUM). Opens the page from disk at 390
and 1440 pixels, in light and in dark, and exits 1 if any of these holds:

- the page is wider than the window, or a text of a drawing is cut off;
- a text, HTML or SVG, has a contrast below 4.5 against what is painted behind it;
- the console reports an error, the page throws, or it requests anything;
- a number of a table differs from metrics.json, or names no place in it;
- an image, drawing, button, table or heading lacks what a screen reader needs.

A number of the page is `<data data-key="POINTER" data-digits="D" [data-sign]>`; POINTER is a JSON Pointer into
metrics.json. Its text is the value rounded to D decimals, half to even, with commas between thousands, U+2212 for minus,
`+` before a positive number where data-sign stands, no sign on what rounds to zero, and an en dash for null.

--screenshot writes OUT-390-light.png and so on, of the whole page or of its first N pixels. Prints one JSON line. Exits 2 when an input cannot be read.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys

# Runs in the page. Colours are painted on a canvas of one pixel, so that every notation of CSS is understood.
PROBE = r"""
() => {
  const problems = [];
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const parse = (text) => {
    if (!known.has(text)) {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = text;
      pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      known.set(text, [r, g, b, a / 255]);
    }
    return known.get(text);
  };
  const over = (top, under) => {
    const a = top[3] + under[3] * (1 - top[3]);
    if (a === 0) return [0, 0, 0, 0];
    return [0, 1, 2].map((i) => (top[i] * top[3] + under[i] * under[3] * (1 - top[3])) / a).concat(a);
  };
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const canvasColour = getComputedStyle(document.documentElement).colorScheme.includes("dark") ? [18, 18, 18, 1] : [255, 255, 255, 1];
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      layers.push(parse(getComputedStyle(e).backgroundColor));
    }
    return layers.reverse().reduce((under, top) => over(top, under), canvasColour);
  };
  const opacity = (element) => {
    let value = 1;
    for (let e = element; e; e = e.parentElement) value *= Number(getComputedStyle(e).opacity);
    return value;
  };
  const where = (e) => `${e.tagName.toLowerCase()}${e.className && e.className.baseVal === undefined ? "." + e.className : ""}`;
  const seen = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;

  let texts = 0;
  let lowest = Infinity;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.data.trim();
    const e = walk.currentNode.parentElement;
    if (!text || !seen(e) || e.closest("script, style, .hidden, .skip")) continue;
    texts += 1;
    const style = getComputedStyle(e);
    const ground = behind(e);
    let ink = parse(e instanceof SVGElement ? style.fill : style.color).slice();
    ink[3] *= opacity(e) * (e instanceof SVGElement ? Number(style.fillOpacity) : 1);
    const ratio = contrast(over(ink, ground), ground);
    lowest = Math.min(lowest, ratio);
    if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(2)}: ${where(e)} "${text.slice(0, 40)}"`);
  }

  for (const e of document.querySelectorAll("svg text")) {
    if (!seen(e)) continue;
    const box = e.getBoundingClientRect();
    const frame = e.ownerSVGElement.getBoundingClientRect();
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) {
      problems.push(`cut off by its drawing: "${e.textContent.slice(0, 40)}"`);
    }
  }

  const name = (e) => {
    const ids = (e.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean);
    const named = ids.map((id) => document.getElementById(id)?.textContent || "").join(" ");
    return (named || e.getAttribute("aria-label") || e.getAttribute("alt") || e.getAttribute("title") || e.textContent || "").trim();
  };
  for (const e of document.querySelectorAll("img")) {
    if (!e.hasAttribute("alt")) problems.push(`no alt: ${where(e)}`);
  }
  for (const e of document.querySelectorAll("svg")) {
    const silent = e.closest("[aria-hidden=true]");
    if (!silent && !(e.getAttribute("role") && (e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")))) {
      problems.push(`a drawing without role and label: ${where(e)}`);
    }
  }
  for (const e of document.querySelectorAll("button, a, summary, input, [role=img], section, nav, aside")) {
    if (!e.closest("[aria-hidden=true]") && !name(e)) problems.push(`no name: ${where(e)}`);
  }
  for (const e of document.querySelectorAll("section, nav, aside")) {
    if (!e.hasAttribute("aria-label") && !e.hasAttribute("aria-labelledby")) problems.push(`no label: ${where(e)}`);
  }
  for (const e of document.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
    for (const at of ["aria-labelledby", "aria-describedby"]) {
      for (const id of (e.getAttribute(at) || "").split(/\s+/).filter(Boolean)) {
        if (!document.getElementById(id)) problems.push(`${at} names ${id}, which is not there`);
      }
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) problems.push(`the id ${id} is there twice`);
  for (const e of document.querySelectorAll("table")) {
    if (!e.caption || !e.caption.textContent.trim()) problems.push("a table without caption");
    for (const cell of e.querySelectorAll("th")) if (!cell.scope) problems.push(`th without scope: ${cell.textContent.slice(0, 40)}`);
  }
  for (const e of document.querySelectorAll("[tabindex]")) {
    if (e.tabIndex > 0) problems.push(`tabindex above 0: ${where(e)}`);
  }
  let level = 0;
  const headings = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")];
  for (const e of headings) {
    const own = Number(e.tagName[1]);
    if (own > level + 1) problems.push(`heading level ${own} after ${level}: ${e.textContent.slice(0, 40)}`);
    if (!e.textContent.trim()) problems.push("an empty heading");
    level = own;
  }
  if (headings.filter((e) => e.tagName === "H1").length !== 1) problems.push("not exactly one h1");
  if (!document.documentElement.lang) problems.push("no language");
  if (!document.title) problems.push("no title");

  for (const cell of document.querySelectorAll("td:not([data-text])")) {
    const rest = cell.cloneNode(true);
    for (const told of rest.querySelectorAll("data[data-key], svg[aria-hidden=true]")) told.remove();
    if (/\d/.test(rest.textContent)) {
      problems.push(`a number of a table names no place in metrics.json: "${rest.textContent.trim().slice(0, 40)}"`);
    }
  }

  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) {
    problems.push(`the page is ${root.scrollWidth} px wide in a window of ${innerWidth}`);
    for (const e of document.querySelectorAll("body *")) {
      if (seen(e) && !(e instanceof SVGElement && e.ownerSVGElement) && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".skip")) problems.push(`  reaches ${Math.round(e.getBoundingClientRect().right)}: ${where(e)}`);
    }
  }
  for (const e of document.querySelectorAll("table, pre")) {
    if (seen(e) && e.scrollWidth > e.clientWidth + 1) problems.push(`${where(e)} is wider than its place: ${e.scrollWidth} of ${e.clientWidth}`);
  }
  const numbers = [...document.querySelectorAll("[data-key]")].map((e) => ({
    key: e.dataset.key, digits: Number(e.dataset.digits), sign: "sign" in e.dataset, text: e.textContent, value: e.getAttribute("value"),
  }));
  return { problems, numbers, texts, lowest, width: root.scrollWidth, height: root.scrollHeight };
}
"""

# Steps through every drawing with the keyboard and the pointer, and says which told nothing.
WALK = r"""
() => [...document.querySelectorAll("svg.explore")].flatMap((svg) => {
  const tip = svg.closest("figure.chart, #map-set").querySelector(".tip");
  svg.focus();
  const press = (key) => svg.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  press("ArrowRight");
  const told = !tip.hidden && tip.textContent.trim();
  const wide = document.documentElement.scrollWidth > innerWidth;
  press("End");
  const still = !tip.hidden && tip.textContent.trim();
  const wider = document.documentElement.scrollWidth > innerWidth;
  press("Escape");
  const problems = [];
  if (document.activeElement !== svg) problems.push("a drawing that the keyboard cannot reach");
  if (!told || !still) problems.push(`arrow keys tell nothing: ${svg.getAttribute("aria-label")}`);
  if (wide || wider) problems.push(`a note makes the page wider than the window: ${svg.getAttribute("aria-label")}`);
  if (!tip.hidden) problems.push(`Escape leaves the note: ${svg.getAttribute("aria-label")}`);
  svg.blur();
  return problems;
})
"""


def shown(value, digits, sign):
    """The text of a number of metrics.json."""
    if value is None:
        return "–"
    text = f"{abs(value):,.{digits}f}"
    if any(digit in text for digit in "123456789"):
        text = ("−" if value < 0 else "+" if sign else "") + text
    return text


def look_up(metrics, pointer):
    """The value at a JSON Pointer (RFC 6901); KeyError where there is none."""
    value = metrics
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (IndexError, ValueError, TypeError) as error:
            raise KeyError(pointer) from error
    return value


def compare(numbers, metrics):
    """What differs between the page and the file."""
    problems = []
    for number in numbers:
        try:
            value = look_up(metrics, number["key"])
        except KeyError:
            problems.append(f"{number['key']} is not in metrics.json")
            continue
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            problems.append(f"{number['key']} is not a number in metrics.json")
            continue
        want = shown(value, number["digits"], number["sign"])
        if number["text"] != want:
            problems.append(f"{number['key']}: the page says {number['text']}, metrics.json {want}")
        if (number["value"] is None) != (value is None) or (value is not None and float(number["value"]) != value):
            problems.append(f"{number['key']}: the page holds {number['value']}, metrics.json {value}")
    return problems


def visit(browser, report, metrics, width, scheme, screenshot, height):
    """Checks the page in one window; returns problems and what was seen."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    problems = []
    page = context.new_page()
    page.on("console", lambda m: m.type in ("error", "warning") and problems.append(f"console: {m.text}"))
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    url = report.as_uri()
    page.on("request", lambda r: r.url != url and not r.url.startswith("data:") and problems.append(f"request: {r.url}"))
    page.goto(url, wait_until="load")
    if screenshot:
        clip = {"x": 0, "y": 0, "width": width, "height": height} if height else None
        page.screenshot(path=f"{screenshot}-{width}-{scheme}.png", full_page=True, clip=clip)
    page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    seen = page.evaluate(PROBE)
    problems += seen["problems"]
    problems += compare(seen["numbers"], metrics)
    problems += page.evaluate(WALK)
    # The switch must turn the other scheme on, and that must be readable too.
    if page.locator("#theme").is_visible():
        page.locator("#theme").click()
        problems += [f"after the switch: {problem}" for problem in page.evaluate(PROBE)["problems"]]
    else:
        problems.append("the switch of colours is not to be seen")
    context.close()
    return [f"{width} px, {scheme}: {problem}" for problem in problems], seen


def main():
    parser = argparse.ArgumentParser(description="Open a report in a browser and check it.")
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("metrics", type=pathlib.Path)
    parser.add_argument("--screenshot", type=pathlib.Path, metavar="OUT.png")
    parser.add_argument("--height", type=int, metavar="N")
    arguments = parser.parse_args()
    try:
        from playwright.sync_api import sync_playwright

        metrics = json.loads(arguments.metrics.read_text(encoding="utf-8"))
        report = arguments.report.resolve(strict=True)
    except (OSError, ValueError, ImportError) as error:
        print(f"cannot read the inputs: {error}", file=sys.stderr)
        return 2
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    stem = arguments.screenshot.with_suffix("") if arguments.screenshot else None
    problems, numbers, texts, lowest = [], 0, 0, float("inf")
    with sync_playwright() as playwright:
        # The sandbox of Chromium does not start for the superuser, which is who runs in most containers.
        sandbox = [] if hasattr(os, "getuid") and os.getuid() else ["--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        for width in (390, 1440):
            for scheme in ("light", "dark"):
                found, seen = visit(browser, report, metrics, width, scheme, stem, arguments.height)
                problems += found
                numbers, texts = len(seen["numbers"]), max(texts, seen["texts"])
                lowest = min(lowest, seen["lowest"])
        browser.close()
    line = {
        "report": arguments.report.name,
        "bytes": report.stat().st_size,
        "numbers": numbers,
        "texts": texts,
        "lowest_contrast": round(lowest, 2),
        "problems": len(problems),
        "ok": not problems,
    }
    for problem in problems[:100]:
        print(problem, file=sys.stderr)
    print(json.dumps(line))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
