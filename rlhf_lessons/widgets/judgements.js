// The kinds of judgement that the rater card asks for, and what their buttons and panes are made of.
//
// WORDS (of `words.json`) stand before it and `card.js` follows: together they are one ES module, which a notebook
// can load (`card_js` in `__init__.py`). Whatever models or people wrote goes in as text nodes.

const PAIR = [ // key, choice, strength: in the order of the buttons and of their labels
  ["1", "left", 2], ["2", "left", 1], ["3", "tie", 0], ["4", "right", 1], ["5", "right", 2], ["0", "bad", 0],
];
const letter = (place) => "ABCDEFGHI"[place];
const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1);

/** Return a sentence of WORDS with its gaps, such as {n}, filled. */
export function fill(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (gap, name) => values[name] ?? gap);
}

const DRAWN = ["svg", "g", "path", "line", "text", "circle", "rect"];

/** Return a new element. Strings among the children become text nodes, so nothing in them is ever markup; an
 * attribute that is a function listens. */
export function make(tag, attributes = {}, ...children) {
  const node = DRAWN.includes(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
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
  const label = fill(WORDS.answer.name, { letter: letter(place) });
  const text = answer.text.replace(/^\s*\n/, "").trimEnd() || WORDS.answer.empty;
  const body = make("div", { class: "rl-text", dir: "auto", tabindex: 0, role: "group", "aria-label": label },
    make("bdi", {}, text));
  if (answer.ended === false) body.append(make("span", { class: "rl-cut" }, WORDS.answer.cut));
  return make("article", { class: `rl-pane rl-${letter(place)}`, "aria-label": label },
    make("span", { class: "rl-letter", "aria-hidden": "true" }, letter(place)), body,
    make("div", { class: "rl-note", "data-place": place }));
}

// The kinds of judgement. Each takes the task and the card ({judge(payload), say(words)}) and returns {question, parts:
// what to show, keys: {key: action}, hint: the keys that stand on no button, untouched: what to say to Enter before
// anything was touched, show(payload): put a judgement on the screen, means(others): what the others said of each
// answer, in words}.

function pair(task, card) {
  const labels = task.labels ?? WORDS.pair.labels; // a round may ask something else of two answers
  const choices = PAIR.map(([key, choice, strength], i) => button(labels[i], key,
    () => card.judge({ choice, strength }),
    { "aria-pressed": "false", class: `rl-choice rl-${choice} rl-strength-${strength}` }));
  return {
    question: WORDS.pair.question,
    parts: [make("div", { class: "rl-answers" }, ...task.answers.map(pane)),
      make("div", { class: "rl-scale" }, ...choices)],
    keys: Object.fromEntries(PAIR.map(([key], i) => [key, () => choices[i].click()])),
    show: (said) => PAIR.forEach(([, choice, strength], i) => choices[i].setAttribute("aria-pressed",
      choice === said.choice && (strength === 0 || strength === (said.strength ?? 1)))),
  };
}

function ranking(task, card) {
  const { ranking: words } = WORDS;
  const list = make("ol", { class: "rl-list", "aria-label": words.list });
  const tied = new Set(); // answers that are as good as the one above them
  const rows = task.answers.map((answer, item) => {
    const press = (symbol, name, action) =>
      button(symbol, "", action, { "aria-label": fill(name, { letter: letter(item) }) });
    const hold = (event) => drag(event, item);
    return make("li", { class: "rl-row" },
      make("span", { class: "rl-handle", "aria-hidden": "true", title: words.drag, pointerdown: hold }, "⠿"),
      make("span", { class: "rl-rank", "aria-hidden": "true" }), pane(answer, item), make("div", { class: "rl-moves" },
        press(words.tie, words.tie_name, () => tie(item)),
        press("▲", words.up_name, () => put(item, order().indexOf(item) - 1)),
        press("▼", words.down_name, () => put(item, order().indexOf(item) + 1))));
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
    const where = { letter: letter(moved), rank: rank[moved], others: same.join(words.and) };
    if (moved !== undefined) card.say(fill(same.length ? words.tied : words.place, where));
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
    (chosen() < 0 ? card.say(words.untouched) : action(chosen()));
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
    ...words,
    parts: [list, button(words.save, "Enter", save, { class: "rl-main" })],
    keys: { ArrowUp: () => step(-1), ArrowDown: () => step(1), T: withChosen(tie), Enter: save,
      ...Object.fromEntries(upTo(n).map((place) => [place, withChosen((item) => put(item, place - 1))])) },
    hint: fill(words.hint, { n }),
    show,
    means: (others) => others.ranks?.map((mean) => fill(words.others, { mean: mean.toFixed(1) })),
  };
}

function scores(task, card) {
  const { scores: words } = WORDS, criteria = Object.entries(words.criteria);
  const groups = task.answers.flatMap((_, place) => criteria.map(([criterion, [name, meaning]]) => {
    const id = newId(), of = { name, letter: letter(place) };
    const inputs = upTo(7).map((value) => make("input", { type: "radio", name: id, value,
      "aria-label": fill(words.value, { ...of, value }) }));
    return { place, criterion, name, meaning, of, inputs };
  }));
  const spans = (texts) => texts.map((text) => make("span", {}, text));
  const scale = ({ name, meaning, inputs }) => make("fieldset", { class: "rl-criterion" },
    make("legend", {}, make("b", {}, name), ` ${meaning}`),
    make("div", { class: "rl-seven" }, ...inputs.map((input) => make("label", {}, input, ...spans([input.value])))),
    make("div", { class: "rl-ends", "aria-hidden": "true" }, ...spans([words.lowest, words.highest])));
  const value = ({ inputs }) => Number(inputs.find((input) => input.checked)?.value ?? 0);
  const focus = ({ inputs }) => (inputs.find((input) => input.checked) ?? inputs[0]).focus();
  const save = () => {
    const open = groups.find((group) => !value(group)), given = task.answers.map(() => ({}));
    if (open) { card.say(fill(words.open, open.of)); focus(open); return; }
    for (const group of groups) given[group.place][group.criterion] = value(group);
    card.judge({ scores: given });
  };
  const score = (number) => {
    const here = groups.find(({ inputs }) => inputs.includes(document.activeElement))
      ?? groups.find((group) => !value(group)) ?? groups[0];
    here.inputs[number - 1].checked = true;
    focus(groups[groups.indexOf(here) + 1] ?? here);
    card.say(fill(words.value, { ...here.of, value: number }));
  };
  return {
    ...words,
    parts: [
      make("div", { class: "rl-answers" }, ...task.answers.map((answer, place) => make("div", { class: "rl-scored" },
        pane(answer, place), ...groups.filter((group) => group.place === place).map(scale)))),
      button(words.save, "Enter", save, { class: "rl-main" })],
    keys: { Enter: save, ...Object.fromEntries(upTo(7).map((number) => [number, () => score(number)])) },
    show: (said) => {
      for (const { place, criterion, inputs } of groups) inputs[said.scores[place][criterion] - 1].checked = true;
    },
    means: (others) => others.scores?.map((means) => fill(words.others, {
      means: criteria.map(([criterion, [name]]) => `${name} ${means[criterion].toFixed(1)}`).join(", ") })),
  };
}

function demonstration(task, card) {
  const { demonstration: words } = WORDS, draft = task.answers[0]?.text ?? "";
  const text = make("textarea", { rows: 6, maxlength: 5000, "aria-label": words.text, spellcheck: "true" });
  text.value = draft;
  const save = () => (text.value.trim() ? card.judge({ text: text.value }) : card.say(words.empty));
  return {
    question: draft ? words.question_draft : words.question,
    hint: words.hint,
    untouched: draft ? words.untouched : words.empty,
    parts: [text, button(words.save, "Enter", save, { class: "rl-main" }),
      make("div", { class: "rl-note", "data-place": 0 })],
    keys: { W: () => text.focus(), Enter: save },
    show: (said) => { text.value = said.text; },
  };
}

const KINDS = { pair, ranking, scores, demonstration };
