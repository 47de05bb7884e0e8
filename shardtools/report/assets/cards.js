// Lists of cards: a light place for each item, filled when it comes near the screen, so that thousands stay fluent.
const lists = [];
const filler = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) target.fill();
  },
  { rootMargin: "900px 0px" },
);

class CardList {
  // `build(item)` gives the content of a card; `keys(item)` the keys whose decisions it shows.
  constructor({ id, items, build, keys, refresh }) {
    this.element = byId(`${id}-list`);
    this.cards = items.map((item) => this.place(item, build, refresh));
    this.byKey = new Map();
    items.forEach((item, number) => {
      for (const key of keys(item)) this.byKey.set(key, [...(this.byKey.get(key) || []), this.cards[number]]);
    });
    listeners.add((key) => {
      for (const card of this.byKey.get(key) || []) if (card.isFilled) refresh(card, card.item);
    });
    lists.push(this);
  }

  place(item, build, refresh) {
    const card = make("li", { class: "card", tabindex: "-1" });
    card.item = item;
    card.isFilled = false;
    card.fill = () => {
      if (card.isFilled) return;
      card.isFilled = true;
      filler.unobserve(card);
      card.append(...build(item, card));
      refresh(card, item);
      setReachable(card, card.tabIndex === 0);
    };
    return card;
  }

  show(items) {
    const wanted = new Map(this.cards.map((card) => [card.item, card]));
    const shown = items.map((item) => wanted.get(item));
    this.element.replaceChildren(...shown);
    for (const card of shown) if (!card.isFilled) filler.observe(card);
    if (!shown.some((card) => card.tabIndex === 0) && shown.length) makeCurrent(shown[0]);
  }
}

// One card of a list is in the order of the Tab key, with its buttons; the arrows change which.
function makeCurrent(card) {
  const before = card.parentElement && card.parentElement.querySelector(':scope > .card[tabindex="0"]');
  if (before && before !== card) {
    before.tabIndex = -1;
    setReachable(before, false);
  }
  card.tabIndex = 0;
  setReachable(card, true);
}

function setReachable(card, isReachable) {
  for (const button of card.querySelectorAll("button")) button.tabIndex = isReachable ? 0 : -1;
}

function focusCard(card) {
  card.fill();
  makeCurrent(card);
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

function visibleCards() {
  const view = document.querySelector(".view:not([hidden])");
  return view === null ? [] : [...view.querySelectorAll(".card")].filter((card) => card.closest("[hidden]") === null);
}

function currentCard() {
  const focused = document.activeElement && document.activeElement.closest(".card");
  if (focused) return focused;
  const cards = visibleCards();
  return cards.find((card) => card.tabIndex === 0) || cards[0] || null;
}

function step(amount) {
  const cards = visibleCards();
  if (!cards.length) return;
  const focused = document.activeElement && document.activeElement.closest(".card");
  if (!focused) {
    focusCard(currentCard());
    return;
  }
  const place = cards.indexOf(focused) + amount;
  focusCard(cards[Math.min(Math.max(place, 0), cards.length - 1)]);
}

// Up and down by rows: as many cards as stand beside each other.
function rowLength(card) {
  const cards = [...card.parentElement.children];
  const others = cards.findIndex((one) => one.offsetTop > cards[0].offsetTop);
  return others < 0 ? cards.length : others;
}

function button(label, key, className, act) {
  const made = make("button", { type: "button", class: className, "aria-pressed": "false" }, label);
  if (key) made.append(" ", make("kbd", { "aria-hidden": "true" }, key));
  if (key) made.setAttribute("aria-keyshortcuts", key);
  made.addEventListener("click", (event) => {
    event.stopPropagation();
    act();
  });
  return made;
}

function place(sample) {
  const where = [sample.split, sample.dataset].filter(Boolean).join(" of ") || "not in this dataset";
  const size = sample.width ? `${sample.width} × ${sample.height}` : "";
  return make("p", { class: "place" }, text("split", where), " ", text("size", size));
}

function press(card, selector, isPressed) {
  const found = card.querySelector(selector);
  if (found) found.setAttribute("aria-pressed", String(isPressed));
}

function contains(sample, sought) {
  return sought === "" || sample.key.toLowerCase().includes(sought);
}

// Choices of labels that really occur, by name.
function fillLabels(select, found) {
  const known = [...new Set(found)].filter((label) => label !== null);
  known.sort((a, b) => labelName(a).localeCompare(labelName(b), "en"));
  for (const label of known) select.append(make("option", { value: String(label) }, labelName(label)));
}
