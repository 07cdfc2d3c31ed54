// The rater card: one task at a time, by mouse, keys, thumb or screen reader, in the notebook and on the class page.
//
// The host is authoritative: what the card shows came from there, and a judgement is saved once the host has said so.
// Until then it is sent again (`makeOutbox`). `judgements.js` and WORDS stand before it in the same module.

const FRESH = 3000; // milliseconds for which the task that came along with an acknowledgement may be shown

/** Show a rater card in `el`, which talks through `channel`: send(message), listen(callback) -> stop, and `silence`,
 * words for a host that does not answer; optional are `scope`, a name for this rater's unsaved votes on this device,
 * `patience`, milliseconds until the host counts as silent, and `shows`, which is told of each task message that is
 * shown. Return a function that takes the card away. */
export function mountCard(el, channel) {
  const { card: words } = WORDS, patience = channel.patience ?? 8000;
  let shown = { task: {} }, judgement = null, saved = null, revealed = null, since = 0; // what is on the screen
  let touched = false, changed = 0, clicked = 0; // was this task touched; when did it appear, when the last click begin
  let poll = 0; // the timer that asks for a task again where there is none now
  let following = null, came = 0; // the task message that came along with the acknowledgement, and when

  const question = make("h2", { class: "rl-question" }), progress = make("div", { class: "rl-progress" });
  const prompt = make("p", { dir: "auto" }), hint = make("p", { class: "rl-hint" });
  const work = make("fieldset", { class: "rl-work", "aria-label": words.work });
  const game = make("p", { class: "rl-game", "aria-live": "polite" }), others = make("div", { class: "rl-others" });
  const reasons = make("form", { class: "rl-reasons", hidden: true });
  const live = make("div", { class: "rl-status", role: "status", "aria-live": "polite" });
  const asks = () => shown.task.state === "task";
  const begun = () => shown.progress?.done > 0 || shown.progress?.passed > 0;
  const acts = [ // key, name, what it does, when it is there
    ["S", "skip", () => ask("skip"), () => asks() && !saved],
    ["F", "flag", () => ask("flag"), () => asks() && !saved],
    ["U", "undo", () => act({ type: "undo", id: newId() }), () => begun() && !revealed],
    ["R", "reveal", reveal, () => saved && !revealed],
    ["Enter", "next", showNext, () => saved],
  ];
  const buttons = acts.map(([key, name, run]) => button(words[name], key, run, { class: `rl-act-${name}` }));
  const root = make("section", { class: "rl-card", tabindex: 0, "data-lm-suppress-shortcuts": "true", keydown: press },
    make("header", { class: "rl-top" }, question, progress),
    make("div", { class: "rl-prompt" }, make("span", { class: "rl-label" }, words.prompt), prompt),
    work, hint, game, others,
    make("div", { class: "rl-foot" }, make("div", { class: "rl-acts" }, ...buttons), live), reasons);
  const say = (text, mood = "") => { live.textContent = text; live.dataset.mood = mood; };

  // Acts: sent until the host answers, always under the same id

  const outbox = makeOutbox({ ...channel, patience }, (message, reason) => {
    const what = words[`failed_${message.type}`] ?? words.not_ready;
    say(`${fill(words.failed, { what, reason })} ${words[`again_${message.type}`] ?? words.again}`, "bad");
    refresh();
  });
  function act(message) {
    clearTimeout(poll);
    following = null; // it may no longer be what comes next
    if (message.type === "answer") say(words.saving);
    outbox.put(message);
    refresh();
  }
  function showNext() {
    if (!following || performance.now() - came > FRESH) return act({ type: "next" });
    take(following);
    refresh();
  }
  function reveal(event) { // it stands where "Save" stood: the second click of a double click is not meant for it
    if (!(event?.detail > 1)) act({ type: "reveal", id: newId(), task: shown.task.task });
  }
  function judge(payload, kind = shown.task.kind) {
    if (outbox.first() || saved) return;
    const ms = Math.round(performance.now() - since);
    if (kind === shown.task.kind) judgement.show(payload);
    act({ type: "answer", id: newId(), task: shown.task.task, kind, payload, ms, touched });
  }

  // What the host says

  function receive(message) {
    const pending = outbox.first(), mine = pending && (pending.id ?? null) === (message.id ?? null);
    if (message.type === "task") {
      if (pending && !pending.id) outbox.settle(); // it was asked for
      take(message);
    } else if (message.type === "ack") {
      if (mine) outbox.settle();
      acknowledged(message, mine ? pending : message);
    } else if (message.type === "nack" && mine && message.retry) {
      outbox.retry(message.reason);
    } else if (message.type === "nack" && mine) {
      const what = words[`failed_${pending.type}`];
      outbox.settle();
      say(fill(words.failed, { what: what ?? words.no_task, reason: message.reason }), "bad");
      if (what) { shown = { task: {} }; act({ type: "ready" }); } // what is on the screen may be out of date
    } else if (message.type === "reveal" && message.task === shown.task.task) {
      if (pending?.type === "reveal") outbox.settle();
      revealed = message;
      drawReveal();
      say(fill(words.revealed, { seq: saved?.seq ?? "" }));
    } else if (message.type === "note") {
      say(message.text, "bad");
    }
    refresh();
  }
  /** An act is done: `what` is the message that asked for it, of this view or of another of the same card. */
  function acknowledged(message, what) {
    if (message.progress) { shown.progress = message.progress; drawProgress(); }
    if (what.type === "undo") { say(words.taken_back); act({ type: "next" }); }
    if (!what.payload) return;
    following = message.next ?? null;
    came = performance.now();
    const passed = words[`saved_${what.kind}`];
    say(fill(passed ?? words.saved, { seq: message.seq }), "good");
    if (passed && what.type === "answer" && judgement) {
      showNext();
    } else if (judgement && what.task === shown.task.task && !passed) {
      saved = { seq: message.seq, payload: what.payload };
      judgement.show(what.payload);
    }
  }
  function take(message) {
    const same = message.task.task && message.task.task === shown.task.task && !message.saved === !saved
      && !message.revealed === !revealed; // a half-made judgement stays when another view asks for its task
    shown = message;
    following = null;
    channel.shows?.(message);
    if (same) { drawProgress(); drawGame(); } else draw();
    if (message.message) say(message.message);
    if (["waiting", "paused"].includes(message.task.state)) poll = setTimeout(act, patience / 2, { type: "next" });
  }

  // What is on the screen

  function draw() {
    const { task } = shown, focused = root.contains(document.activeElement);
    saved = shown.saved ?? null;
    revealed = shown.revealed ?? null;
    since = changed = performance.now();
    touched = false;
    judgement = asks() ? KINDS[task.kind](task, { judge, say }) : { question: words[task.state], parts: [], keys: {} };
    const asked = task.question ?? judgement.question;
    root.setAttribute("aria-label", fill(words.name, { question: asked }));
    question.textContent = asked;
    prompt.textContent = task.prompt ?? "";
    prompt.parentNode.hidden = !task.prompt;
    hint.textContent = judgement.hint ? fill(words.keys, judgement) : "";
    work.replaceChildren(...judgement.parts);
    if (!live.dataset.mood) say("");
    if (saved) { judgement.show(saved.payload); say(fill(words.saved, saved), "good"); }
    drawProgress();
    drawReveal();
    refresh();
    if (root.getBoundingClientRect().top < 0) root.scrollIntoView({ block: "start" });
    if (focused) root.focus({ preventScroll: true });
  }
  function drawProgress() {
    const { done = 0, passed = 0, left = 0, seconds = null } = shown.progress ?? {};
    const minutes = Math.round((left * seconds) / 60), all = done + left;
    const parts = [words.progress_done];
    if (passed) parts.push(words.progress_passed);
    if (seconds !== null && left) parts.push(minutes < 1 ? words.progress_less : words.progress_minutes);
    progress.replaceChildren(make("span", {}, fill(parts.join(""), { done, all, passed, minutes })),
      make("progress", { max: Math.max(all, 1), value: done, "aria-label": words.progress }));
  }
  function ask(kind) {
    const pass = (reason) => judge({ reason }, kind), told = WORDS[kind];
    const field = make("input",
      { type: "text", maxlength: 500, "aria-label": told.name, placeholder: told.placeholder });
    reasons.replaceChildren(...told.reasons.map((reason) => button(reason, "", () => pass(reason))), field,
      make("button", { class: "rl-main" }, told.send), button(told.cancel, "", cancel));
    reasons.onsubmit = (event) => { event.preventDefault(); pass(field.value); };
    reasons.hidden = false;
    field.focus();
  }
  function cancel() {
    reasons.hidden = true;
    root.focus({ preventScroll: true });
  }
  /** Lock or open what can be pressed, and keep the focus inside the card: keys work on, none falls to the notebook. */
  function refresh() {
    const focus = document.activeElement, pending = outbox.first();
    root.dataset.state = pending ? "pending" : !asks() ? "rest" : revealed ? "revealed" : saved ? "saved" : "open";
    work.disabled = Boolean(pending || saved);
    if (pending || saved) reasons.hidden = true;
    acts.forEach(([, , , there], i) => Object.assign(buttons[i], { hidden: !there(), disabled: pending !== null }));
    const lost = focus.matches(":disabled") || !focus.getClientRects().length;
    if (root.contains(focus) && lost) root.focus({ preventScroll: true });
  }

  // What was hidden until the judgement: authors, rewards, what others said, the sealed guess

  function drawReveal() {
    drawGame();
    others.hidden = !revealed;
    if (!revealed) return;
    const { models, rewards, others: said } = revealed, { reveal: told } = WORDS;
    const best = Math.max(...rewards.filter(Number.isFinite)), means = judgement.means?.(said) ?? [];
    models.forEach((model, place) => {
      const notes = [make("b", { "data-model": model || undefined }, model ? fill(told.author, { model }) : told.no_author)];
      if (Number.isFinite(rewards[place])) {
        const favourite = rewards[place] === best && rewards.length > 1;
        const reward = (rewards[place] < 0 ? "−" : "+") + Math.abs(rewards[place]).toFixed(2);
        notes.push(make(favourite ? "b" : "span", {}, fill(favourite ? told.favourite : told.reward, { reward })));
      }
      if (means[place]) notes.push(make("span", {}, means[place]));
      work.querySelector(`.rl-note[data-place="${place}"]`).replaceChildren(...notes);
    });
    others.replaceChildren(make("p", {}, votes(said)));
  }
  function votes({ n, simulated, choices }) {
    const { reveal: told } = WORDS, how = !simulated ? "" : simulated < n ? "some_" : n > 1 ? "all_" : "one_";
    if (!n) return told.nobody;
    const who = fill(how ? told[`${how}simulated`] : n > 1 ? told.many : told.one, { n, simulated });
    if (!choices) return fill(told.judged, { who });
    const given = ["left", "tie", "right", "bad"].filter((side) => choices[side]);
    return fill(told.counts, { who, counts: given.map((side) => fill(told[side], { n: choices[side] })).join(", ") });
  }
  /** The game: the reward model's guess is sealed before the judgement and opened by the reveal. */
  function drawGame() {
    const { sealed, guess, hit, right, of } = revealed?.game ?? shown.game ?? {}, { game: told } = WORDS;
    game.hidden = of === undefined;
    if (game.hidden) return;
    const side = guess >= 0.5 ? "A" : "B", sure = Math.round(100 * Math.max(guess, 1 - guess));
    const mood = hit ? "right" : hit === false ? "wrong" : "open", opened = guess !== undefined;
    game.dataset.mood = opened ? mood : sealed ? "sealed" : "";
    const sentence = opened ? fill(told.guess, { side, sure, verdict: told[mood] }) : sealed ? told.sealed : told.none;
    game.replaceChildren(make("span", { class: "rl-seal" }, sentence),
      of ? make("span", { class: "rl-score" }, fill(told.score, { right, of })) : "");
  }

  /** Keys: single ones, only inside the card, never with a modifier, held down, or while somebody writes. */
  function press(event) {
    const { target } = event, name = keyOf(event);
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    event.stopPropagation(); // no plain key goes on to the notebook
    if (name === "Escape" && !reasons.hidden) cancel();
    if (event.repeat && name === "Enter" && !target.matches("textarea")) event.preventDefault(); // no button, no form
    if (event.repeat || event.timeStamp < changed || (event.shiftKey && name === "Enter")) return;
    if (target.matches("textarea, [type=text]")) return;
    if (target.matches("button, summary") && name === "Enter") return; // it presses the button
    if (target.matches("[type=radio]") && name.startsWith("Arrow")) return;
    const common = acts.find(([own, , , there]) => own === name && there());
    const action = common ? common[2] : !saved && judgement?.keys[name];
    if (outbox.first() || !action) return;
    event.preventDefault();
    if (!common && name === "Enter" && !touched) say(judgement.untouched); // it was pressed for the task before
    else action();
  }
  /** Drop the second half of a double click whose first half was meant for what stood here before. */
  function guard(event) {
    if (event.type === "mousedown" && event.detail < 2) clicked = event.timeStamp;
    if (event.detail < 2 || clicked >= changed) return;
    event.preventDefault();
    event.stopPropagation();
  }
  for (const type of ["mousedown", "click"]) root.addEventListener(type, guard, true);
  for (const type of ["click", "focusin", "input", "gotpointercapture"]) {
    work.addEventListener(type, () => { touched = true; }, true); // before a button does what it does
  }

  el.append(root);
  const stop = channel.listen(receive);
  act({ type: "ready" });
  return () => {
    outbox.close();
    clearTimeout(poll);
    stop?.();
    root.remove();
  };
}

// The outbox: what the card has said and its host has not confirmed.
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
  /** The first message has its answer: send the next. */
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

export default {
  render: ({ model, el }) => mountCard(el, {
    send: (message) => model.send(message),
    listen: (callback) => { model.on("msg:custom", callback); return () => model.off("msg:custom", callback); },
    silence: WORDS.card.silence,
    scope: model.get("scope"),
  }),
};
