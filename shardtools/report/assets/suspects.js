// The suspects: their cards, filters and order.
let suspectList = null;

function suspectReason(suspect) {
  const parts = [`${labelName(suspect.given)} suspected to be ${labelName(suspect.suggested)}`];
  if (suspect.probability !== null) parts.push(`probability ${figure(suspect.probability)}`);
  if (suspect.noise_probability !== null) parts.push(`noise probability ${figure(suspect.noise_probability)}`);
  return parts.join(", ");
}

function dropSuspect(suspect) {
  decide(suspect.sample, "drop", suspectReason(suspect));
}

function takeSuggestion(suspect) {
  if (suspect.suggested === null) say("There is no suggested label: press l to choose one");
  else decide(suspect.sample, "relabel", suspectReason(suspect), suspect.suggested);
}

function relabel(suspect, label) {
  decide(suspect.sample, "relabel", `${labelName(suspect.given)} relabelled by hand`, label);
}

function keepLabel(suspect) {
  decide(suspect.sample, "keep", "the label is right");
}

function neighbor(sample, suspect) {
  const kind = sample.label === suspect.suggested ? "suggested" : sample.label === suspect.given ? "given" : "other";
  return make("li", { class: kind }, picture(sample, "small-picture"), text("name", labelName(sample.label)));
}

// A score gets bars where all of its values are shares, whatever this card's happens to be.
const sharesOnly = content.suspects.scores.map((_, number) =>
  suspects.every(({ scores }) => scores[number] === null || (scores[number] >= 0 && scores[number] <= 1)),
);

function scoreRows(suspect) {
  return content.suspects.scores.map((name, number) => {
    const value = suspect.scores[number];
    const title = name.replaceAll("_", " ");
    const bar = sharesOnly[number] && value !== null ? meter(value) : "";
    return make("div", { title }, make("dt", {}, text("", title)), make("dd", {}, bar, figure(value)));
  });
}

function buildSuspect(suspect) {
  const { sample } = suspect;
  const share = suspect.probability === null ? "" : ` ${Math.round(100 * suspect.probability)} %`;
  const facts = make(
    "div",
    { class: "facts" },
    make("h3", { class: "key" }, text("", sample.key)),
    place(sample),
    make(
      "dl",
      { class: "labels" },
      make("div", {}, make("dt", {}, "given"), make("dd", { class: "given" }, text("", labelName(suspect.given)))),
      make("div", {}, make("dt", {}, "suggested"), make("dd", { class: "suggested" }, text("", labelName(suspect.suggested)), make("small", {}, share))),
      make("div", {}, make("dt", {}, "noise probability"), make("dd", {}, suspect.noise_probability === null ? "" : meter(suspect.noise_probability), figure(suspect.noise_probability))),
    ),
  );
  const parts = [make("div", { class: "head" }, picture(sample, "picture"), facts)];
  if (sample.prompt) parts.push(make("p", { class: "prompt", title: sample.prompt }, text("", sample.prompt)));
  if (suspect.scores.length) parts.push(make("dl", { class: "scores" }, ...scoreRows(suspect)));
  if (suspect.neighbors.length) {
    parts.push(make("ul", { class: "neighbors", "aria-label": "nearest images" }, ...suspect.neighbors.map((one) => neighbor(one, suspect))));
  }
  parts.push(
    make(
      "div",
      { class: "buttons" },
      button("Drop", "d", "drop", () => dropSuspect(suspect)),
      suspect.suggested === null ? "" : button("Take suggested", "r", "relabel", () => takeSuggestion(suspect)),
      button("Other", "l", "other", () => chooseLabel(suspect)),
      button("Right", "o", "keep", () => keepLabel(suspect)),
    ),
    make("p", { class: "verdict" }),
  );
  return parts;
}

function refreshSuspect(card, suspect) {
  const decision = decisions.get(suspect.sample.key) || null;
  const action = decision === null ? "" : decision.action;
  card.dataset.decision = action;
  press(card, ".drop", action === "drop");
  press(card, ".relabel", action === "relabel" && decision.class_index === suspect.suggested);
  press(card, ".other", action === "relabel" && decision.class_index !== suspect.suggested);
  press(card, ".keep", action === "keep");
  card.querySelector(".verdict").textContent = decision === null ? "" : decisionText(decision);
}

function suspectValue(suspect, name) {
  if (name.startsWith("score")) return suspect.scores[Number(name.slice("score".length))];
  return suspect[name];
}

function compareSuspects(name, direction) {
  if (name === "key") {
    return (a, b) => direction * (a.sample.key < b.sample.key ? -1 : a.sample.key > b.sample.key ? 1 : 0);
  }
  return (a, b) => {
    const one = suspectValue(a, name);
    const other = suspectValue(b, name);
    // What has no value comes last in either direction.
    if (one === null || other === null) return (one === null) - (other === null);
    return direction * (one - other);
  };
}

function filterSuspects() {
  const value = (name) => byId(`suspects-${name}`).value;
  const given = value("given");
  const suggested = value("suggested");
  const split = value("split");
  const decision = value("decision");
  const least = Number(value("least"));
  const sought = value("key").trim().toLowerCase();
  byId("suspects-least-value").textContent = least.toFixed(2);
  const found = suspects.filter((one) => {
    const decided = decisions.get(one.sample.key);
    return (
      (given === "" || String(one.given) === given) &&
      (suggested === "" || String(one.suggested) === suggested) &&
      (split === "" || one.sample.split === split) &&
      (decision === "" || (decision === "open" ? decided === undefined : decided !== undefined && decided.action === decision)) &&
      (least === 0 || (one.noise_probability !== null && one.noise_probability >= least)) &&
      contains(one.sample, sought)
    );
  });
  found.sort(compareSuspects(value("sort"), value("order") === "down" ? -1 : 1));
  suspectList.show(found);
  byId("suspects-shown").textContent = `${found.length.toLocaleString("en")} of ${suspects.length.toLocaleString("en")} shown`;
}

function startSuspects() {
  if (!suspects.length) return;
  suspectList = new CardList({
    id: "suspects",
    items: suspects,
    build: buildSuspect,
    keys: (suspect) => [suspect.sample.key],
    refresh: refreshSuspect,
  });
  fillLabels(byId("suspects-given"), suspects.map((one) => one.given));
  fillLabels(byId("suspects-suggested"), suspects.map((one) => one.suggested));
  for (const name of ["given", "suggested", "split", "decision", "sort", "order", "least", "key"]) {
    byId(`suspects-${name}`).addEventListener("input", filterSuspects);
  }
  // Names sort upwards, figures downwards, unless asked otherwise.
  byId("suspects-sort").addEventListener("change", (event) => {
    byId("suspects-order").value = event.target.value === "key" ? "up" : "down";
    filterSuspects();
  });
  for (const button of document.querySelectorAll("button[data-least]")) {
    button.addEventListener("click", () => showSuspectsFrom(button.dataset.least));
  }
  filterSuspects();
}

function showSuspectsFrom(least) {
  // The slider moves in steps of 0.01; downwards, so that no sample of the cut is hidden.
  byId("suspects-least").value = String(Math.floor(Number(least) * 100) / 100);
  filterSuspects();
  byId("suspects-shown").scrollIntoView({ block: "center" });
}

function showSuspectsOf(given, suggested) {
  if (suspectList === null) return;
  const choose = (id, label) => {
    const select = byId(id);
    if (![...select.options].some((option) => option.value === label)) {
      select.append(make("option", { value: label }, labelName(Number(label))));
    }
    select.value = label;
  };
  choose("suspects-given", given);
  choose("suspects-suggested", suggested);
  filterSuspects();
  goTo("suspects");
}
