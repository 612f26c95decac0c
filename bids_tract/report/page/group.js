"use strict";

const study = JSON.parse(document.getElementById("study").textContent);
const columns = study.columns;
const count = columns[0].codes.length;
const byId = (id) => document.getElementById(id);

/* What a cell holds: text, a number, or null. */
const value = (column, row) =>
  column.codes ? column.levels[column.codes[row]] : column.numbers[row];
const shown = (column, row) => {
  const one = value(column, row);
  return typeof one === "number" ? one.toLocaleString("en-US", { maximumFractionDigits: 10 }) : one ?? "n/a";
};
const pageOf = (row) => study.pages.levels[study.pages.codes[row]];
const numeric = (text) => text !== "" && Number.isFinite(Number(text));

/* The table: rows that are found, in order, some at a time. */
const AT_ONCE = 25;
const natural = new Intl.Collator("en", { numeric: true });
const flagged = columns.map((column) => new Set(column.flagged));
let order = Array.from({ length: count }, (_, row) => row);
let found = order;
let first = 0;

const known = (one) => one !== null && one !== "" && one !== "n/a";
const compare = (a, b) => {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (numeric(a) && numeric(b)) return Number(a) - Number(b);
  return natural.compare(a, b);
};

const draw = () => {
  const body = document.querySelector("#rows tbody");
  const rows = found.slice(first, first + AT_ONCE).map((row) => {
    const line = document.createElement("tr");
    columns.forEach((column, number) => {
      const cell = line.insertCell();
      if (number === 0 && pageOf(row)) {
        const link = document.createElement("a");
        link.href = pageOf(row);
        link.textContent = shown(column, row);
        cell.append(link);
      } else {
        cell.textContent = shown(column, row);
      }
      cell.classList.toggle("out", flagged[number].has(row));
    });
    return line;
  });
  body.replaceChildren(...rows);
  const last = Math.min(first + AT_ONCE, found.length);
  const range = found.length > AT_ONCE ? `${first + 1} to ${last} of ` : "";
  byId("count").textContent =
    `${range}${found.length.toLocaleString("en-US")} scan${found.length === 1 ? "" : "s"}`;
  byId("back").disabled = first === 0;
  byId("next").disabled = last >= found.length;
  document.querySelector(".pager").hidden = found.length <= AT_ONCE;
};

const words = Array.from({ length: count }, (_, row) =>
  columns.filter((column) => column.codes).map((column) => value(column, row)).join(" ").toLowerCase());
const find = () => {
  const wanted = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const only = byId("only").checked;
  const bad = columns.filter((column) => ["Bad", "Outlying"].includes(column.title) && column.numbers);
  found = order.filter((row) => wanted.every((word) => words[row].includes(word))
    && (!only || bad.some((column) => column.numbers[row] > 0)));
  first = 0;
  draw();
  const kept = new Set(found);
  for (const dot of dots) dot.classList.toggle("dim", !kept.has(Number(dot.dataset.i)));
};

const sort = (number, head) => {
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of document.querySelectorAll("#rows th")) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const column = columns[number];
  order = Array.from({ length: count }, (_, row) => row).sort((a, b) => {
    const [x, y] = [value(column, a), value(column, b)];
    if (!known(x) || !known(y)) return Number(known(y)) - Number(known(x)); // at the end
    return up ? compare(x, y) : compare(y, x);
  });
  find();
};

/* The dots: names on hover and focus, arrow keys, colours. */
const dots = [...document.querySelectorAll(".strip a")];
const tip = byId("tip");
let same = [];
let pointed = null;
const point = (dot) => {
  for (const other of same) other.classList.remove("same");
  same = dot ? dots.filter((other) => other.dataset.i === dot.dataset.i) : [];
  for (const other of same) other.classList.add("same");
  if (!tip) return;
  tip.hidden = !dot;
  pointed = dot;
  if (!dot) return;
  tip.textContent = dot.getAttribute("aria-label");
  const place = dot.getBoundingClientRect();
  const left = place.x + place.width / 2 - tip.offsetWidth / 2;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${Math.max(4, place.y - tip.offsetHeight - 8)}px`;
};
const dotAt = (event) => event.target.closest?.(".strip a");
// A pointer that lies still elsewhere does not hide what the keyboard points at.
const focused = () => document.activeElement?.closest(".strip a");
document.addEventListener("pointerover", (event) => point(dotAt(event) ?? focused() ?? null));
document.addEventListener("focusin", (event) => point(dotAt(event) ?? null));
document.addEventListener("focusout", () => point(null));
document.addEventListener("scroll", () => { if (pointed) point(pointed); }, { passive: true });
document.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
  const dot = dotAt(event);
  if (event.key === "Escape") point(null);
  if (!step || !dot) return;
  event.preventDefault();
  const row = [...dot.closest(".strip > svg").querySelectorAll("a")];
  const next = row[row.indexOf(dot) + step];
  if (next) {
    dot.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
});
// One stop of the tab key for each plot.
for (const plot of document.querySelectorAll(".strip > svg")) {
  plot.querySelectorAll("a").forEach((dot, number) => { dot.tabIndex = number ? -1 : 0; });
}

// Okabe and Ito's, without the yellow that white swallows and the red of what is flagged; and
// cividis for numbers. Both are told apart by colour-blind eyes.
const KINDS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d46"];
const STEPS = ["#00306f", "#575c6d", "#8a8678", "#bcaf6f", "#fee838"];
const OTHER = "#8a949e";

const colours = (column) => {
  const all = column.levels.filter(known);
  const numbers = all.filter(numeric).map(Number);
  if (numbers.length === all.length && all.length > KINDS.length) {
    const sorted = column.codes.map((code) => column.levels[code]).filter(known).map(Number)
      .sort((a, b) => a - b);
    const ends = STEPS.map((_, k) => sorted[Math.ceil(((k + 1) * sorted.length) / STEPS.length) - 1]);
    const names = STEPS.map((_, k) => `${k ? `above ${ends[k - 1]}` : `from ${sorted[0]}`} to ${ends[k]}`);
    const of = (text) => (known(text) ? STEPS[ends.findIndex((end) => Number(text) <= end)] : OTHER);
    return { of, legend: names.map((name, k) => [name, STEPS[k]]), unknown: all.length < column.levels.length };
  }
  const often = new Map();
  for (const code of column.codes) often.set(code, (often.get(code) ?? 0) + 1);
  const kinds = all.sort((a, b) => often.get(column.levels.indexOf(b)) - often.get(column.levels.indexOf(a)))
    .slice(0, KINDS.length).sort(compare);
  const of = (text) => KINDS[kinds.indexOf(text)] ?? OTHER;
  return { of, legend: kinds.map((name, k) => [name, KINDS[k]]), unknown: kinds.length < column.levels.length };
};

const colour = (number) => {
  const chosen = number === "" ? null : columns[Number(number)];
  const { of, legend, unknown } = chosen ? colours(chosen) : { legend: [] };
  for (const dot of dots) {
    const mark = dot.querySelector("circle, path");
    mark.style.fill = chosen ? of(value(chosen, Number(dot.dataset.i))) : "";
  }
  document.body.classList.toggle("coloured", chosen !== null);
  if (unknown) legend.push(["others or not known", OTHER]);
  byId("legend").replaceChildren(...legend.map(([name, shade]) => {
    const entry = document.createElement("span");
    const spot = document.createElement("i");
    spot.style.background = shade;
    entry.append(spot, name);
    return entry;
  }));
};

byId("colour")?.addEventListener("change", (event) => colour(event.target.value));
if (byId("rows")) {
  byId("filter").addEventListener("input", find);
  byId("only").addEventListener("change", find);
  byId("back").addEventListener("click", () => { first -= AT_ONCE; draw(); });
  byId("next").addEventListener("click", () => { first += AT_ONCE; draw(); });
  for (const button of document.querySelectorAll("#rows th button")) {
    button.addEventListener("click", () => sort(Number(button.dataset.c), button.parentElement));
  }
  draw();
}
