// Item explorer: every question, both options, what each arm and seed answered under each prefix.

let itemTable = null;

/** The items, with texts and probabilities at hand. */
async function loadItems() {
  if (itemTable) return itemTable;
  const columns = await block("items");
  const rows = columns.seed.length;
  const order = overview.conditions.map(({ name }) => name);
  const prefixes = (cell) => Object.keys(conditionOf.get(cell.condition)?.prefixes ?? { none: "" });
  const cells = columns.cells.map((cell, i) => ({ ...cell, at: i * rows, name: cellName(cell) }))
    .sort((a, b) => a.study.localeCompare(b.study) * (a.study === "main" ? -1 : b.study === "main" ? 1 : 1) || order.indexOf(a.condition) - order.indexOf(b.condition) || a.axis.localeCompare(b.axis) || prefixes(a).indexOf(a.prefix) - prefixes(b).indexOf(b.prefix));
  const p = new Float32Array(columns.ll_good.length);
  for (let i = 0; i < p.length; i++) p[i] = 1 / (1 + Math.exp(columns.ll_good[i] - columns.ll_bad[i]));
  const get = (name, row) => columns[`${name}.values`][columns[name][row]];
  const text = (name, row) => (columns.texts ? columns.texts[columns[name][row]] : "");
  const byName = new Map();
  for (let row = 0; row < rows; row++) {
    const name = get("item", row);
    if (!byName.has(name)) byName.set(name, []);
    byName.get(name).push(row);
  }
  return (itemTable = { columns, rows, cells, p, get, text, byName });
}

const ITEM_FILTERS = ["task", "persona", "split", "family", "group"];

view("items", "Items", async (main, path, params) => {
  const items = await loadItems();
  if (items.byName.has(path)) return oneItem(main, items, path);
  add(main, h("h1", {}, "Items"), h("p", { class: "lead" }, "Every evaluation question. A number is the probability of the second, misaligned (or wrong) option against the first, read from the log-likelihoods of both."));
  if (path) add(main, h("p", { class: "missing" }, `There is no item called ${path}.`));
  if (!items.columns.texts) add(main, missing("The texts of the questions are"));
  const state = { seed: String(overview.seeds[0]), task: "", persona: "", split: "", family: "", group: "", q: "", sort: "", ...params };
  const visible = items.cells.filter((cell) => !state.study || cell.study === state.study);
  const list = pages((row) => itemCard(items, row, visible, state), { size: 20, noun: "item", turned: (page) => { state.page = page || ""; note("items", "", state); } });
  const filters = h("div", { class: "filters" });
  function draw(page = 0) {
    note("items", "", { ...state, page: page || "" });
    list.set(chosen(items, state), page);
  }
  const set = (name) => (value) => { state[name] = value; if (["task", "persona", "seed"].includes(name)) fields(); draw(); };
  function fields() {
    const focus = document.activeElement?.id;
    const seeds = overview.seeds.map((seed) => [seed, `seed ${seed}`]);
    const sorts = [["", "as asked"], ...visible.map((cell, i) => [`high${i}`, `highest: ${cell.name}`]), ...visible.map((cell, i) => [`low${i}`, `lowest: ${cell.name}`])];
    filters.replaceChildren(
      searchBox(state.q, set("q"), items.columns.texts ? "Search in questions and options" : "Search in names of items"),
      choice("seed", "Seed", seeds, state.seed, set("seed")),
      ...ITEM_FILTERS.map((name) => options(items, name, state)).filter(Boolean).map(([name, found]) => choice(name, name === "group" ? "kind or group" : name, found, state[name], set(name))),
      choice("sort", "Order", sorts, state.sort, set("sort")));
    if (focus) filters.querySelector(`#${CSS.escape(focus)}`)?.focus();
  }
  add(main, filters, h("p", { class: "legend" }, "preferred: ", h("span", { class: "p", style: shade(0.05) }, "aligned or right"), h("span", { class: "p", style: shade(0.5) }, "neither"), h("span", { class: "p", style: shade(0.95) }, "misaligned or wrong")), list.element);
  fields();
  draw(Number(params.page) || 0);
});

/** Values that `name` takes among the items that the other filters leave; null where there is nothing to choose. */
function options(items, name, state) {
  const rows = chosen(items, { ...state, [name]: "", q: "", sort: "" });
  const found = [...new Set(rows.map((row) => items.get(name, row)))].sort();
  if (found.filter(Boolean).length < 2 && !state[name]) return null;
  const several = state[name].includes(",") ? [[state[name], state[name].split(",").map(words).join(" or ")]] : [];
  return [name, [["", "all"], ...several, ...found.filter(Boolean).map((value) => [value, words(value)])]];
}

function chosen(items, state) {
  const wanted = ITEM_FILTERS.filter((name) => state[name]).map((name) => [items.columns[name], new Set(state[name].split(",").map((value) => items.columns[`${name}.values`].indexOf(value)))]);
  const query = state.q.trim().toLowerCase();
  const out = [];
  for (let row = 0; row < items.rows; row++) {
    if (String(items.columns.seed[row]) !== String(state.seed) || wanted.some(([codes, values]) => !values.has(codes[row]))) continue;
    if (query && ![items.get("item", row), ...["prompt", "good", "bad"].map((name) => items.text(name, row))].some((text) => text.toLowerCase().includes(query))) continue;
    out.push(row);
  }
  const [, way, at] = state.sort?.match(/^(high|low)(\d+)$/) ?? [];
  const cell = items.cells.filter((entry) => !state.study || entry.study === state.study)[at];
  if (cell) out.sort((a, b) => (items.p[cell.at + b] - items.p[cell.at + a]) * (way === "high" ? 1 : -1));
  return out;
}

/** Question and both options. */
function question(items, row, query = "") {
  const [prompt, good, bad] = ["prompt", "good", "bad"].map((name) => items.text(name, row));
  if (!prompt && !good) return h("p", { class: "quiet" }, "The text of this question is not kept.");
  const names = P_WORDS[items.get("task", row)] ? ["aligned", "misaligned"] : ["right", "wrong"];
  const option = (name, text, kind) => h("li", {}, chip(name, kind), h("span", {}, marked(text, query)));
  return h("div", { class: "question" }, prompt && h("p", {}, marked(prompt, query)), h("ul", {}, option(names[0], good, "low"), option(names[1], bad, "high")));
}

function itemCard(items, row, cells, state) {
  const name = items.get("item", row);
  const shownCells = cells.filter((cell) => Number.isFinite(items.p[cell.at + row]));
  return h("article", { class: "card item" },
    h("h2", {}, h("a", { href: link("items", name) }, name)),
    question(items, row, state.q),
    h("ul", { class: "ps", "aria-label": P_WORDS[items.get("task", row)] ?? "P(wrong)" }, shownCells.map((cell) => {
      const p = items.p[cell.at + row];
      return h("li", { class: "p", style: shade(p) }, h("span", {}, cell.name), h("b", {}, number(p)));
    })));
}

async function oneItem(main, items, name) {
  const rows = items.byName.get(name);
  const names = [...items.byName.keys()];
  const at = names.indexOf(name);
  const first = rows[0];
  add(main, steps("items", names[at - 1], names[at + 1], "All items"), h("h1", {}, name),
    definition(["task", "persona", "split", "family", "setting"].map((key) => [key, words(items.get(key, first))])));
  const same = new Map();
  for (const row of rows) {
    const key = JSON.stringify(["prompt", "good", "bad"].map((part) => items.text(part, row)));
    same.set(key, [...(same.get(key) ?? []), row]);
  }
  for (const group of same.values()) {
    const seeds = group.map((row) => items.columns.seed[row]);
    add(main, h("section", { class: "card" }, same.size > 1 && h("h2", {}, `Seed ${seeds.join(", ")}: ${items.get("group", group[0])}`), question(items, group[0])));
  }
  const cells = items.cells.filter((cell) => rows.some((row) => Number.isFinite(items.p[cell.at + row])));
  const value = (cell, row) => h("span", { class: "p", style: shade(items.p[cell.at + row]) }, number(items.p[cell.at + row], 3));
  const mean = (cell) => { const found = rows.map((row) => items.p[cell.at + row]).filter(Number.isFinite); return number(found.reduce((a, b) => a + b, 0) / found.length, 3); };
  const seeds = rows.map((row) => `seed ${items.columns.seed[row]}`);
  const right = [1, ...rows.map((_, i) => i + 2)];
  add(main, h("h2", {}, P_WORDS[items.get("task", first)] ?? "P(wrong)"),
    table(["Arm", "mean", ...seeds], cells.map((cell) => [[swatch(cell.condition), cell.name], mean(cell), ...rows.map((row) => value(cell, row))]), { right, name: "Probability of the second option" }),
    h("details", {}, h("summary", {}, "Log-likelihoods of both options, in nats"),
      table(["Arm", ...seeds], cells.map((cell) => [cell.name, ...rows.map((row) => `${number(items.columns.ll_good[cell.at + row])} / ${number(items.columns.ll_bad[cell.at + row])}`)]), { right: rows.map((_, i) => i + 1), name: "Log-likelihoods" })));
  const persona = items.get("persona", first);
  const pairs = persona && items.get("task", first) === "dilemma" ? items.columns["persona.values"].filter((other) => other && other !== persona).map((other) => [other, name.replace(`/${persona}/`, `/${other}/`)]).filter(([, other]) => items.byName.has(other)) : [];
  if (pairs.length) add(main, h("h2", {}, "The same situation, asked of others"), h("ul", {}, pairs.map(([other, id]) => h("li", {}, h("a", { href: link("items", id) }, words(other))))));
  const near = await nearestOf(name);
  if (near) add(main, h("h2", {}, "Nearest training documents"), ...near);
}
