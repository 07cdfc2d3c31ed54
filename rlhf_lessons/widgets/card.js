// The rater card: one task at a time, by mouse, keys, thumb or screen reader, in the notebook and on the class page.
//
// It holds no truth. What it shows came from the host; a judgement is saved once the host has said so, and until then
// it is sent again and again under one id, over reloads too. Whatever models or people wrote goes in as text nodes.

export const CRITERIA = {
  relevance: "Does it do what was asked?", accuracy: "Is what it says right?", clarity: "Does it read well?",
};
const PAIR = [ // key, label, choice, strength: in the order of the buttons
  ["1", "A much better", "left", 2], ["2", "A better", "left", 1], ["3", "Tie", "tie", 0],
  ["4", "B better", "right", 1], ["5", "B much better", "right", 2], ["0", "Both bad", "bad", 0],
];
const PASSES = { // what is offered as a reason; words of one's own go as well
  skip: ["I cannot tell", "The prompt is unclear", "I know too little about it"],
  flag: ["Offensive", "Broken text", "Private data"],
};
const REST = { // states in which there is no task
  done: "Nothing is left to rate here. Thank you!", waiting: "The others have the rest. Looking for more …",
  paused: "The teacher has paused this round.", removed: "The teacher has removed you from this class.",
};
const FAILED = { answer: "NOT saved", undo: "NOT taken back", reveal: "NOT revealed" };
const letter = (place) => "ABCDEFGHI"[place];
const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1);

/** Return a new element. Strings among the children become text nodes, so nothing in them is ever markup. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Return a button that shows its key. */
function button(label, key, click, attributes = {}) {
  const children = key ? [make("kbd", { "aria-hidden": "true" }, key), label] : [label];
  return make("button", { type: "button", click, "aria-keyshortcuts": key || undefined, ...attributes }, ...children);
}

/** Return an id for one act. crypto.randomUUID is missing on plain http, as on a class page in a local network. */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the pane of one answer: its letter, its text, and room for what the reveal says of it. */
function pane(answer, place) {
  const label = `Answer ${letter(place)}`, text = answer.text.trim() ? answer.text : "(nothing: it ended at once)";
  const body = make("div", { class: "rl-text", tabindex: 0, role: "group", "aria-label": label }, text);
  if (answer.ended === false) body.append(make("span", { class: "rl-cut" }, " … (cut off at the length limit)"));
  return make("article", { class: `rl-pane rl-${letter(place)}`, "aria-label": label },
    make("span", { class: "rl-letter", "aria-hidden": "true" }, letter(place)), body,
    make("div", { class: "rl-note", "data-place": place }));
}

// The kinds of judgement. Each takes the task and the card ({judge(payload), say(words)}) and returns {question, parts:
// what to show, keys: {key: action}, hint: the keys that stand on no button, show(payload): put a judgement on the
// screen, means(others): what the others said of each answer, in words}.

function pair(task, card) {
  const choices = PAIR.map(([key, label, choice, strength]) => button(label, key,
    () => card.judge({ choice, strength }),
    { "aria-pressed": "false", class: `rl-choice rl-${choice} rl-strength-${strength}` }));
  return {
    question: "Which answer is better?",
    parts: [make("div", { class: "rl-answers" }, ...task.answers.map(pane)),
      make("div", { class: "rl-scale" }, ...choices)],
    keys: Object.fromEntries(PAIR.map(([key], i) => [key, () => choices[i].click()])),
    show: (said) => PAIR.forEach(([, , choice, strength], i) => choices[i].setAttribute("aria-pressed",
      choice === said.choice && (strength === 0 || strength === (said.strength ?? 1)))),
  };
}

function ranking(task, card) {
  const list = make("ol", { class: "rl-list", "aria-label": "Answers, the best first" });
  const tied = new Set(); // answers that are as good as the one above them
  const rows = task.answers.map((answer, item) => {
    const press = (symbol, words, action) => button(symbol, "", action, { "aria-label": words });
    const hold = (event) => drag(event, item);
    return make("li", { class: "rl-row" },
      make("span", { class: "rl-handle", "aria-hidden": "true", title: "Drag", pointerdown: hold }, "⠿"),
      make("span", { class: "rl-rank", "aria-hidden": "true" }), pane(answer, item), make("div", { class: "rl-moves" },
        press("= tie", `Tie answer ${letter(item)} with the one above`, () => tie(item)),
        press("▲", `Move answer ${letter(item)} up`, () => put(item, order().indexOf(item) - 1)),
        press("▼", `Move answer ${letter(item)} down`, () => put(item, order().indexOf(item) + 1))));
  });
  const n = rows.length, order = () => [...list.children].map((row) => rows.indexOf(row)); // the best first
  const ranks = () => {
    const found = [];
    order().reduce((rank, item) => (found[item] = tied.has(item) ? rank : rank + 1), 0);
    return found;
  };
  const draw = (moved) => {
    tied.delete(order()[0]);
    const rank = ranks(), same = order().filter((item) => item !== moved && rank[item] === rank[moved]).map(letter);
    order().forEach((item, i) => {
      const [tie, up, down] = rows[item].querySelectorAll("button");
      rows[item].querySelector(".rl-rank").textContent = rank[item];
      rows[item].classList.toggle("rl-tied", tied.has(item));
      tie.setAttribute("aria-pressed", tied.has(item));
      for (const node of [tie, up]) node.setAttribute("aria-disabled", i === 0);
      down.setAttribute("aria-disabled", i === n - 1);
    });
    const beside = same.length ? `, tied with ${same.join(" and ")}` : "";
    if (moved !== undefined) card.say(`Answer ${letter(moved)}: place ${rank[moved]}${beside}`);
  };
  const put = (item, to) => {
    const focus = document.activeElement, others = order().filter((other) => other !== item);
    if (to >= 0 && to < n && to !== order().indexOf(item)) {
      tied.delete(item);
      list.insertBefore(rows[item], rows[others[to]] ?? null);
      if (list.contains(focus)) focus.focus({ preventScroll: true }); // what moves loses it
    }
    draw(item);
  };
  const tie = (item) => {
    if (!tied.delete(item)) tied.add(item);
    draw(item);
  };
  const drag = (event, item) => {
    event.preventDefault();
    list.setPointerCapture(event.pointerId); // the list, for a row that changes its place would lose the pointer
    rows[item].classList.add("rl-dragged");
    list.onpointermove = ({ clientY }) => {
      const boxes = rows.filter((_, other) => other !== item).map((row) => row.getBoundingClientRect());
      put(item, boxes.filter((box) => box.top + box.height / 2 < clientY).length);
    };
    list.onlostpointercapture = () => { // let go, or taken away by the system
      list.onpointermove = list.onlostpointercapture = null;
      rows[item].classList.remove("rl-dragged");
    };
  };
  const chosen = () => rows.findIndex((row) => row.contains(document.activeElement));
  const step = (by) => {
    const from = chosen() < 0 ? (by > 0 ? -1 : n) : order().indexOf(chosen());
    list.children[Math.max(0, Math.min(n - 1, from + by))].querySelector(".rl-text").focus();
  };
  const withChosen = (action) => () =>
    (chosen() < 0 ? card.say("First choose an answer with the keys ↑ and ↓") : action(chosen()));
  const save = () => card.judge({ ranks: ranks() });
  const show = (said) => {
    const items = [...rows.keys()].sort((a, b) => said.ranks[a] - said.ranks[b]);
    list.append(...items.map((item) => rows[item]));
    tied.clear();
    items.forEach((item, i) => { if (said.ranks[item] === said.ranks[items[i - 1]]) tied.add(item); });
    draw();
  };
  show({ ranks: upTo(n) });
  return {
    question: "Put the answers in order, the best first. Ties are welcome.",
    parts: [list, button("Save this order", "Enter", save, { class: "rl-main" })],
    keys: { ArrowUp: () => step(-1), ArrowDown: () => step(1), T: withChosen(tie), Enter: save,
      ...Object.fromEntries(upTo(n).map((place) => [place, withChosen((item) => put(item, place - 1))])) },
    hint: `↑ ↓ choose an answer, 1 to ${n} put it in this place, T tie it with the one above`,
    show,
    means: (others) => others.ranks?.map((mean) => `others: place ${mean.toFixed(1)} on average`),
  };
}

function scores(task, card) {
  const groups = task.answers.flatMap((_, place) => Object.keys(CRITERIA).map((name) => {
    const id = newId(), words = `${name} of answer ${letter(place)}`;
    const inputs = upTo(7).map((value) =>
      make("input", { type: "radio", name: id, value, "aria-label": `${words}: ${value} of 7` }));
    return { place, name, words, inputs };
  }));
  const spans = (words) => words.map((word) => make("span", {}, word));
  const scale = ({ name, inputs }) => make("fieldset", { class: "rl-criterion" },
    make("legend", {}, make("b", {}, name), ` ${CRITERIA[name]}`),
    make("div", { class: "rl-seven" }, ...inputs.map((input) => make("label", {}, input, ...spans([input.value])))),
    make("div", { class: "rl-ends", "aria-hidden": "true" }, ...spans(["not at all", "fully"])));
  const value = ({ inputs }) => Number(inputs.find((input) => input.checked)?.value ?? 0);
  const focus = ({ inputs }) => (inputs.find((input) => input.checked) ?? inputs[0]).focus();
  const save = () => {
    const open = groups.find((group) => !value(group)), given = task.answers.map(() => ({}));
    if (open) { card.say(`Still open: ${open.words}`); focus(open); return; }
    for (const group of groups) given[group.place][group.name] = value(group);
    card.judge({ scores: given });
  };
  const score = (number) => {
    const here = groups.find(({ inputs }) => inputs.includes(document.activeElement))
      ?? groups.find((group) => !value(group)) ?? groups[0];
    here.inputs[number - 1].checked = true;
    focus(groups[groups.indexOf(here) + 1] ?? here);
    card.say(`${here.words}: ${number} of 7`);
  };
  return {
    question: "Score each answer from 1 to 7.",
    parts: [
      make("div", { class: "rl-answers" }, ...task.answers.map((answer, place) => make("div", { class: "rl-scored" },
        pane(answer, place), ...groups.filter((group) => group.place === place).map(scale)))),
      button("Save these scores", "Enter", save, { class: "rl-main" })],
    keys: { Enter: save, ...Object.fromEntries(upTo(7).map((number) => [number, () => score(number)])) },
    hint: "1 to 7 score, then on to the next criterion; Tab from one to the next",
    show: (said) => {
      for (const { place, name, inputs } of groups) inputs[said.scores[place][name] - 1].checked = true;
    },
    means: (others) => others.scores?.map((means) =>
      `others: ${Object.entries(means).map(([name, mean]) => `${name} ${mean.toFixed(1)}`).join(", ")}`),
  };
}

function demonstration(task, card) {
  const draft = task.answers[0]?.text ?? "";
  const text = make("textarea", { rows: 6, maxlength: 5000, "aria-label": "The ideal answer", spellcheck: "true" });
  text.value = draft;
  const save = () => (text.value.trim() ? card.judge({ text: text.value }) : card.say("The answer is still empty"));
  return {
    question: draft ? "Make this draft the ideal answer." : "Write the ideal answer.",
    parts: [text, button("Save this answer", "Enter", save, { class: "rl-main" }),
      make("div", { class: "rl-note", "data-place": 0 })],
    keys: { W: () => text.focus(), Enter: save },
    hint: "W write; Tab leads out of the box, Enter then saves",
    show: (said) => { text.value = said.text; },
  };
}

const KINDS = { pair, ranking, scores, demonstration };

/** Show a rater card in `el`, which talks through `channel` ({send(message), listen(callback) -> stop}; wanted or not:
 * `scope`, a name under which an unsaved vote outlives a reload; `silence`, words for a host that does not answer;
 * `patience`, milliseconds until it counts as silent). Return a function that takes the card away. */
export function mountCard(el, channel) {
  const { silence = "the server does not answer", patience = 8000 } = channel;
  let shown = { task: {} }, judgement = null, saved = null, revealed = null, since = 0; // what is on the screen
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
    ["R", "Reveal", () => act({ type: "reveal", id: newId(), task: shown.task.task }), () => saved && !revealed],
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
  function judge(payload, kind = shown.task.kind) {
    if (pending || saved) return;
    const ms = Math.round(performance.now() - since);
    if (kind === shown.task.kind) judgement.show(payload);
    act({ type: "answer", id: newId(), task: shown.task.task, kind, payload, ms });
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
    [saved, revealed, since] = [shown.saved ?? null, shown.revealed ?? null, performance.now()];
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

  /** Keys: single ones, only inside the card, never with a modifier and never while somebody writes. */
  function press(event) {
    const { target, key } = event, name = key.length === 1 ? key.toUpperCase() : key;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    event.stopPropagation(); // no plain key goes on to the notebook
    if (name === "Escape" && !reasons.hidden) cancel();
    if (target.matches("textarea, [type=text]") || event.repeat || (event.shiftKey && name === "Enter")) return;
    if (target.matches("button, summary") && name === "Enter") return; // it presses the button
    if (target.matches("[type=radio]") && name.startsWith("Arrow")) return;
    const common = acts.find(([own, , , there]) => own === name && there());
    const action = common ? common[2] : !saved && judgement?.keys[name];
    if (pending || !action) return;
    event.preventDefault();
    action();
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
