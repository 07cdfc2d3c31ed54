// The projector: how to join, and what the room thinks. It never learns a name.
import { between, follow, forgetKey, make, percent } from "./common.js";
import { drawCurves } from "./curves.js";
import { drawLadder } from "./ladder.js";

const $ = (id) => document.getElementById(id);
const TEAMS = { sun: "Team Sun", moon: "Team Moon" };
const MARKS = { sun: "■ ", moon: "● " }; // of their curves
let now = null, drawn = ""; // what is on the screen: drawn again only when it changes, so that nothing flickers

const fill = (id, ...parts) => $(id).querySelector(".fill").replaceChildren(...parts);
const empty = (words) => make("p", { class: "quiet empty" }, words);

function number(value, label, note = "") {
  return make("div", { class: "number" }, make("b", {}, String(value)), make("span", {}, label),
    make("small", {}, note));
}

function drawNumbers({ voted, raters, votes, minute, agreement, guessing, ladder }) {
  const all = agreement.find(({ team }) => !team), teams = agreement.filter(({ team }) => team);
  $("numbers").replaceChildren(number(voted, voted === 1 ? "person has voted" : "people have voted", `of ${raters} who joined`),
    number(votes, guessing ? "guesses" : "votes", `${minute} in the last minute`),
    ...(guessing || ladder ? [] : [number(all ? percent(all.value) : "–", "agree, two people on one pair",
      all ? between(all) : "too few votes yet")]),
    ...teams.map((group) => number(percent(group.value), `agree in ${TEAMS[group.team]}`, between(group))));
}

/** Return a bar from 0 to 100 % with its interval, all of it in words too. */
function bar(name, { value, low, high, n }) {
  const inner = make("div", { class: "inner" }), whisker = make("div", { class: "whisker" });
  inner.style.width = `${100 * value}%`;
  [whisker.style.left, whisker.style.width] = [`${100 * low}%`, `${100 * (high - low)}%`];
  return make("div", { class: "line" }, make("span", { class: "name" }, name),
    make("span", { class: "value" }, percent(value), make("small", {}, ` (${between({ low, high })}) of ${n}`)),
    make("div", { class: "bar", "aria-hidden": "true" }, inner, whisker));
}

/** Show who wins; in the guessing game, how often each team finds the other's answers. */
function drawBoard({ guessing, guesses, board }) {
  $("board").querySelector("h2").textContent = guessing ? "Whose is whose? Guessed right" : "Which model wins";
  if (guessing) {
    fill("board", ...(guesses.length ? guesses.map((found) => bar(TEAMS[found.team] ?? "The room", found))
      : [empty("Nobody has guessed yet.")]), make("p", { class: "quiet" }, "By chance alone it would be 50 %."));
  } else {
    fill("board", ...(board.length ? board.map((line) => bar(line.model, line))
      : [empty("Nobody has compared two models yet.")]));
  }
}

function drawModel({ model, learned, round, trainer }) {
  if (!model.length) {
    fill("model", empty("No reward model learns from these votes yet. In a notebook of the course, run:"),
      make("code", {}, trainer));
    return;
  }
  const models = model.map((figures) => ({ ...figures, name: TEAMS[figures.team] ?? "The model",
    curve: figures.curve.filter(([, share]) => share !== null) })); // null: there was nothing to test it on
  const where = learned === round ? "" : ` of ${learned}`;
  const known = (figures) => {
    const ceiling = figures.ceiling ? `; ceiling ${percent(figures.ceiling)}` : "";
    const words = figures.team ? `${MARKS[figures.team] ?? ""}${figures.name} (${between(figures)})`
      : `of votes that it had not seen guessed right (${between(figures)}), after ${figures.votes} votes${where}${ceiling}`;
    return make("p", { class: `known of ${figures.team}` }, make("b", {}, percent(figures.accuracy)), make("span", {}, words));
  };
  const plot = make("div", { class: "plot" });
  fill("model", make("div", { class: "knowns" }, ...models.map(known)), plot);
  drawCurves(plot, models);
}

/** Show what best-of-n finds: beside a plain answer, or, where two teams have a model each, beside the other's. */
function drawSamples({ samples }) {
  $("samples").hidden = !samples.length;
  if (!samples.length) return;
  const text = (words, what, best) => make("p", { class: best ? "best" : "" }, make("small", {}, words),
    make("bdi", {}, what));
  const both = samples.length > 1 && samples[0].best === samples[1].best;
  const favourite = (sample) => text(samples.length === 1 ? `The reward model's favourite of ${sample.n ?? "many"}`
    : both ? "The favourite of both teams' models"
      : `The favourite of ${TEAMS[sample.team] ?? "one team"}'s model`, sample.best, true);
  const texts = both ? [favourite(samples[0])] : samples.length > 1 ? samples.slice(0, 2).map(favourite)
    : [text("One answer, as it comes", samples[0].plain, false), favourite(samples[0])];
  $("samples").querySelector("h2").textContent = `Best of many: ${samples[0].prompt}`;
  fill("samples", make("div", { class: "two sample" }, ...texts));
}

function drawPair({ pair }) {
  if (!pair) return;
  const { prompt, answers, counts, models } = pair, total = counts && Object.values(counts).reduce((sum, n) => sum + n, 0);
  const side = (place, name) => make("article", { class: `side side-${name}` }, make("h3", {}, name),
    make("p", { class: "text", dir: "auto" }, answers[place]), models ? make("p", { class: "by" }, `by ${models[place] || "a model without a name"}`) : "");
  const hands = counts && make("div", { class: "hands" }, ...[["left", "for A"], ["tie", "tie"], ["right", "for B"],
    ["bad", "both bad"]].map(([choice, label]) => number(counts[choice], label, total ? percent(counts[choice] / total) : "")));
  fill("pair", make("p", { class: "prompt", dir: "auto" }, prompt), make("div", { class: "two" }, side(0, "A"), side(1, "B")),
    hands ?? empty("Hands up: for A, for B, for a tie, for both bad."));
  for (const size of [2.5, 2.2, 1.9, 1.6, 1.3]) { // the largest letters in which both answers fit
    const sides = [...document.querySelectorAll(".side")];
    sides.forEach((one) => { one.querySelector(".text").style.fontSize = `${size}rem`; });
    if (sides.every((one) => one.scrollHeight <= one.clientHeight)) break;
  }
}

function draw(room, error) {
  $("lost").textContent = room ? "" : `Not up to date: ${error}`;
  if (!room || drawn === JSON.stringify(room)) return;
  [now, drawn] = [room, JSON.stringify(room)];
  $("address").textContent = room.address.replace(/^https?:\/\/|\/$/g, "");
  $("code").textContent = room.code;
  $("joined").textContent = room.raters ? `${room.raters} joined` : "";
  $("round").textContent = room.state === "paused" ? `${room.round} · paused` : room.round ?? "";
  document.body.classList.toggle("joining", !room.votes && !room.model.length && !room.pair && !room.ladder);
  const ladder = room.pair ? null : room.ladder;
  [$("pair").hidden, $("ladder").hidden, $("numbers").hidden] = [!room.pair, !ladder, !!room.pair];
  $("panels").hidden = !!(room.pair || ladder);
  $("model").hidden = room.guessing; // nothing learns from guesses
  for (const part of [drawNumbers, drawBoard, drawSamples, drawPair, drawModel]) part(room); // the curves take what room is left
  if (ladder) drawLadder($("ladder"), ladder);
}

window.addEventListener("resize", () => { drawn = ""; draw(now, ""); });
forgetKey();
follow("show/projector", draw);
