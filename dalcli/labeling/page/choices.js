// The list of classes: which key means which, which are found by what is typed, which is pointed at.

const list = document.querySelector("#classes");
const search = document.querySelector("#search");
const nothing = document.querySelector("#nothing-found");
const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"];
// With fewer classes than this there is nothing to search for on a phone, where typing hides half the screen.
const SEARCH_FROM = 10;

let buttons = [];
let byKey = new Map();
let guess = null;

const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

// A class called by a digit has that key; the others get those that are left, in their order.
export function keysFor(classes) {
  const keys = new Map(classes.filter((name) => DIGITS.includes(name)).map((name) => [name, name]));
  const left = DIGITS.filter((digit) => !keys.has(digit));
  if (keys.size === 0 && classes.length > left.length) left.pop();  // with many classes 0 is not "the tenth"
  for (const name of classes) {
    if (left.length === 0) break;
    if (!keys.has(name)) keys.set(name, left.shift());
  }
  return keys;
}

function part(kind, className, text) {
  const element = document.createElement(kind);
  element.className = className;
  element.textContent = text;
  return element;
}

export function fill(classes, choose) {
  const keys = keysFor(classes);
  byKey = new Map([...keys].map(([name, key]) => [key, name]));
  buttons = classes.map((name, position) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "class";
    button.dataset.name = name;
    button.dataset.position = position;
    const key = keys.get(name);
    if (key) button.setAttribute("aria-keyshortcuts", key);
    button.append(part("kbd", "", key ?? ""), part("span", "name", name), part("span", "model", ""));
    button.addEventListener("click", () => choose(name));
    return button;
  });
  search.hidden = classes.length < SEARCH_FROM && matchMedia("(pointer: coarse)").matches;
  filter("");
}

// Those that match what is typed: names that begin with it, then words that do, then the rest.
function filter(text) {
  const wanted = folded(text.trim());
  const rank = (button) => {
    if (wanted === "") return button.dataset.name === guess && buttons.length > DIGITS.length ? -1 : 0;
    const name = folded(button.dataset.name);
    if (name === wanted) return 0;
    const at = name.indexOf(wanted);
    if (at < 0) return null;
    return at === 0 ? 1 : /[^\p{L}\p{N}]/u.test(name[at - 1]) ? 2 : 3;
  };
  const found = buttons.map((button) => [rank(button), button]).filter(([rank]) => rank !== null);
  found.sort(([a, x], [b, y]) => a - b || x.dataset.position - y.dataset.position);
  list.replaceChildren(...found.map(([, button]) => button));
  list.scrollTop = 0;
  nothing.hidden = found.length > 0;
}

// Mark what the model thinks. It is not chosen by that: nothing is.
export function mark(name, confidence) {
  guess = name;
  for (const button of buttons) {
    const marked = button.dataset.name === name;
    button.classList.toggle("guess", marked);
    button.querySelector(".model").textContent =
      !marked ? "" : confidence === null ? "model" : `model ${Math.round(100 * confidence)}%`;
  }
  clearSearch();
}

export const guessed = () => guess;
export const named = (key) => byKey.get(key);

export function flash(name) {
  const button = buttons.find((each) => each.dataset.name === name);
  button?.classList.add("given");
  return () => button?.classList.remove("given");
}

export function clearSearch() {
  search.value = "";
  filter("");
  if (document.activeElement === search || list.contains(document.activeElement)) document.activeElement.blur();
}

// Enter in the search answers with the first that was found, if anything was typed.
export const first = () => (search.value.trim() === "" ? undefined : list.firstElementChild?.dataset.name);

export function move(key) {
  const shown = [...list.children];
  const at = shown.indexOf(document.activeElement);
  const to = key === "ArrowDown" ? at + 1 : at - 1;
  if (to < 0) search.focus();
  else shown[Math.min(to, shown.length - 1)]?.focus();
}

search.addEventListener("input", () => filter(search.value));
