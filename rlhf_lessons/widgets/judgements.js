// The kinds of judgement that the rater card asks for, and what their buttons and panes are made of.
//
// `card.js` follows: together they are one ES module, so that a notebook can load it (`card_js` in `__init__.py`).
// Whatever models or people wrote goes in as text nodes.

export const CRITERIA = {
  relevance: "Does it do what was asked?", accuracy: "Is what it says right?", clarity: "Does it read well?",
};
const PAIR = [ // key, label, choice, strength: in the order of the buttons
  ["1", "A much better", "left", 2], ["2", "A better", "left", 1], ["3", "Tie", "tie", 0],
  ["4", "B better", "right", 1], ["5", "B much better", "right", 2], ["0", "Both bad", "bad", 0],
];
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

/** Return the name of the key that was pressed: what it writes, or else what stands in its place on a Latin keyboard.
 *
 * So S is S on Cyrillic, Greek and Arabic layouts, and the key marked 1 is 1 on AZERTY, where it writes "&". What
 * writes a Latin letter or a digit is that letter, wherever it lies. */
function keyOf({ key, code, shiftKey }) {
  const written = key.toUpperCase(), [, row, place] = code.match(/^(Key|Digit|Numpad)(.)$/) ?? [];
  if (!place || shiftKey || /^[A-Z0-9]$/.test(written)) return key.length === 1 ? written : key;
  const hidden = ["Dead", "Process", "Unidentified"].includes(key); // an accent waits, or an input method is on
  return hidden || (key.length === 1 && (row !== "Key" || /\p{L}/u.test(key))) ? place : key;
}

/** Return an id for one act. crypto.randomUUID is missing on plain http, as on a class page in a local network. */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the pane of one answer: its letter, its text, and room for what the reveal says of it. */
function pane(answer, place) {
  const label = `Answer ${letter(place)}`;
  const text = answer.text.replace(/^\s*\n/, "").trimEnd() || "(nothing: it ended at once)";
  const body = make("div", { class: "rl-text", tabindex: 0, role: "group", "aria-label": label }, text);
  if (answer.ended === false) body.append(make("span", { class: "rl-cut" }, " … (cut off at the length limit)"));
  return make("article", { class: `rl-pane rl-${letter(place)}`, "aria-label": label },
    make("span", { class: "rl-letter", "aria-hidden": "true" }, letter(place)), body,
    make("div", { class: "rl-note", "data-place": place }));
}

// The kinds of judgement. Each takes the task and the card ({judge(payload), say(words)}) and returns {question, parts:
// what to show, keys: {key: action}, hint: the keys that stand on no button, untouched: what
// to say to Enter before anything was touched, show(payload): put a judgement on the
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
  const chooseFirst = "First choose an answer with the keys ↑ and ↓";
  const chosen = () => rows.findIndex((row) => row.contains(document.activeElement));
  const step = (by) => {
    const from = chosen() < 0 ? (by > 0 ? -1 : n) : order().indexOf(chosen());
    list.children[Math.max(0, Math.min(n - 1, from + by))].querySelector(".rl-text").focus();
  };
  const withChosen = (action) => () =>
    (chosen() < 0 ? card.say(chooseFirst) : action(chosen()));
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
    untouched: chooseFirst,
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
    untouched: "First score each answer with the keys 1 to 7",
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
  const empty = "The answer is still empty";
  const save = () => (text.value.trim() ? card.judge({ text: text.value }) : card.say(empty));
  return {
    question: draft ? "Make this draft the ideal answer." : "Write the ideal answer.",
    parts: [text, button("Save this answer", "Enter", save, { class: "rl-main" }),
      make("div", { class: "rl-note", "data-place": 0 })],
    keys: { W: () => text.focus(), Enter: save },
    hint: "W write; Tab leads out of the box, Enter then saves",
    untouched: draft ? "First go into the draft with the key W" : empty,
    show: (said) => { text.value = said.text; },
  };
}

const KINDS = { pair, ranking, scores, demonstration };
