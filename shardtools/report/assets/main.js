// Dialogs, theme, and the start.
let labelFor = null;

function chooseLabel(suspect) {
  labelFor = suspect;
  byId("label-for").textContent = suspect.sample.key;
  byId("label-search").value = "";
  listLabels();
  byId("label").showModal();
  byId("label-search").focus();
}

function listLabels() {
  const sought = byId("label-search").value.trim().toLowerCase();
  const found = content.classes
    .filter(([index, name, wnid]) => [String(index), name, wnid || ""].some((one) => one.toLowerCase().includes(sought)))
    .slice(0, 50);
  const choices = found.map(([index, name, wnid]) => {
    const choice = make("button", { type: "button", "data-label": index }, text("", name), " ", text("wnid", wnid || String(index)));
    choice.addEventListener("click", () => takeLabel(index));
    return make("li", {}, choice);
  });
  byId("label-choices").replaceChildren(...choices);
}

function takeLabel(index) {
  byId("label").close();
  relabel(labelFor, index);
  const card = visibleCards().find(({ item }) => item === labelFor);
  if (card) focusCard(card);
}

function summary() {
  const { drop, relabel: relabelled, keep } = counts();
  const parts = [];
  if (drop) parts.push(`${drop} to drop`);
  if (relabelled) parts.push(`${relabelled} to relabel`);
  if (keep) parts.push(`${keep} right`);
  return parts.join(", ");
}

function showCounts() {
  const { drop, relabel: relabelled } = counts();
  byId("decided").textContent = (summary() || "Nothing decided yet") + (storageFails ? " (not kept: this browser stores nothing for this page)" : "");
  byId("export").disabled = drop + relabelled === 0;
}

function openExport() {
  if (byId("export").disabled) {
    say("Nothing to export yet");
    return;
  }
  byId("export-summary").textContent = `${summary()}. Images whose label is right are not in the file.`;
  byId("export-command").textContent = `shardtools apply ${shellWord(content.dataset)} edits.json --out NEW-DATASET`;
  byId("export-dialog").showModal();
}

// As shardtools.quoting.shell_word: a name that begins with a dash would be an option, and the command stays one line.
function shellWord(name) {
  const word = name.startsWith("-") ? `./${name}` : name;
  if (/[\p{C}\u2028\u2029]/u.test(word)) {
    const escaped = (one) => `\\u${one.codePointAt(0).toString(16).padStart(4, "0")}`;
    return `$'${word.replace(/[\\']/g, "\\$&").replace(/[\p{C}\u2028\u2029]/gu, escaped)}'`;
  }
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function startDialogs() {
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  byId("export").addEventListener("click", openExport);
  byId("download").addEventListener("click", download);
  byId("forget").addEventListener("click", () => {
    if (!window.confirm("Forget all decisions about this dataset?")) return;
    forget();
    showCounts();
    byId("export-dialog").close();
  });
  for (const close of document.querySelectorAll("[data-close]")) {
    close.addEventListener("click", () => close.closest("dialog").close());
  }
  byId("label-search").addEventListener("input", listLabels);
  byId("label-search").addEventListener("keydown", (event) => {
    const first = byId("label-choices").querySelector("button");
    if (event.key === "Enter" && first !== null) first.click();
  });
}

function startTheme() {
  const root = document.documentElement;
  byId("theme").addEventListener("click", () => {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
  });
}

function startClassLinks() {
  for (const link of document.querySelectorAll("button[data-given]")) {
    link.disabled = suspects.length === 0;
    link.addEventListener("click", () => showSuspectsOf(link.dataset.given, link.dataset.suggested));
  }
}

readDecisions();
// On a phone the filters would fill the first screen.
if (matchMedia("(max-width: 40rem)").matches) {
  for (const toolbar of document.querySelectorAll(".toolbar")) toolbar.open = false;
}
startSuspects();
startPairs();
startOutliers();
startDialogs();
startTheme();
startClassLinks();
listeners.add(showCounts);
showCounts();
document.addEventListener("keydown", onKey);
document.addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (card) makeCurrent(card);
});
document.addEventListener("focusin", (event) => {
  const card = event.target.closest(".card");
  if (card && event.target === card) makeCurrent(card);
});
window.addEventListener("hashchange", showView);
showView();
document.documentElement.classList.add("ready");
