"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const name = () => {
    theme.textContent = isDark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
  });
  dark.addEventListener("change", name);
  name();

  const opened = [];
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      details.open = true;
      opened.push(details);
    }
  });
  addEventListener("afterprint", () => {
    while (opened.length) opened.pop().open = false;
  });

  // A drawing with points: the nearest one to the pointer, or the one that arrow keys step to, is ringed and told.
  const explore = (svg, points, show, hide) => {
    let current = -1;
    const choose = (index) => {
      current = index;
      show(index, svg);
    };
    const leave = () => {
      current = -1;
      hide();
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const view = svg.viewBox.baseVal;
      const scale = view.width / box.width;
      const x = (event.clientX - box.left) * scale;
      const y = (event.clientY - box.top) * scale;
      const reach = svg.dataset.kind === "map" ? 22 : 1e9;
      let best = -1;
      let least = reach * reach;
      points.forEach((point, index) => {
        if (!point) return;
        const far = svg.dataset.kind === "map" ? (point[0] - x) ** 2 + (point[1] - y) ** 2
          : (point[0] - x) ** 2 + 1e-3 * (point[1] - y) ** 2;
        if (far < least) {
          least = far;
          best = index;
        }
      });
      if (best < 0) leave();
      else if (best !== current) choose(best);
    });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
      let next = current;
      if (event.key === "Escape") return leave();
      if (event.key === "Home") next = 0;
      else if (event.key === "End") next = points.length - 1;
      else if (step === undefined) return;
      else if (current < 0) next = step > 0 ? 0 : points.length - 1;
      else next = Math.min(points.length - 1, Math.max(0, current + step));
      const way = step === undefined ? (event.key === "Home" ? 1 : -1) : Math.sign(step);
      while (next >= 0 && next < points.length && !points[next]) next += way;
      event.preventDefault();
      if (points[next]) choose(next);
    });
  };

  // Puts the note beside a point, inside the box of what is drawn.
  const put = (tip, svg, point) => {
    tip.hidden = false;
    const outer = tip.offsetParent.getBoundingClientRect();
    const box = svg.getBoundingClientRect();
    const scale = box.width / svg.viewBox.baseVal.width;
    const x = box.left - outer.left + point[0] * scale;
    const y = box.top - outer.top + point[1] * scale;
    const left = Math.max(0, Math.min(x + 14, outer.width - tip.offsetWidth));
    const above = y - tip.offsetHeight - 14;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 0 ? above : y + 14}px`;
  };
  const ring = (svg, point) => {
    const circle = svg.querySelector(".ring");
    circle.setAttribute("visibility", point ? "visible" : "hidden");
    if (point) {
      circle.setAttribute("cx", point[0]);
      circle.setAttribute("cy", point[1]);
    }
  };

  for (const figure of document.querySelectorAll("figure.chart")) {
    const svg = figure.querySelector("svg.explore");
    const tip = figure.querySelector(".tip");
    const points = JSON.parse(figure.querySelector("script").textContent);
    explore(svg, points, (index) => {
      tip.textContent = points[index][2];
      ring(svg, points[index]);
      put(tip, svg, points[index]);
    }, () => {
      tip.hidden = true;
      ring(svg, null);
    });
  }

  const set = document.getElementById("map-set");
  if (!set) return;
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const tip = set.querySelector(".tip");
  const maps = [...set.querySelectorAll("svg.explore")];
  const chosen = new Set();
  const at = (point, side) => (side === "0" ? [point[0], point[1]] : [point[2], point[3]]);
  const allowed = (point) => chosen.size === 0 || chosen.has(point[4]);
  for (const svg of maps) {
    const places = data.points.map((point) => at(point, svg.dataset.side));
    const visible = new Proxy(places, {
      get: (target, key) => {
        if (key === "forEach") return (each) => target.forEach((place, i) => each(allowed(data.points[i]) ? place : null, i));
        if (key === "length") return target.length;
        return allowed(data.points[key] || []) ? target[key] : undefined;
      },
    });
    explore(svg, visible, (index) => {
      const point = data.points[index];
      tip.replaceChildren();
      if (point[4] !== null) {
        const bold = document.createElement("b");
        bold.textContent = data.classes[point[4]];
        bold.dir = "auto";
        tip.append(bold);
      }
      const text = document.createElement("span");
      text.dir = "auto";
      text.textContent = point[5];
      tip.append(text);
      for (const other of maps) ring(other, at(point, other.dataset.side));
      put(tip, svg, at(point, svg.dataset.side));
    }, () => {
      tip.hidden = true;
      for (const other of maps) ring(other, null);
    });
  }
  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const index = Number(button.dataset.class);
      if (!chosen.delete(index)) chosen.add(index);
      button.setAttribute("aria-pressed", String(chosen.has(index)));
      set.classList.toggle("only", chosen.size > 0);
      for (const part of set.querySelectorAll("[data-class]")) {
        part.classList.toggle("on", chosen.has(Number(part.dataset.class)));
      }
    });
  }
})();
