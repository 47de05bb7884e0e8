// What the page was given, by name: content.py writes these arrays and says what stands where.
const content = JSON.parse(document.getElementById("content").textContent);
const pictures = JSON.parse(document.getElementById("pictures").textContent);
const labels = new Map(content.classes.map(([index, name, wnid]) => [index, { index, name, wnid }]));

const samples = content.samples.map(([key, split, label, width, height, picture, prompt, dataset], number) => ({
  number,
  key,
  split: split < 0 ? null : content.splits[split],
  label,
  width,
  height,
  picture,
  prompt,
  dataset: dataset || null,
}));

const suspects = content.suspects.rows.map(([sample, given, suggested, probability, noise_probability, scores, near]) => ({
  sample: samples[sample],
  given,
  suggested,
  probability,
  noise_probability,
  scores,
  neighbors: near.map((number) => samples[number]),
}));

const pairs = content.pairs.map(([sample, copy, distance, kind, leak]) => ({
  sample: samples[sample],
  copy: samples[copy],
  distance,
  kind,
  leak: leak === 1,
}));

const outlierKinds = content.outliers.map(({ name, measure, rows }) => ({
  name,
  measure,
  rows: rows.map(([sample, value]) => ({ sample: samples[sample], value })),
}));

const byId = (id) => document.getElementById(id);

function labelName(label) {
  if (label === null || label === undefined) return "none";
  return labels.has(label) ? labels.get(label).name : `class ${label}`;
}

function figure(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1000 || size < 0.001 ? value.toPrecision(3) : value.toFixed(size < 10 ? 3 : 1);
}

// Elements are made by calls and text is set as text: nothing of a dataset is ever read as HTML.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function text(className, value) {
  return make("bdi", className ? { class: className } : {}, value);
}

function picture(sample, className) {
  const name = sample.dataset === null ? `${sample.key}, ${labelName(sample.label)}` : `${sample.key} of ${sample.dataset}`;
  if (sample.picture < 0) {
    return make("div", { class: `${className} absent`, role: "img", "aria-label": `${name}: no picture`, title: name }, "no picture");
  }
  const image = make("img", { class: className, alt: name, title: name, decoding: "async" });
  if (Math.max(sample.width || 0, sample.height || 0) <= 64) image.classList.add("pixels");
  image.src = `data:image/webp;base64,${pictures[sample.picture]}`;
  return image;
}

// The filled part is the value; widths are set through the object model, which the policy allows.
function meter(value) {
  const inner = make("span", {});
  inner.style.width = `${100 * Math.min(Math.max(value, 0), 1)}%`;
  return make("span", { class: "meter", "aria-hidden": "true" }, inner);
}

function say(message) {
  byId("status").textContent = message;
}
