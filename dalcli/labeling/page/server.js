// Talking to the server: every address is relative to the page's own, which holds the token.

const PATIENCE = 30000;

// This load of the page, to whom images are lent. Not kept: a duplicated tab is another page.
export const page = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
  byte.toString(16).padStart(2, "0")).join("");

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(place, options) {
  let response;
  try {
    response = await fetch(place, { ...options, signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Refused(0, "The server does not answer. Is `dalcli label` still running?");
  }
  const document = await response.json().catch(() => ({ error: `The server failed (${response.status}).` }));
  if (!response.ok) throw new Refused(response.status, document.error);
  return document;
}

export const setup = () => call("api/setup", {});

export const post = (place, message) => call(`api/${place}`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ page, ...message }),
});

// The page is being closed: others may have its images at once.
export function leave(annotator) {
  const body = new Blob([JSON.stringify({ page, annotator })], { type: "application/json" });
  navigator.sendBeacon("api/leave", body);
}
