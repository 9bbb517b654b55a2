// One image after the other: what is shown, what was answered, and which key does what.

import * as choices from "./choices.js";
import * as picture from "./picture.js";
import { leave, post, setup } from "./server.js";

const POLL = 4000;
// Somebody who has done nothing for so long has gone for a coffee: that is no labeling time.
const IDLE = 60000;
// The pace of the first answers says little.
const PACE_FROM = 3;

const find = (selector) => document.querySelector(selector);
const [search, error, end] = ["#search", "#error", "#end"].map(find);

let annotator = "";
let classesVersion = "";
let relabel = false;
let reply = null;
let busy = true;
let poll = 0;
let showing = 0;
let done = readDone();

// What can be taken back, oldest first; survives a reload of this tab.
function readDone() {
  try {
    return JSON.parse(sessionStorage.getItem("done")) ?? [];
  } catch {
    return [];
  }
}

function remember(answers) {
  done = answers.slice(-500);
  sessionStorage.setItem("done", JSON.stringify(done));
  find("#undo").disabled = done.length === 0;
  find("#end-undo").hidden = done.length === 0;
}

// Time at the image ------------------------------------------------------------------------------------------------

const watch = {
  spent: 0,
  since: null,
  start() { this.spent = 0; this.since = document.hidden ? null : performance.now(); },
  tick() {
    const now = performance.now();
    if (this.since !== null) this.spent += Math.min(now - this.since, IDLE);
    this.since = document.hidden ? null : now;
  },
  seconds() { this.tick(); return Math.round(this.spent) / 1000; },
};
document.addEventListener("visibilitychange", () => watch.tick());
for (const event of ["keydown", "pointermove", "pointerdown"]) {
  document.addEventListener(event, () => watch.tick(), { passive: true, capture: true });
}

// What is shown ----------------------------------------------------------------------------------------------------

const current = () => reply?.items[0];
const guessShown = () => localStorage.getItem("hide-guess") !== "1";

async function take(next) {
  reply = next;
  if (next.classes !== classesVersion) await learnClasses();
  standing(next.standing);
  picture.expect(next.items.map((item) => item.sample));
  const item = current();
  find("main").hidden = item === undefined;
  end.hidden = item !== undefined;
  clearTimeout(poll);
  if (item === undefined) {
    picture.clear();
    finish(next.standing);
    busy = false;
    return;
  }
  said(item.said);
  markGuess();
  const turn = ++showing;
  await picture.show(item.sample);
  if (turn !== showing) return;
  watch.start();
  busy = false;
}

function markGuess() {
  const item = current();
  choices.mark(guessShown() ? item?.guess ?? null : null, item?.confidence ?? null);
}

async function learnClasses() {
  const known = await setup();
  classesVersion = known.version;
  relabel = known.relabel;
  choices.fill(known.classes, (name) => answer({ label: name }, name));
  return known;
}

function standing(now) {
  find("#bar").max = Math.max(now.total, 1);
  find("#bar").value = now.done;
  find("#done").textContent = `${now.done} of ${now.total}`;
  find("#pace").textContent = now.an_hour === null || now.mine < PACE_FROM ? "" : `${Math.round(now.an_hour)} an hour`;
  const { seen, right } = now.guesses;
  find("#guesses").textContent = seen === 0 ? "" : `model right: ${right} of ${seen} (${Math.round(100 * right / seen)}%)`;
  document.title = `${now.done}/${now.total} dalcli label`;
}

function finish(now) {
  const left = now.total - now.done;
  if (now.total === 0) {
    find("#end-title").textContent = "No batch is open";
    find("#end-text").textContent = "It was closed or released. Another one is handed out with\ndalcli query --budget N";
  } else if (left === 0) {
    find("#end-title").textContent = "All done";
    find("#end-text").textContent = relabel
      ? `You have been asked about all ${now.total} disputed images. Ctrl-C in the terminal ends the page.`
      : `All ${now.total} images are answered and kept. Ctrl-C in the terminal ends the page; then\ndalcli train`;
  } else {
    find("#end-title").textContent = "Nothing left for you";
    find("#end-text").textContent = `Others are looking at the last ${left}. This page waits, in case they leave one.`;
  }
  end.focus();
  poll = setTimeout(async () => {  // another batch, or an image that somebody gave back
    if (!busy && current() === undefined && !document.hidden) await ask("next", {}, { quietly: true });
    else if (current() === undefined) finish(reply.standing);
  }, POLL);
}

function said(votes) {
  const box = find("#said");
  box.hidden = votes.length === 0;
  box.textContent = votes.map((vote) =>
    `${vote.annotator || "(no name)"}: ${vote.label ?? "skipped"}, ${vote.at.slice(0, 10)}`).join("  ·  ");
}

function complain(text) {
  error.hidden = !text;
  error.textContent = text ?? "";
}

// What is done -----------------------------------------------------------------------------------------------------

// True if the server did it. Until it says so, nothing else can be done, and the image stays.
async function ask(place, message, { quietly = false } = {}) {
  busy = true;
  try {
    const next = await post(place, { annotator, ...message });
    complain(null);
    if (place === "answer") remember([...done.filter((each) => each.vote !== next.vote), { vote: next.vote, annotator }]);
    await take(next);
    return true;
  } catch (problem) {
    if (!quietly) complain(problem.message);
    if (problem.status === 409) await learnClasses().then(markGuess, () => {});
    busy = false;
    if (quietly) finish(reply.standing);
    return false;
  }
}

async function answer(what, word) {
  const item = current();
  if (busy || item === undefined) return false;
  const unflash = choices.flash(what.label);
  const message = { sample: item.sample, seconds: watch.seconds(), ...what };
  const recorded = await ask("answer", message);
  unflash();
  if (recorded) find("#announce").textContent = `${word}. ${find("#done").textContent} done.`;
  return recorded;
}

async function undo() {
  if (busy || done.length === 0) return;
  const last = done.at(-1);
  annotator = last.annotator;
  nameButton();
  busy = true;
  try {
    const next = await post("undo", { annotator, vote: last.vote });
    remember(done.slice(0, -1));
    complain(null);
    await take(next);
    find("#announce").textContent = "The last answer is taken back.";
  } catch (problem) {
    if (problem.status === 409) remember(done.slice(0, -1));
    complain(problem.message);
    busy = false;
  }
}

const skip = () => answer({}, "Skipped");

// Dialogs ----------------------------------------------------------------------------------------------------------

function dialog(selector, submit) {
  const box = find(selector);
  box.querySelector(".cancel")?.addEventListener("click", () => box.close());
  box.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await submit() !== false) box.close();
  });
  return box;
}

const missingDialog = dialog("#missing-dialog", async () => {
  const name = find("#proposal").value.trim();
  if (!name || busy) return false;
  const recorded = await answer({ proposal: name }, `Proposed ${name}`);
  if (!recorded) find("#proposal-problem").textContent = error.textContent;
  return recorded;
});

const whoDialog = dialog("#who-dialog", async () => {
  const name = find("#name").value.trim();
  if (name === annotator) return true;
  annotator = name;
  sessionStorage.setItem("annotator", name);
  nameButton();
  void ask("next", {});
  return true;
});

const help = dialog("#help", async () => true);

function nameButton() {
  find("#who").textContent = annotator || "no name";
}

function openMissing() {
  if (busy || current() === undefined) return;
  find("#proposal").value = search.value.trim();
  find("#proposal-problem").textContent = "";
  missingDialog.showModal();
  find("#proposal").focus();
}

function openWho() {
  if (busy) return;
  find("#name").value = annotator;
  whoDialog.showModal();
  find("#name").select();
}

// Keys -------------------------------------------------------------------------------------------------------------

// Where digits stand above symbols (French keyboards), the key counts, not what it would write.
function digit(event) {
  if (/^[0-9]$/.test(event.key)) return event.key;
  const place = /^Digit([0-9])$/.exec(event.code);
  return place && !event.shiftKey && !/^[a-z]$/i.test(event.key) ? place[1] : null;
}

function inSearch(event) {
  if (event.key === "Enter") {
    const name = choices.first();
    if (name !== undefined) void answer({ label: name }, name);
  } else if (event.key === "Escape" || (event.key === "Backspace" && search.value === "")) {
    choices.clearSearch();
  } else if (event.key === "ArrowDown") {
    choices.move(event.key);
  } else {
    return;
  }
  event.preventDefault();
}

const actions = {
  ArrowRight: skip,
  Delete: skip,
  ArrowLeft: undo,
  Backspace: undo,
  "+": openMissing,
  " ": () => picture.zoom(),
  "?": () => help.showModal(),
  "/": () => search.focus(),
  "=": () => { if (choices.guessed()) void answer({ label: choices.guessed() }, choices.guessed()); },
  "#": () => { localStorage.setItem("hide-guess", guessShown() ? "1" : "0"); markGuess(); },
};

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.isComposing) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && document.activeElement !== search) {
    event.preventDefault();
    void undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || (event.altKey && event.key.length > 1)) return;
  if (document.activeElement === search) {
    inSearch(event);
    return;
  }
  // A button that has the focus is pressed by these keys, as everywhere.
  if ((event.key === " " || event.key === "Enter") && document.activeElement?.matches("button")) return;
  if (event.repeat && !picture.zoomed()) return;  // a key held down is one answer, not a row of them
  const inList = document.activeElement?.matches(".class");
  if (event.key === "Escape") {
    picture.zoom(false);
    choices.clearSearch();
  } else if (event.key.startsWith("Arrow") && picture.zoomed()) {
    picture.pan(event.key);
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    if (event.key === "ArrowDown" || inList) choices.move(event.key);
  } else if (digit(event) !== null && !busy) {
    const name = choices.named(digit(event));
    if (name !== undefined) void answer({ label: name }, name);
  } else if (Object.hasOwn(actions, event.key)) {
    void actions[event.key]();
  } else {
    if (/^\p{L}$/u.test(event.key) && !search.hidden && !busy) search.focus();  // and the letter is typed there
    return;
  }
  event.preventDefault();
});

for (const [selector, act] of [
  ["#undo", undo], ["#end-undo", undo], ["#skip", skip], ["#missing", openMissing],
  ["#zoom", () => picture.zoom()], ["#who", openWho], ["#help-button", () => help.showModal()],
]) {
  find(selector).addEventListener("click", (event) => {
    // Answering moves on: the focus must not stay on a button that the space bar would press again.
    if (event.detail > 0) event.currentTarget.blur();
    void act();
  });
}

addEventListener("pagehide", () => leave(annotator));
addEventListener("pageshow", (event) => { if (event.persisted) void ask("next", {}); });

// ------------------------------------------------------------------------------------------------------------------

async function begin() {
  busy = true;
  try {
    const known = await learnClasses();
    annotator = sessionStorage.getItem("annotator") ?? known.annotator;
  } catch (problem) {
    complain(problem.message);
    setTimeout(begin, POLL);
    return;
  }
  nameButton();
  remember(done);
  if (!await ask("next", {})) setTimeout(begin, POLL);
}

void begin();
