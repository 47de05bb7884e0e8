// What was decided, by key: kept in the browser under the digest of this very version of the dataset.
const storageName = `shardtools-report:${content.sha256}`;
const decisions = new Map();
const history = [];
const listeners = new Set();
let storageFails = false;

function readDecisions() {
  try {
    const stored = JSON.parse(localStorage.getItem(storageName) || "{}");
    for (const [key, decision] of Object.entries(stored)) {
      if (decision && ["drop", "relabel", "keep"].includes(decision.action)) decisions.set(key, decision);
    }
  } catch {
    // A page in a sandbox, or a browser that keeps nothing: decisions then live as long as the page.
    storageFails = true;
  }
}

function storeDecisions() {
  try {
    localStorage.setItem(storageName, JSON.stringify(Object.fromEntries(decisions)));
    storageFails = false;
  } catch {
    storageFails = true;
  }
}

// The reason stands in the new dataset's record: one line of at most 500 characters.
function oneLine(reason) {
  const line = reason.replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/gu, " ");
  return Array.from(line).slice(0, 500).join("");
}

function put(key, decision) {
  if (decision === null) decisions.delete(key);
  else decisions.set(key, decision);
  storeDecisions();
  for (const listener of listeners) listener(key);
}

function decide(sample, action, reason, label = null) {
  const before = decisions.get(sample.key) || null;
  const same = before !== null && before.action === action && (action !== "relabel" || before.class_index === label);
  const after = same ? null : { action, reason: oneLine(reason) };
  if (after !== null && action === "relabel") after.class_index = label;
  history.push({ key: sample.key, before });
  put(sample.key, after);
  say(after === null ? `${sample.key}: not decided` : `${sample.key}: ${decisionText(after)}`);
}

function undo() {
  const last = history.pop();
  if (last === undefined) {
    say("Nothing to undo");
    return null;
  }
  put(last.key, last.before);
  say(`Undone: ${last.key}`);
  return last.key;
}

function forget() {
  const keys = [...decisions.keys()];
  decisions.clear();
  history.length = 0;
  storeDecisions();
  for (const key of keys) for (const listener of listeners) listener(key);
}

function decisionText(decision) {
  if (decision.action === "drop") return "dropped";
  if (decision.action === "keep") return "label is right";
  return `relabelled as ${labelName(decision.class_index)}`;
}

function counts() {
  const found = { drop: 0, relabel: 0, keep: 0 };
  for (const { action } of decisions.values()) found[action] += 1;
  return found;
}

// The file that `shardtools apply` reads; a label that is right changes nothing and is left out.
function editsFile() {
  const edits = [];
  for (const key of [...decisions.keys()].sort()) {
    const { action, class_index, reason } = decisions.get(key);
    if (action === "drop") edits.push({ key, action, reason });
    if (action === "relabel") edits.push({ key, action, class_index, reason });
  }
  return { format: "shardtools-edits", format_version: 1, dataset_sha256: content.sha256, edits };
}

function download() {
  const blob = new Blob([`${JSON.stringify(editsFile(), null, 1)}\n`], { type: "application/json" });
  const link = make("a", { href: URL.createObjectURL(blob), download: "edits.json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
