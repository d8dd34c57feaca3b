"use strict";
// What all parts of the page share: the data, the filters, the theme, and how elements and numbers are made.

const DATA = JSON.parse(document.getElementById("data").textContent);
const VARIANTS = new Map(DATA.variants.map((variant) => [variant.name, variant]));
const TASKS = new Map(DATA.tasks.map((task) => [task.name, task]));
const RUNS = new Map(DATA.runs.map((run) => [run.run_id, run]));

const state = {
  demos: DATA.boards[0].demos,
  tasks: new Set(TASKS.keys()),
  variants: new Set(VARIANTS.keys()),
  scale: "score",
  axis: "step",
  seeds: false,
};
function board() {
  return DATA.boards.find((one) => one.demos === state.demos);
}

function entryOf(variant, task, of = board()) {
  return of.entries.find((entry) => entry.variant === variant && entry.task === task);
}

function shownTasks() {
  return DATA.tasks.filter((task) => state.tasks.has(task.name));
}

function shownVariants(of = board()) {
  return DATA.variants.filter(
    (variant) => state.variants.has(variant.name) && of.entries.some((entry) => entry.variant === variant.name && entry.runs),
  );
}

// Text always becomes a text node: nothing in a label is ever read as markup.
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...present(children));
  return made;
}

function present(children) {
  return children.filter((child) => child !== null && child !== undefined);
}

function fill(id, ...children) {
  const place = document.getElementById(id);
  place.replaceChildren(...present(children));
  return place;
}

function number(value, digits) {
  if (value === null || value === undefined) return "–";
  const near = Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value; // no "−0.00"
  return near.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
}

function digitsFor(values, scale = state.scale) {
  if (scale !== "score") return 2;
  const largest = Math.max(...values.filter((value) => value !== null && value !== undefined).map(Math.abs), 0);
  return largest >= 100 ? 0 : largest >= 10 ? 1 : 2;
}

function range(spread, digits) {
  return spread[1] === null ? "" : `[${number(spread[1], digits)}, ${number(spread[2], digits)}]`;
}

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 90) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 5400 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// ---------------------------------------------------------------------------------------------------------- theme

const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
let chosenTheme = "auto";
let printing = false;

function dark() {
  return !printing && (chosenTheme === "auto" ? systemDark.matches : chosenTheme === "dark");
}

function applyTheme() {
  document.documentElement.dataset.theme = dark() ? "dark" : "light";
}

function changeTheme() {
  applyTheme();
  drawFilters();
  refresh();
}

systemDark.addEventListener("change", changeTheme);
window.addEventListener("beforeprint", () => { printing = true; changeTheme(); });
window.addEventListener("afterprint", () => { printing = false; changeTheme(); });
applyTheme();

function colorOf(variant) {
  return dark() ? variant.dark : variant.color;
}

// -------------------------------------------------------------------------------------------------------- filters

const SVG = "http://www.w3.org/2000/svg";

function swatch(variant) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("width", 26);
  made.setAttribute("height", 10);
  made.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "line");
  const looks = { x1: 0, x2: 26, y1: 5, y2: 5, stroke: colorOf(variant), "stroke-width": 2.5 };
  if (variant.dash.length) looks["stroke-dasharray"] = variant.dash.map((length) => 1.2 * length).join(" ");
  for (const [name, value] of Object.entries(looks)) line.setAttribute(name, value);
  made.append(line);
  return made;
}

function toggle(set, name, label, ...before) {
  const box = el("input", { type: "checkbox", value: name });
  box.checked = set.has(name);
  box.addEventListener("change", () => {
    if (box.checked) set.add(name);
    else set.delete(name);
    refresh();
  });
  return el("label", { class: "chip member" }, box, ...before, label);
}

function allOrNone(set, names) {
  const press = () => {
    const all = names.every((name) => set.has(name));
    for (const name of names) {
      if (all) set.delete(name);
      else set.add(name);
    }
    drawFilters();
    refresh();
  };
  return el("button", { type: "button", class: "chip", onclick: press }, "all / none");
}

function choice(name, options, key, after = () => {}) {
  return options.map(([value, label]) => {
    const radio = el("input", { type: "radio", name });
    radio.checked = state[key] === value;
    radio.addEventListener("change", () => {
      state[key] = value;
      after();
      refresh();
    });
    return el("label", { class: "chip" }, radio, label);
  });
}

function group(legend, ...children) {
  return el("fieldset", {}, el("legend", {}, legend), ...children);
}

function drawFilters() {
  const present = DATA.variants.filter((v) => board().entries.some((entry) => entry.variant === v.name && entry.runs));
  const names = present.map((variant) => variant.name);
  const groups = [];
  if (DATA.boards.length > 1) {
    const options = DATA.boards.map((one) => [one.demos, String(one.demos)]);
    groups.push(group("Demonstrations", ...choice("demos", options, "demos", drawFilters)));
  }
  groups.push(
    group("Methods", ...present.map((v) => toggle(state.variants, v.name, v.label, swatch(v))), allOrNone(state.variants, names)),
    group("Tasks", ...DATA.tasks.map((task) => toggle(state.tasks, task.name, task.title))),
    group("Returns", ...choice("scale", [["score", "raw"], ["normalized", "normalised"]], "scale")),
  );
  const themes = el("select", { "aria-label": "Colours" });
  for (const name of ["auto", "light", "dark"]) themes.append(el("option", { value: name }, name));
  themes.value = chosenTheme;
  themes.addEventListener("change", () => { chosenTheme = themes.value; changeTheme(); });
  groups.push(el("label", { class: "field" }, "Colours", themes));
  fill("filters", ...groups);
}

// What gets the focus is never scrolled below the filters, which stay at the top where there is room.
new ResizeObserver(([{ target }]) => {
  const covered = getComputedStyle(target).position === "sticky" ? target.offsetHeight : 0;
  document.documentElement.style.scrollPaddingTop = `${covered + 8}px`;
}).observe(document.getElementById("filters"));

// A film of no stored run is always shown.
function drawFilms() {
  for (const film of document.querySelectorAll("#films figure")) {
    const { task, variant, demos } = film.dataset;
    const shown = state.tasks.has(task) && state.variants.has(variant) && ["0", String(state.demos)].includes(demos);
    film.hidden = task !== "" && !shown;
  }
}

function drawSentence() {
  fill("sentence", board().sentence);
}
