"use strict";
// The table of final returns: methods down, tasks across, every entry with interval, verdict and failures.

const SIGNS = { reproduced: "=", above: "▲", below: "▼", failed: "✕", "not run": "·", undecided: "?", "one seed": "?" };
const UNTINTED = ["not run", "undecided", "one seed"];
const tableSort = { column: null, ascending: false };

function sortable(label, column, sort, redraw, firstAscending = false, align = null) {
  const now = sort.column === column ? (sort.ascending ? "ascending" : "descending") : "none";
  const press = () => {
    sort.ascending = sort.column === column ? !sort.ascending : firstAscending;
    sort.column = column;
    redraw();
    document.querySelector(`[data-sort="${CSS.escape(column)}"]`)?.focus();
  };
  return el("th", { scope: "col", "aria-sort": now, class: align },
    el("button", { type: "button", onclick: press, "data-sort": column }, label));
}

function tag(status, text) {
  return el("span", { class: `tag ${status in SIGNS && !UNTINTED.includes(status) ? status : "none"}` }, text);
}

function verdictTag(verdict) {
  return tag(verdict.status, `${SIGNS[verdict.status]} ${verdict.status}`);
}

function written(entry, digits, best) {
  const spread = entry[state.scale];
  const lines = [];
  if (spread.length) {
    lines.push(el("span", { class: "mean" }, number(spread[0], digits)), el("br"));
    lines.push(el("span", { class: "range" }, range(spread, digits) || `${entry.counted} seed`), el("br"));
  } else {
    lines.push(el("span", { class: "mean" }, "–"), el("br"));
  }
  if (entry.verdict) lines.push(verdictTag(entry.verdict));
  if (entry.failed) lines.push(" ", el("span", { class: "tag lost" }, `${entry.failed}/${entry.runs} failed`));
  if (!entry.runs) return el("span", { class: "entry" }, ...lines);
  const name = `${VARIANTS.get(entry.variant).label} on ${TASKS.get(entry.task).title}: show its runs`;
  const press = () => showEntry(entry);
  return el("button", { type: "button", class: best ? "entry best" : "entry", title: name, onclick: press }, ...lines);
}

function drawTable() {
  const tasks = shownTasks();
  const variants = shownVariants();
  const entries = new Map(board().entries.map((entry) => [`${entry.variant}\n${entry.task}`, entry]));
  const find = (variant, task) => entries.get(`${variant.name}\n${task.name}`);
  const mean = (variant, task) => find(variant, task)?.[state.scale][0] ?? null;
  const overall = new Map(board().aggregates.map((one) => [one.variant, one]));
  const value = (variant) => {
    if (tableSort.column === "method") return variant.label.toLowerCase();
    if (tableSort.column === "iqm") return overall.get(variant.name)?.iqm[0] ?? null;
    return mean(variant, { name: tableSort.column });
  };
  if (tableSort.column !== null) variants.sort((a, b) => compare(value(a), value(b), tableSort.ascending));
  const head = el("tr", {}, sortable("Method", "method", tableSort, drawTable, true),
    ...tasks.map((task) => sortable(task.title, task.name, tableSort, drawTable)),
    sortable("Together (IQM)", "iqm", tableSort, drawTable));
  const digits = new Map(tasks.map((task) => [task, digitsFor(variants.map((v) => mean(v, task)))]));
  const leaders = new Map(tasks.map((task) => {
    const means = variants.filter((v) => v.contestant).map((v) => mean(v, task)).filter((one) => one !== null);
    return [task, means.length > 1 ? Math.max(...means) : null];
  }));
  const rows = variants.map((variant) => {
    const total = overall.get(variant.name);
    const last = total ? [el("span", { class: "mean" }, number(total.iqm[0], 2)), el("br"),
      el("span", { class: "range" }, range(total.iqm, 2)),
      ...(total.complete ? [] : [el("br"), el("span", { class: "range" }, `over ${total.tasks} of them`)])]
      : [el("span", { class: "mean" }, "–")];
    return el("tr", {},
      el("th", { scope: "row" }, el("span", { class: "name" }, swatch(variant), variant.label)),
      ...tasks.map((task) => {
        const best = variant.contestant && leaders.get(task) !== null && mean(variant, task) === leaders.get(task);
        return el("td", {}, written(find(variant, task), digits.get(task), best));
      }),
      el("td", {}, el("span", { class: "entry" }, ...last)));
  });
  const title = state.scale === "score" ? "Return (sum of rewards)" : "Normalised return (0 random, 1 expert)";
  fill("table", el("table", {}, el("caption", {}, `${title}, ${board().told}`), el("thead", {}, head), el("tbody", {}, ...rows)));
  const shown = variants.flatMap((variant) => tasks.map((task) => find(variant, task)));
  const counts = {};
  for (const entry of shown) if (entry?.verdict) counts[entry.verdict.status] = (counts[entry.verdict.status] ?? 0) + 1;
  const told = Object.entries(counts).map(([status, many]) => `${many} ${status}`).join(", ");
  const failed = shown.reduce((sum, entry) => sum + (entry?.failed ?? 0), 0);
  const runs = shown.reduce((sum, entry) => sum + (entry?.runs ?? 0), 0);
  const sources = [...new Set(shown.flatMap((entry) => (entry?.verdict ? [`${entry.verdict.paper}: ${entry.verdict.source}.`] : [])))];
  fill("table-note", `${runs} runs are shown, ${failed} of them failed or do not count. ` +
    (told ? `Against the paper: ${told}. ` : "") + "Underlined: highest mean among the methods that learn from demonstrations. " + sources.join(" "));
}

// What is missing always stands last.
function compare(a, b, ascending) {
  if (a === null || b === null) return (a === null) - (b === null);
  return (a < b ? -1 : a > b ? 1 : 0) * (ascending ? 1 : -1);
}

function drawImprovement() {
  const { names = [], chances } = board().improvement;
  const shown = names.map((name, place) => [VARIANTS.get(name), place]).filter(([variant]) => state.variants.has(variant.name));
  if (shown.length < 2) {
    fill("improvement", el("p", { class: "note" }, "It takes two methods that were run on every task."));
    return;
  }
  const rows = shown.map(([variant, row]) => el("tr", {},
    el("th", { scope: "row" }, el("span", { class: "name" }, variant.label)),
    ...shown.map(([other, column]) => {
      if (row === column) return el("td", { class: "heat" }, "");
      const [chance, low, high] = chances[row][column];
      const strength = Math.round(55 * Math.abs(chance - 0.5) * 2);
      const colour = chance >= 0.5 ? "var(--high-ground)" : "var(--low-ground)";
      const text = [el("span", { class: "mean" }, number(chance, 2))];
      if (low !== null) text.push(el("br"), el("span", { class: "range" }, `[${number(low, 2)}, ${number(high, 2)}]`));
      return el("td", { class: "heat", style: `background: color-mix(in srgb, ${colour} ${45 + strength}%, transparent)`,
        title: `${variant.label} against ${other.label}` }, ...text);
    })));
  fill("improvement", el("table", {},
    el("thead", {}, el("tr", {}, el("th", {}, "Row ahead of column"), ...shown.map(([v]) => el("th", { scope: "col", class: "heat" }, v.label)))),
    el("tbody", {}, ...rows)));
}
