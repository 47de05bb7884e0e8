// Duplicate pairs and images of bad quality.
let pairList = null;
const outlierLists = [];

function pairReason(pair, other) {
  const distance = pair.distance === null ? "" : `, distance ${figure(pair.distance)}`;
  const where = [pair.leak ? other.split : null, other.dataset].filter(Boolean).join(" of ");
  const leak = where ? `, which is in ${where}` : "";
  return `duplicate of ${other.key}${leak} (${pair.kind}${distance})`;
}

function labelsDiffer({ sample, copy }) {
  return sample.dataset === null && sample.label !== copy.label;
}

function dropCopy(pair) {
  decide(pair.copy, "drop", pairReason(pair, pair.sample));
}

function dropFirst(pair) {
  if (pair.sample.dataset !== null) say("The left one is in another dataset");
  else decide(pair.sample, "drop", pairReason(pair, pair.copy));
}

function side(sample, className, act, key) {
  const name = className === "first" ? "Drop left" : "Drop right";
  return make(
    "div",
    { class: `side ${className}` },
    picture(sample, "picture"),
    make("h3", { class: "key" }, text("", sample.key)),
    place(sample),
    make("p", { class: "label" }, text("", sample.dataset === null ? labelName(sample.label) : "")),
    sample.dataset === null ? button(name, key, `drop-${className}`, act) : "",
  );
}

function buildPair(pair) {
  const badges = make("p", { class: "badges" });
  if (pair.leak) badges.append(make("span", { class: "badge leak" }, `leak: ${pair.sample.split} / ${pair.copy.split}`));
  if (labelsDiffer(pair)) badges.append(make("span", { class: "badge" }, "labels differ"));
  const distance = pair.distance === null || pair.kind === "same bytes" ? "" : ` ${figure(pair.distance)}`;
  badges.append(text("badge plain", (pair.kind === "near copy" && distance ? "distance" : pair.kind) + distance));
  const left = side(pair.sample, "first", () => dropFirst(pair), "f");
  const right = side(pair.copy, "copy", () => dropCopy(pair), "d");
  return [badges, make("div", { class: "sides" }, left, right)];
}

function refreshPair(card, pair) {
  const isDropped = (sample) => sample.dataset === null && (decisions.get(sample.key) || {}).action === "drop";
  for (const [name, sample] of [["first", pair.sample], ["copy", pair.copy]]) {
    press(card, `.drop-${name}`, isDropped(sample));
    card.querySelector(`.${name}`).dataset.decision = isDropped(sample) ? "drop" : "";
  }
  card.dataset.decision = isDropped(pair.sample) || isDropped(pair.copy) ? "drop" : "";
}

function filterPairs() {
  const value = (name) => byId(`pairs-${name}`).value;
  const [kind, split, label, decision] = ["kind", "split", "class", "decision"].map(value);
  const sought = value("key").trim().toLowerCase();
  const found = pairs.filter((pair) => {
    const both = [pair.sample, pair.copy];
    const isDecided = both.some((one) => one.dataset === null && (decisions.get(one.key) || {}).action === "drop");
    return (
      (kind === "" || (kind === "leak" ? pair.leak : labelsDiffer(pair))) &&
      (split === "" || both.some((one) => one.split === split)) &&
      (label === "" || both.some((one) => String(one.label) === label)) &&
      (decision === "" || (decision === "drop") === isDecided) &&
      both.some((one) => contains(one, sought))
    );
  });
  pairList.show(found);
  byId("pairs-shown").textContent = `${found.length.toLocaleString("en")} of ${pairs.length.toLocaleString("en")} shown`;
}

function startPairs() {
  if (!pairs.length) return;
  pairList = new CardList({
    id: "pairs",
    items: pairs,
    build: buildPair,
    keys: (pair) => [pair.sample, pair.copy].filter((one) => one.dataset === null).map((one) => one.key),
    refresh: refreshPair,
  });
  fillLabels(byId("pairs-class"), pairs.flatMap((pair) => [pair.sample, pair.copy]).filter((one) => one.dataset === null).map((one) => one.label));
  for (const name of ["kind", "split", "class", "decision", "key"]) byId(`pairs-${name}`).addEventListener("input", filterPairs);
  filterPairs();
}

function outlierReason(outlier, kind) {
  return kind.measure === null ? kind.name : `${kind.name}: ${kind.measure} ${figure(outlier.value)}`;
}

function dropOutlier(outlier, kind) {
  decide(outlier.sample, "drop", outlierReason(outlier, kind));
}

function buildOutlier(outlier, kind) {
  const { sample } = outlier;
  const value = kind.measure === null ? "" : `${kind.measure.replaceAll("_", " ")} ${figure(outlier.value)}`;
  return [
    picture(sample, "picture"),
    make("h4", { class: "key" }, text("", sample.key)),
    make("p", { class: "place" }, text("", [sample.split, labelName(sample.label)].filter(Boolean).join(" · "))),
    make("p", { class: "place" }, text("", value)),
    button("Drop", "d", "drop", () => dropOutlier(outlier, kind)),
  ];
}

function refreshOutlier(card, outlier) {
  const isDropped = (decisions.get(outlier.sample.key) || {}).action === "drop";
  press(card, ".drop", isDropped);
  card.dataset.decision = isDropped ? "drop" : "";
}

function filterOutliers() {
  const kind = byId("outliers-kind").value;
  const label = byId("outliers-class").value;
  const sought = byId("outliers-key").value.trim().toLowerCase();
  let number = 0;
  outlierLists.forEach((list, place) => {
    const found = outlierKinds[place].rows.filter(
      ({ sample }) => (label === "" || String(sample.label) === label) && contains(sample, sought),
    );
    list.show(found);
    const isShown = (kind === "" || kind === String(place)) && found.length > 0;
    list.element.closest(".kind").hidden = !isShown;
    number += isShown ? found.length : 0;
  });
  const all = outlierKinds.reduce((sum, { rows }) => sum + rows.length, 0);
  byId("outliers-shown").textContent = `${number.toLocaleString("en")} of ${all.toLocaleString("en")} shown`;
}

function startOutliers() {
  if (!outlierKinds.length) return;
  outlierKinds.forEach((kind, number) => {
    outlierLists.push(
      new CardList({
        id: `outliers-${number}`,
        items: kind.rows,
        build: (outlier) => buildOutlier(outlier, kind),
        keys: (outlier) => [outlier.sample.key],
        refresh: refreshOutlier,
      }),
    );
  });
  fillLabels(byId("outliers-class"), outlierKinds.flatMap(({ rows }) => rows.map(({ sample }) => sample.label)));
  for (const name of ["kind", "class", "key"]) byId(`outliers-${name}`).addEventListener("input", filterOutliers);
  filterOutliers();
}
