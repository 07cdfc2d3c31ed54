// What the three pages share. Whatever models or people wrote goes in as text, never as markup.

export { make } from "./card.js"; // the one that the card is built with

/** Send a request and return {status, body}; status 0 where there is no network, or no answer within 10 seconds. */
export async function request(path, message) {
  const options = message === undefined ? {}
    : { method: "POST", headers: { "Content-Type": "application/json", "X-Class": "1" }, body: JSON.stringify(message) };
  try {
    const answer = await fetch(path, { ...options, signal: AbortSignal.timeout?.(10000) });
    return { status: answer.status, body: await answer.json() };
  } catch {
    return { status: 0, body: { error: "no connection to the teacher's computer" } };
  }
}

/** Show what `path` gives, every two seconds, for as long as the page is open. */
export async function follow(path, draw) {
  for (;;) {
    const { status, body } = await request(path);
    draw(status === 200 ? body : null, body.error);
    await new Promise((wake) => setTimeout(wake, 2000));
  }
}

/** Take the key out of the address bar: it has become a cookie, and the room need not read it. */
export function forgetKey() {
  history.replaceState(null, "", location.pathname);
}

export const percent = (share) => `${Math.round(100 * share)}\u00a0%`; // that no line breaks before the sign
export const between = ({ low, high }) => (Number.isFinite(low) ? `${Math.round(100 * low)} to ${percent(high)}` : "");
