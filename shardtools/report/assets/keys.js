// The keyboard. Letters work anywhere but in fields and dialogs; arrows only on cards, so that they still scroll.
const views = [...document.querySelectorAll(".view")];

function withCard(actions) {
  const card = currentCard();
  if (card === null) return;
  focusCard(card);
  const view = card.closest(".view").id;
  if (view in actions) actions[view](card.item, card);
}

function kindOf(card) {
  return outlierKinds[outlierLists.findIndex((list) => list.element === card.parentElement)];
}

const letterKeys = {
  j: () => step(1),
  k: () => step(-1),
  d: () =>
    withCard({
      suspects: dropSuspect,
      duplicates: dropCopy,
      quality: (outlier, card) => dropOutlier(outlier, kindOf(card)),
    }),
  f: () => withCard({ duplicates: dropFirst }),
  r: () => withCard({ suspects: takeSuggestion }),
  l: () => withCard({ suspects: chooseLabel }),
  o: () => withCard({ suspects: keepLabel }),
  u: () => {
    const key = undo();
    const card = visibleCards().find(({ item }) => item.sample.key === key || (item.copy && item.copy.key === key));
    if (card) focusCard(card);
  },
  e: () => openExport(),
  "?": () => byId("help").showModal(),
  "/": () => {
    const search = document.querySelector(".view:not([hidden]) input[type=search]");
    if (search === null) return;
    search.closest("details").open = true;
    search.focus();
  },
};

const arrowKeys = {
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  ArrowDown: (card) => step(rowLength(card)),
  ArrowUp: (card) => step(-rowLength(card)),
  Home: () => step(-Infinity),
  End: () => step(Infinity),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const target = event.target;
  if (target.matches("input, select, textarea")) {
    if (event.key === "Escape") {
      const card = currentCard();
      if (card !== null) focusCard(card);
      else target.blur();
    }
    return;
  }
  const card = target.closest && target.closest(".card");
  const number = Number(event.key);
  let act = letterKeys[event.key];
  if (card && event.key in arrowKeys) act = () => arrowKeys[event.key](card);
  if (number >= 1 && number <= views.length) act = () => goTo(views[number - 1].id);
  if (act === undefined) return;
  event.preventDefault();
  act();
}

// Shown at once: the event of a new address comes later, and a key pressed before it would act on the section left.
function goTo(id) {
  location.hash = `#${id}`;
  showView();
}

// Sections are pages of one file: the address says which one is shown.
let shownView = null;

function showView() {
  const wanted = views.find((view) => `#${view.id}` === location.hash) || views[0];
  if (wanted === shownView) return;
  shownView = wanted;
  for (const view of views) view.hidden = view !== wanted;
  for (const link of document.querySelectorAll("nav a")) {
    const isCurrent = link.getAttribute("href") === `#${wanted.id}`;
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (isCurrent) link.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  window.scrollTo(0, 0);
}
