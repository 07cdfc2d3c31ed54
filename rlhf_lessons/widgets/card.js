// The rater card: one task at a time, by mouse, keys, thumb or screen reader, in the notebook and on the class page.
//
// It holds no truth. What it shows came from the host; a judgement is saved once the host has said so, and until then
// it is sent again and again under one id, over reloads too. Whatever models or people wrote goes in as text nodes.

export const CRITERIA = {
  relevance: "Does it do what was asked?", accuracy: "Is what it says right?", clarity: "Does it read well?",
};
const PAIR = [ // key, label, payload: the keys stand in the order of the buttons
  ["1", "A much better", { choice: "left", strength: 2 }], ["2", "A better", { choice: "left", strength: 1 }],
  ["3", "Tie", { choice: "tie", strength: 0 }], ["4", "B better", { choice: "right", strength: 1 }],
  ["5", "B much better", { choice: "right", strength: 2 }], ["0", "Both bad", { choice: "bad", strength: 0 }],
];
const REASONS = {
  skip: ["I cannot tell", "The prompt is unclear", "I know too little about it"],
  flag: ["Offensive", "Broken text", "Private data"],
};
const REST = {
  done: "Nothing is left to rate here. Thank you!", waiting: "The others have the rest. Looking for more …",
  paused: "The teacher has paused this round.", removed: "The teacher has removed you from this class.",
};
const FAILED = { answer: "NOT saved", undo: "NOT taken back", reveal: "NOT revealed" };
const letter = (place) => "ABCDEFGHI"[place];
const signed = (number) => (number < 0 ? "−" : "+") + Math.abs(number).toFixed(2);

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
  const text = answer.text.trim() ? answer.text : "(nothing: it ended at once)";
  const label = `Answer ${letter(place)}`;
  const body = make("div", { class: "rl-text", tabindex: 0, role: "group", "aria-label": label }, text);
  if (answer.ended === false) body.append(make("span", { class: "rl-cut" }, " … (cut off at the length limit)"));
  return make("article", { class: `rl-pane rl-${letter(place)}`, "aria-label": label },
    make("span", { class: "rl-letter", "aria-hidden": "true" }, letter(place)), body,
    make("div", { class: "rl-note", "data-place": place }));
}

// The kinds of judgement. Each returns {question, parts: what to show, keys: {key: action}, help: [[keys, meaning]],
// show(payload): put an answer on the screen, notes(reveal): a list of words for each answer, or null}.

function pairJudgement(task, card) {
  const buttons = PAIR.map(([key, label, payload]) => button(label, key, () => card.judge(payload),
    { "aria-pressed": "false", class: `rl-choice rl-${payload.choice} rl-strength-${payload.strength}` }));
  return {
    question: "Which answer is better?",
    parts: [make("div", { class: "rl-answers" }, ...task.answers.map(pane)),
      card.controls(make("div", { class: "rl-scale" }, ...buttons))],
    keys: Object.fromEntries(PAIR.map(([key, , payload]) => [key, () => card.judge(payload)])),
    help: PAIR.map(([key, label]) => [key, label]),
    show: (payload) => PAIR.forEach(([, , { choice, strength }], i) =>
      buttons[i].setAttribute("aria-pressed", choice === payload.choice && strength === (payload.strength ?? 1))),
  };
}

function rankingJudgement(task, card) {
  const n = task.answers.length;
  let order = task.answers.map((_, item) => item); // items from the best to the worst
  let tied = order.map(() => false); // tied[i]: place i is as good as place i - 1
  const ranks = () => {
    const found = [];
    order.reduce((rank, item, i) => (found[item] = i && !tied[i] ? rank + 1 : rank), 1);
    return found;
  };
  const rows = task.answers.map((answer, item) => {
    const name = `answer ${letter(item)}`;
    const parts = {
      badge: make("span", { class: "rl-rank", "aria-hidden": "true" }),
      handle: make("span", { class: "rl-handle", "aria-hidden": "true", title: "Drag" }, "⠿"),
      up: button("▲", "", () => put(item, order.indexOf(item) - 1), { "aria-label": `Move ${name} up` }),
      down: button("▼", "", () => put(item, order.indexOf(item) + 1), { "aria-label": `Move ${name} down` }),
      tie: button("= tie", "", () => tie(item), { "aria-label": `Tie ${name} with the one above`, class: "rl-tie" }),
    };
    const move = make("div", { class: "rl-moves" }, parts.tie, parts.up, parts.down);
    const line = make("li", { class: "rl-row" }, parts.handle, parts.badge, pane(answer, item), move);
    parts.handle.addEventListener("pointerdown", (event) => drag(event, item));
    return { ...parts, line };
  });
  const list = make("ol", { class: "rl-list", "aria-label": "Answers, the best first" });
  const draw = () => {
    const found = ranks();
    order.forEach((item, i) => {
      const row = rows[item];
      if (list.children[i] !== row.line) list.insertBefore(row.line, list.children[i] ?? null);
      row.badge.textContent = found[item];
      row.line.classList.toggle("rl-tied", i > 0 && tied[i]);
      row.tie.setAttribute("aria-pressed", i > 0 && tied[i]);
      [row.up.disabled, row.tie.disabled, row.down.disabled] = [i === 0, i === 0, i === n - 1];
    });
  };
  const told = (item) => {
    const rank = ranks(), same = order.filter((other) => other !== item && rank[other] === rank[item]).map(letter);
    card.say(`Answer ${letter(item)}: place ${rank[item]}${same.length ? `, tied with ${same.join(" and ")}` : ""}`);
  };
  const put = (item, to) => {
    if (to < 0 || to >= n) return;
    const active = card.active();
    order.splice(to, 0, ...order.splice(order.indexOf(item), 1));
    draw();
    if (active) (active.disabled ? rows[item].line.querySelector(".rl-text") : active).focus({ preventScroll: true });
    told(item);
  };
  const tie = (item) => {
    const i = order.indexOf(item);
    if (i > 0) { tied[i] = !tied[i]; draw(); told(item); }
  };
  const drag = (event, item) => {
    if (card.locked()) return;
    const { line } = rows[item];
    event.preventDefault();
    list.setPointerCapture(event.pointerId); // the list, for a line that changes its place would lose the pointer
    line.classList.add("rl-dragged");
    list.onpointermove = (move) => {
      const boxes = order.filter((other) => other !== item).map((other) => rows[other].line.getBoundingClientRect());
      const to = boxes.filter((box) => box.top + box.height / 2 < move.clientY).length;
      if (to !== order.indexOf(item)) { order.splice(to, 0, ...order.splice(order.indexOf(item), 1)); draw(); }
    };
    list.onlostpointercapture = () => { // let go, or taken away by the system
      list.onpointermove = list.onlostpointercapture = null;
      line.classList.remove("rl-dragged");
      told(item);
    };
  };
  const chosen = () => rows.findIndex((row) => row.line.contains(card.active()));
  const step = (by) => {
    const i = chosen() < 0 ? (by > 0 ? -1 : n) : order.indexOf(chosen());
    rows[order[Math.max(0, Math.min(n - 1, i + by))]].line.querySelector(".rl-text").focus();
  };
  const withChosen = (action) => () =>
    (chosen() < 0 ? card.say("First choose an answer with the keys ↑ and ↓") : action(chosen()));
  const save = () => card.judge({ ranks: ranks() });
  draw();
  return {
    question: "Put the answers in order, the best first. Ties are welcome.",
    parts: [card.controls(list, button("Save this order", "Enter", save, { class: "rl-main" }))],
    keys: {
      ArrowDown: () => step(1), ArrowUp: () => step(-1), t: withChosen(tie), Enter: save,
      ...Object.fromEntries(order.map((_, i) => [String(i + 1), withChosen((item) => put(item, i))])),
    },
    help: [["↑ ↓", "choose an answer"], [`1 – ${n}`, "put it in this place"], ["T", "tie it with the one above"],
      ["Enter", "save this order"]],
    show: (payload) => {
      order = order.map((_, item) => item).sort((a, b) => payload.ranks[a] - payload.ranks[b]);
      tied = order.map((item, i) => i > 0 && payload.ranks[item] === payload.ranks[order[i - 1]]);
      draw();
    },
    notes: ({ others }) => others.ranks?.map((mean) => [`others: place ${mean.toFixed(1)} on average`]),
  };
}

function scoresJudgement(task, card) {
  const groups = [];
  const scale = (place, name) => {
    const id = newId();
    const inputs = [1, 2, 3, 4, 5, 6, 7].map((value) => make("input", { type: "radio", name: id, value,
      "aria-label": `${name} of answer ${letter(place)}: ${value} of 7` }));
    groups.push({ place, name, inputs });
    const labels = inputs.map((input) => make("label", {}, input, make("span", {}, input.value)));
    const ends = ["not at all", "fully"].map((end) => make("span", {}, end));
    return make("fieldset", { class: "rl-criterion" }, make("legend", {}, make("b", {}, name), ` ${CRITERIA[name]}`),
      make("div", { class: "rl-seven" }, ...labels), make("div", { class: "rl-ends", "aria-hidden": "true" }, ...ends));
  };
  const cards = task.answers.map((answer, place) => make("div", { class: "rl-scored" }, pane(answer, place),
    ...Object.keys(CRITERIA).map((name) => scale(place, name))));
  const value = (group) => Number(group.inputs.find((input) => input.checked)?.value ?? 0);
  const focus = (group) => (group.inputs.find((input) => input.checked) ?? group.inputs[0]).focus();
  const save = () => {
    const open = groups.find((group) => !value(group));
    if (open) { card.say(`Still open: ${open.name} of answer ${letter(open.place)}`); focus(open); return; }
    card.judge({ scores: task.answers.map((_, place) => Object.fromEntries(
      groups.filter((group) => group.place === place).map((group) => [group.name, value(group)]))) });
  };
  const score = (number) => {
    const here = groups.find((group) => group.inputs.includes(card.active())) ?? groups.find((group) => !value(group));
    if (!here) return;
    here.inputs[number - 1].checked = true;
    const next = groups[groups.indexOf(here) + 1];
    if (next) focus(next); else here.inputs[number - 1].focus();
    card.say(`${here.name} of answer ${letter(here.place)}: ${number} of 7`);
  };
  return {
    question: "Score each answer from 1 to 7.",
    parts: [card.controls(make("div", { class: "rl-answers" }, ...cards),
      button("Save these scores", "Enter", save, { class: "rl-main" }))],
    keys: { Enter: save, ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7].map((n) => [String(n), () => score(n)])) },
    help: [["1 – 7", "score, then the next criterion"], ["Tab", "from one criterion to the next"],
      ["Enter", "save these scores"]],
    show: (payload) => groups.forEach(({ place, name, inputs }) => {
      inputs[payload.scores[place][name] - 1].checked = true;
    }),
    notes: ({ others }) => others.scores?.map((means) =>
      [`others: ${Object.entries(means).map(([name, mean]) => `${name} ${mean.toFixed(1)}`).join(", ")}`]),
  };
}

function demonstrationJudgement(task, card) {
  const draft = task.answers[0]?.text ?? "";
  const text = make("textarea", { rows: 6, maxlength: 5000, "aria-label": "The ideal answer", spellcheck: "true" });
  text.value = draft;
  const save = () => (text.value.trim() ? card.judge({ text: text.value }) : card.say("The answer is still empty"));
  return {
    question: draft ? "Make this draft the ideal answer." : "Write the ideal answer.",
    parts: [card.controls(text, button("Save this answer", "Enter", save, { class: "rl-main" })),
      make("div", { class: "rl-note rl-draft", "data-place": 0 })],
    keys: { Enter: save, w: () => text.focus() },
    help: [["W", "write"], ["Tab, Enter", "save this answer"]],
    show: (payload) => { text.value = payload.text; },
  };
}

const KINDS = {
  pair: pairJudgement, ranking: rankingJudgement, scores: scoresJudgement, demonstration: demonstrationJudgement,
};

/** Show a rater card in `el`, which talks through `channel` ({send(message), listen(callback) -> stop}; wanted or not:
 * `scope`, a name under which an unsaved vote outlives a reload, and `silence`, words for a host that does not answer).
 * Return a function that takes it away. */
export function mountCard(el, channel) {
  const silence = channel.silence ?? "the server does not answer";
  const patience = channel.patience ?? 8000; // milliseconds until a silent host is called silent
  const slot = `rl-card:${channel.scope ?? ""}`;
  let shown = null, judgement = null, saved = null, revealed = null; // what is on the screen
  let pending = null, timer = 0, poll = 0, since = 0; // the act that waits for the host's answer

  const live = make("div", { class: "rl-status", role: "status", "aria-live": "polite" });
  const again = button("Try now", "", () => push(), { class: "rl-again", hidden: true });
  const body = make("div", { class: "rl-body" });
  const root = make("section", { class: "rl-card", tabindex: 0, "data-lm-suppress-shortcuts": "true",
    "aria-label": "Rater card" }, body, make("div", { class: "rl-line" }, live, again));
  const progress = make("div", { class: "rl-progress" });
  let controls, after, passes, reasons, help, others;

  const active = () => { const at = root.getRootNode().activeElement; return root.contains(at) ? at : null; };
  const say = (text, mood = "") => { live.textContent = text; live.dataset.mood = mood; };
  const attempt = (action) => { try { return action(); } catch { return null; } }; // storage may be switched off
  const keep = (message) => attempt(() => sessionStorage.setItem(slot, JSON.stringify(message)));
  const drop = () => attempt(() => sessionStorage.removeItem(slot));
  const kept = () => attempt(() => JSON.parse(sessionStorage.getItem(slot)));

  // Acts: sent until the host answers, always under the same id

  function act(message) {
    clearTimeout(poll);
    pending = { message, tries: 0 };
    if (message.type === "answer") { keep(message); say("Saving …"); }
    push();
    refresh();
  }
  function push() {
    clearTimeout(timer);
    again.hidden = true;
    attempt(() => channel.send(pending.message)); // where it fails, the silence will be noticed
    timer = setTimeout(() => retry(silence), patience);
  }
  function retry(reason) {
    clearTimeout(timer);
    const { type } = pending.message;
    say(`${FAILED[type] ?? "Not ready"}, because ${reason}.`
      + (type === "answer" ? " Your judgement is kept and sent again." : " Trying again."), "bad");
    again.hidden = false;
    timer = setTimeout(push, Math.min(30000, 2000 * 2 ** pending.tries++));
  }
  function settle() {
    clearTimeout(timer);
    pending = null;
    again.hidden = true;
  }
  const locked = () => pending !== null || saved !== null;
  const judge = (payload, kind = shown.task.kind) => {
    if (locked()) return;
    const ms = Math.min(Math.round(performance.now() - since), 2 ** 31 - 1);
    act({ type: "answer", id: newId(), task: shown.task.task, kind, payload, ms });
  };
  const undo = () => { if (!pending && !revealed) act({ type: "undo", id: newId() }); };
  const next = () => { if (!pending && saved) act({ type: "next" }); };
  const reveal = () => {
    if (!pending && saved && !revealed) act({ type: "reveal", id: newId(), task: shown.task.task });
  };
  const toggleHelp = () => { help.hidden = !help.hidden; };

  // What the host says

  function receive(message) {
    const mine = pending && pending.message.id === message.id;
    if (message.type === "task") {
      if (pending && ["ready", "next"].includes(pending.message.type)) settle();
      take(message);
    } else if (message.type === "ack") {
      acknowledged(message, mine ? pending.message : message);
    } else if (message.type === "nack" && mine) {
      if (message.retry) { retry(message.reason); return; }
      const { type } = pending.message;
      settle();
      if (type === "answer") drop();
      say(`${FAILED[type] ?? "No task"}, because ${message.reason}.`, "bad");
      if (type in FAILED) act({ type: "ready" }); // what is on the screen may be out of date
    } else if (message.type === "reveal" && message.task === shown?.task.task) {
      if (pending?.message.type === "reveal") settle();
      revealed = message;
      showReveal();
      say(`Revealed. Judgement #${saved?.seq ?? ""} is locked now.`);
    } else if (message.type === "note") {
      say(message.text, "bad");
    }
    refresh();
  }
  function acknowledged(message, what) {
    if (pending?.message.id === message.id) settle();
    if (message.progress && shown) { shown.progress = message.progress; drawProgress(); }
    if (what.type === "undo") { say("Taken back."); act({ type: "next" }); return; }
    if (what.type !== "answer" && !what.payload) return;
    if (kept()?.id === message.id) drop();
    const passed = what.kind === "skip" || what.kind === "flag";
    say(`Saved #${message.seq}${passed ? (what.kind === "skip" ? ": skipped" : ": flagged") : ""}`, "good");
    if (!shown) { act({ type: "ready" }); return; } // a vote from before the reload
    if (what.task !== shown.task.task) return;
    saved = { seq: message.seq, kind: what.kind, payload: what.payload };
    if (passed) { if (what.type === "answer") act({ type: "next" }); return; }
    judgement.show(what.payload);
    if (shown.autoReveal) reveal();
  }
  function take(message) {
    const same = message.task.task && message.task.task === shown?.task.task && !message.saved === !saved
      && !message.revealed === !revealed;
    const before = shown;
    shown = message;
    if (same) {
      drawProgress();
    } else {
      if (!live.dataset.mood) say("");
      draw(before !== null);
    }
    if (message.message) say(message.message);
    if (["waiting", "paused"].includes(message.task.state)) poll = setTimeout(() => act({ type: "next" }), 4000);
  }

  // What is on the screen

  function draw(moved) {
    const { task } = shown, had = active() !== null;
    [saved, revealed, judgement, controls, since] = [shown.saved ?? null, null, null, null, performance.now()];
    root.setAttribute("aria-label", "Rater card");
    if (task.state !== "task") {
      passes = make("div", { class: "rl-passes" }, button("Undo", "U", undo));
      body.replaceChildren(progress, make("p", { class: "rl-rest" }, REST[task.state] ?? "There is nothing to rate."),
        task.state === "done" && shown.progress?.done + shown.progress?.passed > 0 ? passes : "");
      after = reasons = help = others = null;
    } else if (!KINDS[task.kind]) {
      judgement = { question: `This card cannot ask for a ${task.kind}.`, parts: [], keys: {}, help: [], show() {} };
      drawTask(task);
    } else {
      judgement = KINDS[task.kind](task, { judge, say, active, locked, controls: (...parts) => (controls = make(
        "fieldset", { class: "rl-controls", "aria-label": "Your judgement" }, ...parts)) });
      drawTask(task);
    }
    drawProgress();
    if (saved && judgement) { judgement.show(saved.payload); say(`Saved #${saved.seq}`, "good"); }
    if (shown.revealed) { revealed = shown.revealed; showReveal(); }
    refresh();
    if (moved && root.getBoundingClientRect().top < 0) root.scrollIntoView({ block: "start" });
    if (had) root.focus({ preventScroll: true });
  }
  function drawTask(task) {
    after = make("div", { class: "rl-after" }, button("Undo", "U", undo), button("Reveal", "R", reveal),
      button("Next", "Enter", next, { class: "rl-main" }));
    passes = make("div", { class: "rl-passes" }, button("Skip", "S", () => ask("skip")),
      button("Flag", "F", () => ask("flag")), button("Undo", "U", undo), button("Keys", "?", toggleHelp));
    [reasons, others] = [make("div", { hidden: true }), make("div", { class: "rl-others", hidden: true })];
    const rows = [...judgement.help, ["S", "skip, and say why"], ["F", "flag a bad text"], ["U", "undo"],
      ["R", "reveal, after your judgement"], ["Enter", "next, after your judgement"]];
    help = make("dl", { class: "rl-help", hidden: true },
      ...rows.flatMap(([keys, what]) => [make("dt", {}, make("kbd", {}, keys)), make("dd", {}, what)]));
    const guideline = task.guideline ? make("details", { class: "rl-guideline", open: !shown.progress?.done },
      make("summary", {}, "What to look for"), make("p", {}, task.guideline)) : "";
    const game = shown.game ? make("p", { class: "rl-game" }, ...sealed(shown.game)) : "";
    root.setAttribute("aria-label", `Rater card: ${judgement.question}`);
    body.replaceChildren(
      make("header", { class: "rl-top" }, make("span", { class: "rl-question" }, judgement.question), progress),
      guideline,
      make("div", { class: "rl-prompt" }, make("span", { class: "rl-label" }, "Prompt"), make("p", {}, task.prompt)),
      game, ...judgement.parts, others, after, passes, reasons, help);
  }
  function sealed(game) {
    const score = game.of ? make("span", { class: "rl-score" }, `It guessed ${game.right} of ${game.of}.`) : "";
    return [make("span", { class: "rl-seal" }, game.sealed ? "The reward model has sealed its guess."
      : "The reward model has no guess yet."), score];
  }
  function drawProgress() {
    const { done = 0, passed = 0, left = 0, seconds = null } = shown?.progress ?? {};
    const minutes = Math.round((left * (seconds ?? 0)) / 60);
    const span = minutes < 1 ? "less than a minute" : `about ${minutes} min`;
    const time = seconds === null || !left ? "" : `, ${span} left`;
    progress.replaceChildren(
      make("span", {}, `${done} of ${done + left} done${passed ? `, ${passed} skipped` : ""}${time}`),
      make("progress", { max: Math.max(done + left, 1), value: done, "aria-label": "Progress" }));
  }
  function ask(kind) {
    if (locked()) return;
    const field = make("input", { type: "text", maxlength: 500, "aria-label": `Reason (${kind})`,
      placeholder: kind === "skip" ? "Why? (may stay empty)" : "What is wrong with it?" });
    const close = () => { reasons.hidden = true; root.focus({ preventScroll: true }); };
    const send = (reason) => { reasons.hidden = true; judge({ reason }, kind); };
    const form = make("form", { class: "rl-reasons", submit: (event) => { event.preventDefault(); send(field.value); },
      keydown: (event) => { if (event.key === "Escape") close(); } },
    ...REASONS[kind].map((reason) => button(reason, "", () => send(reason))), field,
    make("button", { type: "submit", class: "rl-main" }, kind === "skip" ? "Skip it" : "Flag it"),
    button("Cancel", "", close));
    reasons.replaceChildren(form);
    reasons.hidden = false;
    field.focus();
  }
  /** Lock or open what can be pressed, and keep the focus inside the card: keys work on, none falls to the notebook. */
  function refresh() {
    root.dataset.state = pending ? "pending" : revealed ? "revealed" : saved ? "saved" : "open";
    if (!judgement) return;
    const focus = active(), passed = saved && ["skip", "flag"].includes(saved.kind);
    if (controls) controls.disabled = locked();
    after.hidden = !saved || passed;
    passes.hidden = !!saved;
    if (locked()) reasons.hidden = true;
    const [back, open, on] = after.children;
    back.disabled = open.disabled = on.disabled = pending !== null;
    back.hidden = open.hidden = revealed !== null;
    if (focus && (focus.matches(":disabled") || !focus.getClientRects().length)) root.focus({ preventScroll: true });
  }
  function showReveal() {
    const { models, rewards, others: said, gold, game } = revealed;
    const best = Math.max(...rewards.filter(Number.isFinite));
    const more = judgement.notes?.(revealed) ?? [];
    body.querySelectorAll(".rl-note").forEach((note) => {
      const place = Number(note.dataset.place), reward = rewards[place];
      if (place >= models.length) return;
      const words = [make("span", { class: "rl-model" }, models[place] ? `by ${models[place]}` : "author not named")];
      if (Number.isFinite(reward)) words.push(make("span", { class: reward === best ? "rl-best" : "" },
        `reward model: ${signed(reward)}${reward === best && rewards.length > 1 ? ", its favourite" : ""}`));
      note.replaceChildren(...words, ...(more[place] ?? []).map((text) => make("span", {}, text)));
    });
    const lines = [];
    if (game?.guess !== null && game?.guess !== undefined) {
      const side = game.guess >= 0.5 ? "A" : "B", sure = Math.round(100 * Math.max(game.guess, 1 - game.guess));
      const hit = game.hit === null ? "No point: you named no winner." : game.hit ? "Right!" : "Wrong!";
      lines.push(make("p", { class: "rl-opened" }, make("b", {}, `Its sealed guess: ${side}, ${sure} % sure. ${hit}`),
        ` It guessed ${game.right} of ${game.of}.`));
    }
    if (gold) lines.push(make("p", { class: "rl-gold" }, make("b", {}, gold.right ? "As expected: " : "A check: "),
      `${letter(gold.best)} is the better one. ${gold.why ?? ""}`));
    if (said?.choices && said.n) lines.push(...votes(said));
    else if (!said?.n) lines.push(make("p", {}, "Nobody else has judged this one yet."));
    others.replaceChildren(...lines);
    others.hidden = !lines.length;
  }
  function votes({ n, choices }) {
    const parts = [["left", "A better"], ["tie", "tie"], ["right", "B better"], ["bad", "both bad"]];
    const bar = make("div", { class: "rl-bar", "aria-hidden": "true" }, ...parts.map(([choice]) => {
      const piece = make("span", { class: `rl-${choice}` });
      piece.style.flexGrow = choices[choice];
      return piece;
    }));
    const counts = parts.filter(([choice]) => choices[choice]).map(([choice, label]) => `${choices[choice]} ${label}`);
    return [make("p", {}, `${n} other${n === 1 ? "" : "s"}: ${counts.join(", ")}`), bar];
  }

  // Keys: single ones, only inside the card, never with a modifier and never while somebody writes

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    event.stopPropagation(); // no plain key goes on to the notebook
    const { target, key } = event;
    if (target.matches("textarea, [type=text]") || event.repeat || (event.shiftKey && key === "Enter")) return;
    if (key === "Enter" && target.matches("button, summary")) return; // it presses the button
    if (target.matches("[type=radio]") && key.startsWith("Arrow")) return;
    const name = key.length === 1 ? key.toLowerCase() : key;
    const common = { u: undo, "?": help ? toggleHelp : undefined };
    const action = common[name] ?? (saved ? { r: reveal, Enter: next, n: next }
      : { s: () => ask("skip"), f: () => ask("flag"), ...judgement?.keys })[name];
    if (!action || !shown || pending) return;
    event.preventDefault();
    action();
  });

  el.append(root);
  const stop = channel.listen(receive);
  const online = () => pending && push();
  window.addEventListener("online", online);
  act(kept()?.type === "answer" ? kept() : { type: "ready" });
  return () => {
    clearTimeout(timer);
    clearTimeout(poll);
    window.removeEventListener("online", online);
    stop?.();
    root.remove();
  };
}

export default {
  render({ model, el }) {
    const silence = "the notebook's kernel does not answer (after a restart, run this cell again)";
    const listen = (callback) => {
      model.on("msg:custom", callback);
      return () => model.off("msg:custom", callback);
    };
    return mountCard(el, { send: (message) => model.send(message), listen, silence, scope: model.get("scope") });
  },
};
