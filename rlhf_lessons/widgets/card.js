// The rater card: one task at a time, by mouse, keys, thumb or screen reader, in the notebook and on the class page.
//
// It holds no truth. What it shows came from the host; a judgement is saved once the host has said so, and until then
// it is sent again and again under one id, over reloads too. `judgements.js` stands before it in the same module.

const PASSES = { // what is offered as a reason; words of one's own go as well
  skip: ["I cannot tell", "The prompt is unclear", "I know too little about it"],
  flag: ["Offensive", "Broken text", "Private data"],
};
const REST = { // states in which there is no task
  done: "Nothing is left to rate here. Thank you!", waiting: "The others have the rest. Looking for more …",
  paused: "The teacher has paused this round.", removed: "The teacher has removed you from this class.",
};
const FAILED = { answer: "NOT saved", undo: "NOT taken back", reveal: "NOT revealed" };

/** Show a rater card in `el`, which talks through `channel` ({send(message), listen(callback) -> stop}; wanted or not:
 * `scope`, a name under which an unsaved vote outlives a reload; `silence`, words for a host that does not answer;
 * `patience`, milliseconds until it counts as silent). Return a function that takes the card away. */
export function mountCard(el, channel) {
  const { silence = "the server does not answer", patience = 8000 } = channel;
  let shown = { task: {} }, judgement = null, saved = null, revealed = null, since = 0; // what is on the screen
  let touched = false, changed = 0, clicked = 0; // has this task been touched; when the card, and a first click, changed
  let pending = null, tries = 0, timer = 0, poll = 0; // the act that waits for the host's answer

  const question = make("h2", { class: "rl-question" }), progress = make("div", { class: "rl-progress" });
  const guideline = make("p"), prompt = make("p"), hint = make("p", { class: "rl-hint" });
  const work = make("fieldset", { class: "rl-work", "aria-label": "Your judgement" });
  const game = make("p", { class: "rl-game", "aria-live": "polite" }), others = make("div", { class: "rl-others" });
  const reasons = make("form", { class: "rl-reasons", hidden: true });
  const live = make("div", { class: "rl-status", role: "status", "aria-live": "polite" });
  const asks = () => shown.task.state === "task";
  const begun = () => shown.progress?.done > 0 || shown.progress?.passed > 0;
  const acts = [ // key, label, what it does, when it is there
    ["S", "Skip", () => ask("skip"), () => asks() && !saved],
    ["F", "Flag", () => ask("flag"), () => asks() && !saved],
    ["U", "Undo", () => act({ type: "undo", id: newId() }), () => begun() && !revealed],
    ["R", "Reveal", reveal, () => saved && !revealed],
    ["Enter", "Next", () => act({ type: "next" }), () => saved],
  ];
  const buttons = acts.map(([key, label, run]) => button(label, key, run, { class: `rl-act-${label}` }));
  const root = make("section", { class: "rl-card", tabindex: 0, "data-lm-suppress-shortcuts": "true", keydown: press },
    make("header", { class: "rl-top" }, question, progress),
    make("details", { class: "rl-guideline", open: true }, make("summary", {}, "What to look for"), guideline),
    make("div", { class: "rl-prompt" }, make("span", { class: "rl-label" }, "Prompt"), prompt),
    work, hint, game, others,
    make("div", { class: "rl-foot" }, make("div", { class: "rl-acts" }, ...buttons), live), reasons);
  const say = (text, mood = "") => { live.textContent = text; live.dataset.mood = mood; };

  // The vote that is not saved yet outlives a reload. Storage may be switched off: then it lives in memory only.

  const slot = `rl-card:${channel.scope ?? ""}`;
  const attempt = (action) => { try { return action(); } catch { return null; } };
  const keep = (message) => attempt(() => sessionStorage.setItem(slot, JSON.stringify(message)));
  const kept = () => attempt(() => JSON.parse(sessionStorage.getItem(slot)));

  // Acts: sent until the host answers, always under the same id

  function act(message) {
    clearTimeout(poll);
    [pending, tries] = [message, 0];
    if (message.type === "answer") { keep(message); say("Saving …"); }
    push();
    refresh();
  }
  function push() {
    clearTimeout(timer);
    timer = setTimeout(() => retry(silence), patience);
    attempt(() => channel.send(pending)); // where it fails, the silence will be noticed
  }
  function retry(reason) {
    clearTimeout(timer);
    const then = pending.type === "answer" ? "Your judgement is kept and sent again." : "Trying again.";
    say(`${FAILED[pending.type] ?? "Not ready"}, because ${reason}. ${then}`, "bad");
    timer = setTimeout(push, Math.min(8000, (patience / 4) * 2 ** tries++));
  }
  function settle() {
    clearTimeout(timer);
    if (pending.type === "answer") keep(null);
    pending = null;
  }
  function reveal() {
    act({ type: "reveal", id: newId(), task: shown.task.task });
  }
  function judge(payload, kind = shown.task.kind) {
    if (pending || saved) return;
    const ms = Math.round(performance.now() - since);
    if (kind === shown.task.kind) judgement.show(payload);
    act({ type: "answer", id: newId(), task: shown.task.task, kind, payload, ms, touched: true });
  }

  // What the host says

  function receive(message) {
    const mine = pending && (pending.id ?? null) === (message.id ?? null);
    if (message.type === "task") {
      if (pending && !pending.id) settle(); // it was asked for
      take(message);
    } else if (message.type === "ack") {
      acknowledged(message, mine ? pending : message);
    } else if (message.type === "nack" && mine && message.retry) {
      retry(message.reason);
    } else if (message.type === "nack" && mine) {
      const { type } = pending;
      settle();
      say(`${FAILED[type] ?? "No task"}, because ${message.reason}.`, "bad");
      if (type in FAILED) { shown = { task: {} }; act({ type: "ready" }); } // what is on the screen may be out of date
    } else if (message.type === "reveal" && message.task === shown.task.task) {
      if (pending?.type === "reveal") settle();
      revealed = message;
      drawReveal();
      say(`Revealed: #${saved?.seq ?? ""} is locked now.`);
    } else if (message.type === "note") {
      say(message.text, "bad");
    }
    refresh();
  }
  /** An act is done: `what` is the message that asked for it, of this view or of another of the same card. */
  function acknowledged(message, what) {
    if (what === pending) settle();
    if (message.progress) { shown.progress = message.progress; drawProgress(); }
    if (what.type === "undo") { say("Taken back."); act({ type: "next" }); }
    if (!what.payload) return;
    const passed = { skip: ": skipped", flag: ": flagged" }[what.kind] ?? "";
    say(`Saved #${message.seq}${passed}`, "good");
    if (what.type === "answer" && (passed || !judgement)) { // without a judgement, it is a vote from before a reload
      act({ type: judgement ? "next" : "ready" });
    } else if (what.task === shown.task.task && !passed) {
      saved = { seq: message.seq, payload: what.payload };
      changed = performance.now();
      judgement.show(what.payload);
    }
  }
  function take(message) {
    const same = message.task.task && message.task.task === shown.task.task && !message.saved === !saved
      && !message.revealed === !revealed; // a half-made judgement stays when another view asks for its task
    shown = message;
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
    judgement = asks() ? KINDS[task.kind](task, { judge, say }) : { question: REST[task.state], parts: [], keys: {} };
    root.setAttribute("aria-label", `Rater card: ${judgement.question}`);
    question.textContent = judgement.question;
    for (const [node, text] of [[guideline, task.guideline], [prompt, task.prompt]]) {
      node.textContent = text ?? "";
      node.parentNode.hidden = !text;
    }
    hint.textContent = judgement.hint ? `Keys: ${judgement.hint}` : "";
    work.replaceChildren(...judgement.parts);
    if (!live.dataset.mood) say("");
    if (saved) { judgement.show(saved.payload); say(`Saved #${saved.seq}`, "good"); }
    drawProgress();
    drawReveal();
    refresh();
    if (root.getBoundingClientRect().top < 0) root.scrollIntoView({ block: "start" });
    if (focused) root.focus({ preventScroll: true });
  }
  function drawProgress() {
    const { done = 0, passed = 0, left = 0, seconds = null } = shown.progress ?? {};
    const minutes = Math.round((left * seconds) / 60);
    const span = minutes < 1 ? "less than a minute" : `about ${minutes} min`;
    const time = seconds !== null && left ? `, ${span} left` : "";
    progress.replaceChildren(
      make("span", {}, `${done} of ${done + left} done${passed ? `, ${passed} skipped` : ""}${time}`),
      make("progress", { max: Math.max(done + left, 1), value: done, "aria-label": "Progress" }));
  }
  function ask(kind) {
    const pass = (reason) => judge({ reason }, kind);
    const field = make("input", { type: "text", maxlength: 500, "aria-label": `Reason (${kind})`,
      placeholder: kind === "skip" ? "Why? (may stay empty)" : "What is wrong with it?" });
    reasons.replaceChildren(...PASSES[kind].map((reason) => button(reason, "", () => pass(reason))), field,
      make("button", { class: "rl-main" }, kind === "skip" ? "Skip it" : "Flag it"), button("Cancel", "", cancel));
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
    const focus = document.activeElement;
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
    const { models, rewards, others: said, gold } = revealed;
    const best = Math.max(...rewards.filter(Number.isFinite)), means = judgement.means?.(said) ?? [];
    models.forEach((model, place) => {
      const words = [make("b", {}, model ? `by ${model}` : "author not named")], reward = rewards[place];
      const favourite = reward === best && rewards.length > 1 ? ", its favourite" : "";
      if (Number.isFinite(reward)) {
        const number = (reward < 0 ? "−" : "+") + Math.abs(reward).toFixed(2);
        words.push(make(favourite ? "b" : "span", {}, `reward model: ${number}${favourite}`));
      }
      if (means[place]) words.push(make("span", {}, means[place]));
      work.querySelector(`.rl-note[data-place="${place}"]`).replaceChildren(...words);
    });
    others.replaceChildren(make("p", {}, votes(said)));
    if (gold) others.prepend(make("p", { class: "rl-gold" }, make("b", {}, gold.right ? "As expected: " : "A check: "),
      `${letter(gold.best)} is the better one. ${gold.why ?? ""}`));
  }
  function votes({ n, simulated, choices }) {
    if (!n) return "Nobody else has judged this one yet.";
    const some = simulated < n ? `, ${simulated} of them simulated` : n > 1 ? ", all simulated" : ", a simulated rater";
    const who = `${n} other${n > 1 ? "s" : ""}${simulated ? some : ""}`;
    if (!choices) return `Judged by ${who}.`;
    const labels = { left: "A better", tie: "tie", right: "B better", bad: "both bad" };
    const counted = Object.keys(labels).filter((side) => choices[side]);
    return `${who}: ${counted.map((side) => `${choices[side]} ${labels[side]}`).join(", ")}`;
  }
  /** The game: the reward model's guess is sealed before the judgement and opened by the reveal. */
  function drawGame() {
    const { sealed, guess, hit, right, of } = revealed?.game ?? shown.game ?? {};
    game.hidden = of === undefined;
    if (game.hidden) return;
    const side = guess >= 0.5 ? "A" : "B", sure = Math.round(100 * Math.max(guess, 1 - guess));
    const [mood, verdict] = hit ? ["right", "Right!"] : hit === false ? ["wrong", "Wrong!"]
      : ["open", "No point: you named no winner."];
    const before = sealed ? "The reward model has sealed its guess."
      : "The reward model has no guess yet: it learns from your votes.";
    const words = guess === undefined ? before : `Its sealed guess: ${side}, ${sure} % sure. ${verdict}`;
    game.dataset.mood = guess !== undefined ? mood : sealed ? "sealed" : "";
    game.replaceChildren(make("span", { class: "rl-seal" }, words),
      of ? make("span", { class: "rl-score" }, ` It knows you: right in ${right} of ${of}.`) : "");
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
    if (pending || !action) return;
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
    work.addEventListener(type, () => { touched = true; });
  }

  el.append(root);
  const stop = channel.listen(receive);
  act(kept() ?? { type: "ready" });
  return () => {
    clearTimeout(timer);
    clearTimeout(poll);
    stop?.();
    root.remove();
  };
}

export default {
  render: ({ model, el }) => mountCard(el, {
    send: (message) => model.send(message),
    listen: (callback) => { model.on("msg:custom", callback); return () => model.off("msg:custom", callback); },
    silence: "the notebook's kernel does not answer (after a restart, run this cell again)",
    scope: model.get("scope"),
  }),
};
