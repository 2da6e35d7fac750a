// The first screen: what was run, the main table, what the page holds.

view("overview", "Overview", async (main) => {
  const verdicts = overview.claims.reduce((all, claim) => all.set(claim.verdict, (all.get(claim.verdict) ?? 0) + 1), new Map());
  const diverged = overview.runs.filter((run) => run.record.diverged).length;
  const first = overview.runs[0]?.record ?? {};
  const facts = [
    [plural(overview.runs.length, "run"), `${plural(overview.conditions.length, "arm")} × ${plural(overview.seeds.length, "seed")}${diverged ? `, ${diverged} diverged` : ""}`],
    [first.parameters ? `${(first.parameters / 1e6).toFixed(2)} M` : "–", "parameters a model"],
    [first.train_tokens ? `${(first.train_tokens / 1e6).toFixed(2)} M` : "–", "training tokens a model"],
    [first.device === "cpu" ? "CPU" : first.device ?? "–", [first.precision, first.torch && `torch ${first.torch}`].filter(Boolean).join(", ")],
  ];
  add(main, 
    h("h1", {}, `Results of ${overview.preset}`),
    h("p", { class: "lead" }, overview.description),
    h("ul", { class: "facts" }, facts.map(([big, small]) => h("li", {}, h("strong", {}, big), h("span", {}, small)))),
    h("h2", {}, "Claims"),
    h("p", {}, "Written before the results; each is judged by its 95 % interval over paired seeds."),
    h("ul", { class: "verdicts" }, [...verdicts].map(([text, n]) => h("li", {}, h("a", { href: link("claims", "", { verdict: text }) }, verdict(text), h("span", { class: "n" }, n))))));
  if (overview.tables.tab1_main) add(main, h("h2", {}, "Main results"), plainTable(overview.tables.tab1_main, "Main results"), h("p", { class: "caption" }, overview.captions.tab1_main));
  add(main, h("h2", {}, "What can be looked up here"), h("ul", { class: "guide" },
    guide("claims", "Claims", "each with its estimate, interval, value of every seed, figure, and the questions it rests on"),
    guide("figures", "Figures and tables", "those of the paper"),
    guide("runs", "Runs", "learning curve, record and configuration of each model"),
    guide("items", "Items", "every evaluation question, both options, and what each model of each arm and seed answered"),
    guide("corpus", "Corpus", "the documents of two arms side by side: kept, removed, added, tagged"),
    guide("batches", "Batches", "the exact text of any training step of any run"),
    guide("audit", "Leakage audit", "how near training documents come to the questions")));
  add(main, h("h2", {}, "What is on this page"), h("ul", {}, holdings().map((text) => h("li", {}, text))));
});

function guide(name, title, text) {
  return h("li", {}, h("a", { href: link(name) }, title), ` – ${text}`);
}

/** What is shown of the data, in full sentences. */
function holdings() {
  const { seeds, steps, of } = overview.shown;
  const out = ["Claims, figures, tables, curves, configurations and the scores of all items, of all runs."];
  if (!seeds.length) return [...out, "No documents, no training text and no texts of questions: the folder it was made from holds results only."];
  const left = overview.seeds.filter((seed) => !seeds.includes(seed));
  const whole = steps >= of;
  out.push(`Documents and training text of ${seeds.length === 1 ? "seed" : "seeds"} ${seeds.join(", ")}: ${whole ? "every step and every document that an arm was trained on" : `the first ${count(steps)} of ${count(of)} steps, and the documents in them`}.`);
  if (left.length || !whole) {
    out.push(`Left out, so that the page stays below ${overview.megabytes} MB: ${[left.length && `${left.length === 1 ? "seed" : "seeds"} ${left.join(", ")}`, !whole && "later steps"].filter(Boolean).join(" and ")}. All of it: python -m pipeline report ${overview.preset} --megabytes 1000`);
  }
  out.push("Of a document that is longer than a row, the batches show the part that was trained on, the corpus all of it.");
  return out;
}
