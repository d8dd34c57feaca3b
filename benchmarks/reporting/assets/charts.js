"use strict";
// What the figures show: learning curves, aggregates, demonstrations, ablations and diagnostics of rewards.

const SHAPES = {
  o: "circle", ".": "circle", s: "square", v: "triangle-down", "^": "triangle-up", "<": "triangle-left",
  ">": "triangle-right", D: "diamond", P: "cross", X: "M-0.5,-0.3L-0.3,-0.5L0,-0.2L0.3,-0.5L0.5,-0.3L0.2,0L0.5,0.3L0.3,0.5L0,0.2L-0.3,0.5L-0.5,0.3L-0.2,0Z",
  "*": "M0,-0.55L0.13,-0.18L0.52,-0.17L0.21,0.07L0.32,0.45L0,0.22L-0.32,0.45L-0.21,0.07L-0.52,-0.17L-0.13,-0.18Z",
  d: "M0,-0.6L0.3,0L0,0.6L-0.3,0Z", h: "M0,-0.5L0.43,-0.25L0.43,0.25L0,0.5L-0.43,0.25L-0.43,-0.25Z",
  H: "M-0.25,-0.43L0.25,-0.43L0.5,0L0.25,0.43L-0.25,0.43L-0.5,0Z",
  p: "M0,-0.5L0.48,-0.15L0.29,0.4L-0.29,0.4L-0.48,-0.15Z",
};
const AXES = { step: "Environment steps", core_seconds: "Training time (seconds of a lane)", update: "Updates" };

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function looksOf(variant) {
  return { variant: variant.name, color: colorOf(variant), dash: variant.dash.map((length) => 1.4 * length), shape: SHAPES[variant.marker] };
}

// ------------------------------------------------------------------------------------------------------ one figure

const views = new WeakMap(); // the place of a plot -> the promise of its view, its theme and its width
const drawn = []; // promises of figures
const tip = document.body.appendChild(el("div", { class: "tip", hidden: true }));

function showTip(handler, event, item, text) {
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  tip.style.left = `${Math.min(event.clientX + 12, window.innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${event.clientY + 14}px`;
}

function settings() {
  const size = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const ink = css("--ink"), family = getComputedStyle(document.body).fontFamily;
  const font = { labelFont: family, titleFont: family, labelFontSize: 0.72 * size, titleFontSize: 0.78 * size };
  return {
    background: null,
    axis: { labelColor: ink, titleColor: ink, gridColor: css("--line"), domainColor: css("--soft"), tickColor: css("--soft"),
      titleFontWeight: "normal", labelOverlap: true, ...font, tickCount: 6 },
    legend: { labelColor: ink, titleColor: ink, ...font }, view: { stroke: null }, style: { "guide-label": { fill: ink } },
    text: { font: family },
  };
}

function viewOf(plot, kind, data) {
  const theme = document.documentElement.dataset.theme;
  const made = views.get(plot);
  if (made?.theme === theme) return made;
  made?.view.then((view) => view.finalize());
  const options = { mode: "vega", renderer: "svg", actions: false, defaultStyle: false, hover: false, tooltip: showTip, logLevel: 1, config: settings() };
  const empty = DATA.specifications[kind];
  const filled = { ...empty, data: empty.data.map((one) => (one.name in data ? { ...one, values: data[one.name] } : one)) };
  const view = vegaEmbed(plot, filled, options).then((result) => result.view);
  views.set(plot, { view, theme, width: 0 });
  return views.get(plot);
}

const sizes = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const made = views.get(target);
    if (!made || !contentRect.width || Math.abs(made.width - contentRect.width) < 1) continue;
    made.width = contentRect.width;
    made.view.then((view) => view.width(contentRect.width).runAsync());
  }
});

// A figure that stays where it is while it is drawn again. `data` fills the specification's data sets by name;
// `numbers` gives the rows of the table below it, on demand.
function chart(place, key, kind, title, { x, y, data, numbers, height }) {
  let figure = [...place.children].find((one) => one.dataset.key === key);
  if (!figure) {
    const table = el("div", { class: "scroll" });
    const details = el("details", {}, el("summary", {}, "The numbers"), table);
    details.addEventListener("toggle", () => { if (details.open) table.replaceChildren(grid(figure.numbers())); });
    figure = el("figure", { class: "chart", "data-key": key }, el("figcaption", {}), el("div", { class: "plot", role: "img" }), details);
    place.append(figure);
    sizes.observe(figure.children[1]);
  }
  const [caption, plot, details] = figure.children;
  figure.numbers = numbers;
  caption.textContent = title;
  plot.setAttribute("aria-label", `Figure: ${title}. Its numbers are in the table below it.`);
  if (details.open) details.lastChild.replaceChildren(grid(numbers()));
  const made = viewOf(plot, kind, data);
  made.width = plot.clientWidth || 400;
  drawn.push(made.view.then((view) => {
    for (const name of Object.keys(data)) view.data(name, data[name]);
    view.signal("xTitle", x).signal("yTitle", y).width(made.width).height(height ?? view.height());
    return view.runAsync();
  }));
  return key;
}

// Figures that are no longer wanted go.
function keep(place, keys) {
  for (const figure of [...place.children]) {
    if (keys.includes(figure.dataset.key)) continue;
    views.get(figure.children[1])?.view.then((view) => view.finalize());
    figure.remove();
  }
}

function grid([head, ...rows]) {
  return el("table", {}, el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((text) => el("td", {}, text))))));
}

function reference(name, dash, value) {
  return { name, dash, value, color: css("--soft") };
}

function references(task, scale = state.scale) {
  const value = (name) => (scale === "normalized" ? Number(name === "expert") : task[name]);
  return [["expert", [6, 4]], ["random", [1, 3]]].filter(([name]) => value(name) !== null)
    .map(([name, dash]) => reference(name, dash, value(name)));
}

function returnTitle() {
  return state.scale === "score" ? "Return" : "Normalised return";
}

function figures(value) {
  return number(value, digitsFor([value]));
}

function ends(spread) {
  return { low: spread[1] ?? spread[0], high: spread[2] ?? spread[0] };
}

// -------------------------------------------------------------------------------------------------- learning curves

function curveRows(variant, entry, end) {
  const curve = entry.curve;
  const values = curve[state.scale === "score" ? "return" : "normalized"];
  const offline = curve.step.at(-1) === 0 && state.axis === "step"; // one level, over the whole width
  const pick = (list) => (offline ? [list.at(-1), list.at(-1)] : list);
  const x = offline ? [0, end] : curve[state.axis];
  const [mean, low, high] = values.map(pick);
  return mean.map((y, n) => ({ ...looksOf(variant), offline, x: x[n], y, low: low[n], high: high[n],
    told: `${variant.label}: ${figures(y)} [${figures(low[n])}, ${figures(high[n])}] at ${number(x[n], 0)}` }));
}

function seedRows(variant, entry, end) {
  return (entry.ids ?? []).map((id) => RUNS.get(id)).filter((run) => run?.counted && run.curve).flatMap((run) => {
    const values = run.curve[state.scale === "score" ? "return" : "normalized"];
    const offline = run.curve.step.at(-1) === 0 && state.axis === "step";
    const x = offline ? [0, end] : run.curve[state.axis];
    return x.map((at, n) => ({ run: run.run_id, color: colorOf(variant), x: at, y: offline ? values.at(-1) : values[n] }));
  });
}

function drawCurves() {
  const place = document.getElementById("curves");
  const variants = shownVariants().filter((variant) => !["random", "expert"].includes(variant.method));
  const keys = [];
  for (const task of shownTasks()) {
    const found = variants.map((variant) => [variant, entryOf(variant.name, task.name)]).filter(([, entry]) => entry?.curve?.step);
    const end = Math.max(0, ...found.map(([, entry]) => entry.curve[state.axis].at(-1) ?? 0));
    if (end === 0) continue;
    const lines = found.flatMap(([variant, entry]) => curveRows(variant, entry, end));
    const data = { lines, points: lines.filter((row) => !row.offline), references: references(task),
      seeds: state.seeds ? found.flatMap(([variant, entry]) => seedRows(variant, entry, end)) : [] };
    const numbers = () => [["Method", AXES[state.axis], `${returnTitle()}: mean`, "Lowest seed", "Highest seed"],
      ...found.flatMap(([variant, entry]) => curveRows(variant, entry, end).map((row) =>
        [variant.label, number(row.x, 0), figures(row.y), figures(row.low), figures(row.high)]))];
    keys.push(chart(place, task.name, "curves", task.title, { x: AXES[state.axis], y: returnTitle(), data, numbers }));
  }
  keep(place, keys);
  fill("curves-legend", ...variants.map((variant) => el("span", {}, swatch(variant), variant.label)));
  const time = state.axis === "core_seconds" ? " The time of a run is its lane's share of its process's, spread evenly over its updates." : "";
  fill("curves-note", keys.length ? `Lines are means over seeds, bands reach from the lowest to the highest seed.${time}`
    : "There is no curve to show: nothing that is switched on was evaluated along the way.");
}

function drawCurveControls() {
  const seeds = el("input", { type: "checkbox" });
  seeds.addEventListener("change", () => { state.seeds = seeds.checked; drawCurves(); });
  fill("curve-controls", group("Against", ...choice("axis", Object.entries(AXES), "axis")),
    DATA.complete ? el("label", { class: "chip" }, seeds, "a line for every seed") : null);
}

// ------------------------------------------------------------------------------------------------------- aggregates

function anchors() {
  return [reference("", [1, 3], 0), reference("", [6, 4], 1)];
}

function drawAggregates() {
  document.getElementById("totals").textContent = board().totals;
  const shown = board().aggregates.filter((one) => one.complete && state.variants.has(one.variant))
    .map((one) => [VARIANTS.get(one.variant), one]).filter(([variant]) => variant.method !== "random");
  drawIntervals([...shown].sort((a, b) => b[1].iqm[0] - a[1].iqm[0]));
  drawProfile(shown.filter(([variant]) => variant.method !== "expert"));
}

function drawIntervals(ranked) {
  const place = document.getElementById("iqm");
  const rows = ranked.map(([variant, one]) => ({ ...looksOf(variant), label: variant.label, x: one.iqm[0], ...ends(one.iqm),
    told: `${variant.label}: ${number(one.iqm[0], 3)} ${range(one.iqm, 3)}` }));
  const numbers = () => [["Method", "IQM", "95% interval", "Gap"], ...ranked.map(([variant, one]) =>
    [variant.label, number(one.iqm[0], 3), range(one.iqm, 3), number(one.gap, 3)])];
  const title = "Interquartile mean over tasks, with its 95% interval";
  keep(place, rows.length ? [chart(place, "iqm", "intervals", title,
    { x: "Normalised return", y: "", data: { rows, references: anchors() }, numbers, height: 80 + 26 * rows.length })] : []);
}

function drawProfile(shown) {
  const place = document.getElementById("profile");
  const levels = [...Array(141).keys()].map((n) => -0.1 + n / 100);
  const lines = shown.flatMap(([variant, one]) => levels.map((x, n) => ({ ...looksOf(variant), x, y: one.profile[n] })));
  // a name beside each line, each at a height of its own, so that none hides another
  const names = shown.map(([variant, one]) => ({ variant, profile: one.profile, half: one.profile.findIndex((value) => value < 0.5) }))
    .sort((a, b) => a.half - b.half).map(({ variant, profile }, n, all) => {
      const y = 0.95 - (0.9 * (n + 0.5)) / all.length;
      return { x: levels[Math.max(0, profile.findIndex((value) => value <= y))], y, label: variant.label, color: colorOf(variant) };
    });
  const data = { lines, references: anchors(), left: names.filter(({ x }) => x < 0.6), right: names.filter(({ x }) => x >= 0.6) };
  const at = [0.25, 0.5, 0.75, 0.9, 1];
  const numbers = () => [["Method", ...at.map((level) => `above ${level}`)], ...shown.map(([variant, one]) =>
    [variant.label, ...at.map((level) => number(one.profile[Math.round(100 * level) + 10], 2))])];
  const title = "Performance profile: fraction of runs above each normalised return";
  keep(place, lines.length ? [chart(place, "profile", "profile", title, { x: "Normalised return τ", y: "Fraction of runs above τ", data, numbers })] : []);
}

// --------------------------------------------------------------------------------------------- demonstration numbers

function drawNumbers() {
  const section = document.getElementById("numbers-section");
  section.hidden = DATA.boards.length < 2;
  if (section.hidden) return;
  const place = document.getElementById("numbers");
  const variants = DATA.variants.filter((variant) => variant.contestant && state.variants.has(variant.name));
  const keys = [];
  for (const task of shownTasks()) {
    const rows = variants.flatMap((variant) => DATA.boards.map((one) => [one.demos, entryOf(variant.name, task.name, one)?.[state.scale] ?? []])
      .filter(([, spread]) => spread.length).map(([demos, spread]) => ({ ...looksOf(variant), label: variant.label, x: demos, y: spread[0], ...ends(spread), spread,
        told: `${variant.label}, ${demos} demonstrations: ${figures(spread[0])} ${range(spread, digitsFor([spread[0]]))}` })));
    if (!rows.length) continue;
    const numbers = () => [["Method", "Demonstrations", returnTitle(), "95% interval"], ...rows.map((row) =>
      [row.label, String(row.x), figures(row.y), range(row.spread, digitsFor([row.y]))])];
    keys.push(chart(place, task.name, "numbers", task.title,
      { x: "Demonstrations (whole episodes)", y: returnTitle(), data: { rows, references: references(task) }, numbers }));
  }
  keep(place, keys);
}

// --------------------------------------------------------------------------------------------------------- ablations

function drawAblations() {
  const found = board().ablations;
  document.getElementById("ablations-section").hidden = !found.length;
  const place = document.getElementById("ablations");
  const names = found.map((one) => `${one.label}: ${one.setting}`);
  for (const child of [...place.children]) if (!names.includes(child.dataset.name)) child.remove();
  found.forEach((one, n) => {
    let part = [...place.children].find((child) => child.dataset.name === names[n]);
    if (!part) {
      part = el("div", { "data-name": names[n] }, el("h3", {}, names[n]), el("div", { class: "grid" }));
      place.append(part);
    }
    const keys = [];
    for (const panel of one.panels.filter(({ task }) => state.tasks.has(task))) {
      for (const column of ["score", "imitation"]) {
        if (panel[column].some((point) => point.seeds.length)) keys.push(ablationChart(part.lastChild, one, panel, column));
      }
    }
    keep(part.lastChild, keys);
  });
}

function ablationChart(place, one, panel, column) {
  const task = TASKS.get(panel.task), returns = column === "score";
  const label = returns ? "Return" : "Divergence from the expert";
  const color = dark() ? "#7db9f5" : "#0072B2";
  const points = panel[column].map((point, n) => ({ ...point, x: one.values[n] })).filter((point) => point.seeds.length);
  const digits = digitsFor(points.map(({ spread }) => spread[0]), returns ? "score" : "normalized");
  const seeds = points.flatMap((point) => point.seeds.map((y) => ({ x: point.x, y, color, told: `${point.x}: ${number(y, digits)}` })));
  const rows = points.map(({ x, spread }) => ({ x, y: spread[0], ...ends(spread), color, told: `${x}: ${number(spread[0], digits)} ${range(spread, digits)}` }));
  const numbers = () => [[one.setting, label, "95% interval", "Seeds"], ...points.map(({ x, spread, seeds: all }) =>
    [x, number(spread[0], digits), range(spread, digits), String(all.length)])];
  const data = { seeds, rows, references: returns ? references(task, "score") : [reference("", [1, 3], 0)] };
  return chart(place, `${task.name} ${column}`, "ablation", `${task.title}: ${label.toLowerCase()}`, { x: one.setting, y: label, data, numbers });
}

// ---------------------------------------------------------------------------------------------- diagnostics of rewards

function drawDensities() {
  for (const place of document.querySelectorAll("[data-density]")) {
    for (const reward of DATA.densities[Number(place.dataset.density)].rewards) {
      const rows = reward.groups.flatMap((points) => points.returns.map((x, n) => ({
        x, y: points.scores[n], level: points.levels?.[n], shape: SHAPES[points.marker], label: points.label,
        color: dark() ? "#ffbf8f" : "#D55E00", told: `${points.label}: return ${number(x, 0)}, earned ${number(points.scores[n], 3)}`,
      })));
      const data = { cloned: rows.filter((row) => row.level), others: rows.filter((row) => !row.level),
        references: [reference("a demonstration", [6, 4], 1)] };
      const numbers = () => [["Behaviour", "True return", "Earned"], ...rows.map((row) => [row.label, number(row.x, 0), number(row.y, 3)])];
      chart(place, reward.label, "scores", `${reward.label}: rank correlation with the return ${reward.told}`,
        { x: "True return", y: "Earned by an episode", data, numbers });
    }
  }
}
