"use strict";
// The list of runs, and the drawer that tells everything about one of them.

const runSort = { column: "run_id", ascending: true };
const runFilter = { text: "", status: "" };
const COLUMNS = [
  ["run_id", "Run", (run) => run.run_id, "left"],
  ["method", "Method", (run) => VARIANTS.get(run.variant).label, "left wrap"],
  ["task", "Task", (run) => TASKS.get(run.task).title, "left"],
  ["demos", "Demonstrations", (run) => run.demos],
  ["seed", "Seed", (run) => run.seed],
  ["status", "Status", statusOf, "left"],
  ["score", "Return", (run) => run.score],
  ["normalized", "Normalised", (run) => run.normalized],
  ["train_seconds", "Training", (run) => run.train_seconds],
];

function statusOf(run) {
  return run.status === "completed" && !run.counted ? "no final score" : run.status;
}

function shownRuns() {
  const text = runFilter.text.toLowerCase();
  return DATA.runs.filter((run) =>
    state.tasks.has(run.task) && state.variants.has(run.variant) && (run.demos === 0 || run.demos === state.demos) &&
    (runFilter.status === "" || statusOf(run) === runFilter.status) &&
    (text === "" || `${run.run_id} ${VARIANTS.get(run.variant).label} ${run.profile} ${run.folder ?? ""}`.toLowerCase().includes(text)));
}

function shownValue(run, key, value) {
  if (key === "score") return number(value, digitsFor([value], "score"));
  if (key === "normalized") return number(value, 2);
  if (key === "train_seconds") return duration(value);
  return String(value);
}

function drawRuns() {
  const runs = shownRuns();
  const get = COLUMNS.find(([key]) => key === runSort.column)[2];
  runs.sort((a, b) => compare(get(a) ?? null, get(b) ?? null, runSort.ascending));
  const head = el("tr", {}, ...COLUMNS.map(([key, label, , align]) => sortable(label, key, runSort, drawRuns, true, align)));
  const rows = runs.map((run) => el("tr", {}, ...COLUMNS.map(([key, , value, align]) => {
    if (key === "run_id") {
      return el("td", { class: "left" }, el("button", { type: "button", onclick: () => showRun(run) }, run.run_id));
    }
    const text = shownValue(run, key, value(run));
    if (key === "status" && !run.counted) return el("td", { class: align }, tag("failed", `✕ ${text}`));
    return el("td", { class: align }, text);
  })));
  const partly = DATA.complete ? "" : " Of so many runs only those that do not count are told one by one.";
  fill("runs-note", `${runs.length} of ${DATA.runs.length} runs are listed; a press on a run opens it.${partly}`);
  fill("runs", el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)));
}

function drawRunControls() {
  const search = el("input", { type: "search", placeholder: "run, method, profile" });
  search.addEventListener("input", () => { runFilter.text = search.value; drawRuns(); });
  const status = el("select", {}, el("option", { value: "" }, "all"));
  for (const name of [...new Set(DATA.runs.map(statusOf))].sort()) status.append(el("option", { value: name }, name));
  status.addEventListener("change", () => { runFilter.status = status.value; drawRuns(); });
  fill("run-controls", el("label", { class: "field" }, "Find", search), el("label", { class: "field" }, "Status", status));
}

// --------------------------------------------------------------------------------------------------------- drawer

const dialog = document.getElementById("dialog");
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

function open(title, ...children) {
  dialog.replaceChildren(
    el("button", { type: "button", class: "close", onclick: () => dialog.close(), "aria-label": "Close" }, "✕"),
    el("h2", { id: "dialog-title" }, title), ...present(children));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", {}, ...shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function settingsList(settings) {
  return facts(Object.entries(settings));
}

function showRun(run) {
  const task = TASKS.get(run.task);
  const changed = Object.keys(run.changes).length;
  const machine = `${run.device} on ${run.cpu}, ${run.lanes} ${run.lanes === 1 ? "lane" : "lanes"}`;
  const dataset = run.dataset === null ? "none" : `${run.dataset}, contents ${run.hash}`;
  const kept = run.subsample > 1 ? `, every ${run.subsample}th transition` : "";
  const episodes = `${run.episodes.join(", ")}${kept}`;
  const commit = (run.commit ?? "unknown") + (run.dirty ? " with uncommitted changes" : "");
  const measured = [
    ["Method", VARIANTS.get(run.variant).label], ["Task", `${task.title} (${task.env})`], ["Seed", String(run.seed)],
    ["Status", statusOf(run)],
    ["Return", `${number(run.score, 1)} (normalised ${number(run.normalized, 3)})`],
    ["KL / KL random", run.imitation === null ? "" : number(run.imitation, 4)],
    ["Steps", `${number(run.steps, 0)} of ${number(run.budget, 0)} environment steps, ${number(run.updates, 0)} updates`],
    ["Training", `${duration(run.train_seconds)} for all lanes of its process`],
    ["Demonstrations", run.demos === 0 ? "none" : String(run.demos)], ["Episodes", run.demos === 0 ? "" : episodes],
    ["Dataset", dataset], ["Profile", run.profile], ["Folder", run.folder], ["Started", run.started],
    ["Commit", commit], ["Machine", machine],
    ["Versions", Object.entries(run.versions).map(([name, version]) => `${name} ${version}`).join(", ")],
  ];
  const evaluations = run.curve ? run.curve.step.map((step, n) => el("tr", {},
    ...[number(step, 0), number(run.curve.update[n], 0), duration(run.curve.core_seconds[n]), number(run.curve.return[n], 1), number(run.curve.normalized[n], 3)]
      .map((text) => el("td", {}, text)))) : [];
  const heads = ["Steps", "Updates", "Core time", "Return", "Normalised"].map((text) => el("th", { scope: "col" }, text));
  open(run.run_id,
    run.error ? el("div", {}, el("h3", {}, "Log of the failure"), el("pre", { tabindex: 0 }, run.error)) : null,
    facts(measured),
    el("h3", {}, changed ? "Settings that are not the method's own" : "Settings: the method's own"),
    changed ? settingsList(run.changes) : null,
    el("details", {}, el("summary", {}, "All settings"), settingsList(run.config)),
    evaluations.length ? el("details", { open: true }, el("summary", {}, "Evaluations"),
      el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...evaluations))) : null);
}

function showEntry(entry) {
  const digits = digitsFor([entry.score[0]], "score");
  const verdict = entry.verdict;
  const pairs = [
    ["Return", entry.score.length ? `${number(entry.score[0], digits)} ${range(entry.score, digits)}, standard deviation ${number(entry.score[3], digits)}` : "–"],
    ["Normalised", entry.normalized.length ? `${number(entry.normalized[0], 3)} ${range(entry.normalized, 3)}` : "–"],
    ["KL / KL random", entry.imitation.length ? `${number(entry.imitation[0], 3)} ${range(entry.imitation, 3)}` : ""],
    ["Runs", `${entry.counted} of ${entry.runs} count`], ["Faults", entry.fault],
  ];
  if (verdict) {
    const spread = verdict.published[1] === null ? "" : ` ± ${number(verdict.published[1], digits)}`;
    const share = verdict.share[1] === null ? "" : ` ± ${number(verdict.share[1], 2)}`;
    pairs.push(["Published", `${number(verdict.published[0], digits)}${spread}, normalised by its own references ${number(verdict.share[0], 2)}${share}`],
      ["Verdict", verdictTag(verdict)], ["Source", `${verdict.paper}: ${verdict.source}`],
      ["Known differences", verdict.differences.join("; ")]);
  }
  const runs = (entry.ids ?? []).map((id) => RUNS.get(id)).filter((run) => run);
  const list = runs.map((run) => el("li", {}, el("button", { type: "button", onclick: () => showRun(run) }, run.run_id),
    ` seed ${run.seed}: ${run.counted ? number(run.score, digits) : statusOf(run)}`));
  open(`${VARIANTS.get(entry.variant).label} on ${TASKS.get(entry.task).title}`, facts(pairs),
    list.length ? el("h3", {}, "Runs") : null, list.length ? el("ul", {}, ...list) : null);
}
