// What the card has said and its host has not confirmed.
//
// A message is sent again until the host has answered it, always under the same id, so that it counts once. A judgement
// waits in the browser's storage as well, in an entry of its own: it outlives reloads, kills and other tabs.

const slot = (scope, id = "") => `rl-card:${scope}:${id}`;

/** Return what `action` returns, or null where it fails: storage may be switched off, a line may be dead. */
function attempt(action) {
  try { return action(); } catch { return null; }
}

/** Return the judgements of this scope that wait in the browser's storage, the oldest first. */
function keptVotes(scope) {
  const names = attempt(() => Object.keys(localStorage)) ?? [];
  const kept = names.filter((name) => name.startsWith(slot(scope)))
    .map((name) => attempt(() => JSON.parse(localStorage.getItem(name))));
  return kept.filter((found) => found?.message?.id).sort((a, b) => a.made - b.made).map(({ message }) => message);
}

/** Drop the judgements of this scope that wait on this device, as when somebody else uses it from now on. */
export function forgetVotes(scope) {
  for (const { id } of keptVotes(scope)) localStorage.removeItem(slot(scope, id));
}

/** Return an outbox for a card's channel; it begins to send with the first message put in.
 *
 * `failed(message, reason)` is told of each failure; then the message is sent again. Where `send` returns a promise,
 * the host's silence is counted from its end. */
function makeOutbox({ send, scope = "", patience, silence }, failed) {
  const waiting = keptVotes(scope);
  let tries = 0, timer = 0, turn = 0, resting = false; // a later turn makes what an earlier one waits for out of date

  function push() {
    clearTimeout(timer);
    const mine = ++turn;
    const listen = () => { if (mine === turn) timer = setTimeout(() => retry(silence), patience); };
    resting = false;
    Promise.resolve(attempt(() => send(waiting[0]))).then(listen, listen); // where it fails, the silence is noticed
  }
  function retry(reason) {
    turn += 1;
    clearTimeout(timer);
    failed(waiting[0], reason);
    resting = true;
    timer = setTimeout(push, Math.min(8000, (patience / 4) * 2 ** tries));
    tries += 1;
  }
  function put(message) {
    if (message.type === "answer") {
      const kept = JSON.stringify({ made: Date.now(), message });
      attempt(() => localStorage.setItem(slot(scope, message.id), kept));
    }
    waiting.push(message);
    if (waiting.length === 1 || !turn) push();
  }
  /** The first message has its answer: go on to the next. */
  function settle() {
    const { id } = waiting.shift();
    attempt(() => localStorage.removeItem(slot(scope, id)));
    turn += 1;
    clearTimeout(timer);
    tries = 0;
    resting = false;
    if (waiting.length) push();
  }
  function wake() {
    if (resting) push();
  }
  function close() {
    turn += 1;
    clearTimeout(timer);
    removeEventListener("online", wake);
  }

  addEventListener("online", wake);
  return { put, settle, retry, close, first: () => waiting[0] ?? null };
}
