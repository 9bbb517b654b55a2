// The image at hand, full size, and the next one, loaded ahead.

const TINY = 100;
const STEP = 80;

const frame = document.querySelector("#frame");
const note = document.querySelector("#note");
const zoomButton = document.querySelector("#zoom");
const loaded = new Map();

function load(sample) {
  if (!loaded.has(sample)) {
    const image = new Image();
    image.alt = "";
    image.draggable = false;
    const place = `image/${sample}`;
    image.src = place;
    const ready = image.decode().then(() => ({ image }), () => reason(place));
    loaded.set(sample, ready);
  }
  return loaded.get(sample);
}

// An <img> does not tell why it failed.
async function reason(place) {
  try {
    const response = await fetch(place);
    if (response.ok) return { problem: "this browser cannot show this image" };
    return { problem: (await response.json()).error };
  } catch {
    return { problem: "this image could not be loaded: the server does not answer" };
  }
}

// Load these images, and forget all others.
export function expect(samples) {
  samples.forEach(load);
  for (const sample of loaded.keys()) if (!samples.includes(sample)) loaded.delete(sample);
}

// Show an image; resolves when it can be seen (true) or cannot be shown (false).
export async function show(sample) {
  zoom(false);
  const pending = load(sample);
  frame.classList.add("busy");
  const { image, problem } = await pending;
  frame.classList.remove("busy");
  note.hidden = problem === undefined;
  note.textContent = problem === undefined ? "" : `${problem}. It can be skipped.`;
  if (image === undefined) {
    loaded.delete(sample);
    frame.replaceChildren();
    return false;
  }
  image.alt = "Image to label";
  image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) < TINY);
  frame.replaceChildren(image);
  return true;
}

export function clear() {
  frame.replaceChildren();
  note.hidden = true;
}

export const zoomed = () => frame.classList.contains("zoomed");

// One pixel of the image on one of the screen, or larger if that would make it smaller than it is.
export function zoom(on = !zoomed(), x = 0.5, y = 0.5) {
  const image = frame.querySelector("img");
  if (on && image) {
    const shown = Math.min(frame.clientWidth / image.naturalWidth, frame.clientHeight / image.naturalHeight);
    const scale = Math.max(1, 2 * shown);
    image.style.width = `${image.naturalWidth * scale}px`;
    image.style.height = `${image.naturalHeight * scale}px`;
  } else if (image) {
    image.style.removeProperty("width");
    image.style.removeProperty("height");
  }
  frame.classList.toggle("zoomed", on && image !== null);
  zoomButton.setAttribute("aria-pressed", String(zoomed()));
  if (zoomed()) {
    frame.scrollLeft = x * frame.scrollWidth - frame.clientWidth / 2;
    frame.scrollTop = y * frame.scrollHeight - frame.clientHeight / 2;
  }
}

export function pan(key) {
  const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  frame.scrollBy(x * STEP, y * STEP);
}

frame.addEventListener("click", (event) => {
  const image = frame.querySelector("img");
  if (!image) return;
  const box = image.getBoundingClientRect();
  // Inside its box the image is fitted and centred: where in the image was the click?
  const scale = zoomed() ? 1 : Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
  const part = (at, start, extent, natural) =>
    Math.min(1, Math.max(0, 0.5 + (at - start - extent / 2) / (natural * scale)));
  zoom(!zoomed(), part(event.clientX, box.left, box.width, image.naturalWidth),
    part(event.clientY, box.top, box.height, image.naturalHeight));
});
