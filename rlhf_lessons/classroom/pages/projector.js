// The projector: how to join, and what the room thinks. It never learns a name.
import { between, follow, forgetKey, make, percent } from "./common.js";

const $ = (id) => document.getElementById(id);
const TEAMS = { sun: "Team Sun", moon: "Team Moon" };
const MARKS = ["●", "■"];
let drawn = ""; // what is on the screen: drawn again only when it changes, so that nothing flickers

function number(value, label, note = "") {
  return make("div", { class: "number" }, make("b", {}, String(value)), make("span", {}, label),
    make("small", {}, note));
}

/** Return a bar from 0 to 100 % with its interval, all of it in words too. */
function bar(name, { share, low, high }, n) {
  const inner = make("div", { class: "inner" }), whisker = make("div", { class: "whisker" });
  inner.style.width = `${100 * share}%`;
  [whisker.style.left, whisker.style.width] = [`${100 * low}%`, `${100 * (high - low)}%`];
  return make("div", { class: "line" }, make("span", { class: "name" }, name),
    make("div", { class: "bar", "aria-hidden": "true" }, inner, whisker),
    make("span", { class: "value" }, percent(share), make("small", {}, ` ${between({ low, high })}${n ? `, n = ${n}` : ""}`)));
}

/** Return the learning curve of each team: accuracy on held-out votes by number of votes. */
function curves(models) {
  const most = Math.max(20, ...models.flatMap((model) => model.curve.map(([votes]) => votes)));
  const box = $("model"), right = Math.max(300, Math.min(600, (300 * box.clientWidth) / box.clientHeight)) - 10;
  const x = (votes) => 46 + ((right - 50) * votes) / most, y = (share) => 150 - 280 * (Math.min(1, Math.max(0.5, share)) - 0.5);
  const picture = make("svg", { viewBox: `0 0 ${right + 10} 190`, role: "img", "aria-label": models.map((model) =>
    `${TEAMS[model.team] ?? "The model"}: ${percent(model.accuracy)} after ${model.votes} votes`).join("; ") });
  for (const share of [0.5, 0.75, 1]) {
    picture.append(make("line", { x1: 46, x2: right, y1: y(share), y2: y(share), class: share === 0.5 ? "chance" : "grid" }),
      make("text", { x: 40, y: y(share) + 5, class: "end" }, percent(share)));
  }
  picture.append(make("text", { x: right - 4, y: y(0.5) - 6, class: "end" }, "chance"),
    make("text", { x: right, y: 178, class: "end" }, `${most} votes`), make("text", { x: 46, y: 178 }, "0"));
  models.forEach(({ curve }, i) => {
    const points = curve.map(([votes, share]) => `${x(votes)},${y(share)}`);
    if (points.length) picture.append(make("path", { d: `M${points.join("L")}`, class: `curve curve-${i}` }));
    for (const point of points) {
      const [cx, cy] = point.split(",");
      picture.append(make("circle", { cx, cy, r: 4.5, class: `dot dot-${i}` }));
    }
  });
  return picture;
}

function drawModel(models) {
  if (!models.length) return [make("p", { class: "quiet" }, "It has not been trained on your votes yet.")];
  const about = (model, i) => (model.team ? `${MARKS[i]} of the votes of ${TEAMS[model.team] ?? model.team}`
    : "of the room's votes that it had not seen, guessed right");
  const words = models.map((model, i) => make("p", { class: `known known-${i}` }, make("b", {}, percent(model.accuracy)),
    make("span", {}, `${about(model, i)} (${between(model)})`)));
  return [make("div", { class: "knowns" }, ...words), curves(models)];
}

/** Return what best-of-n finds: beside a plain answer, or, where two teams have a reward model each, beside the other's. */
function drawSamples(samples) {
  if (!samples.length) return [];
  const text = (words, what, best) => make("p", { class: best ? "best" : "" }, make("small", {}, words), what);
  const found = (sample) => text(`${sample.team ? `${TEAMS[sample.team] ?? sample.team}: the` : "The"} best of ${sample.n}`
    + (samples.length > 1 && !sample.team ? ", as one of the teams sees it" : ""), sample.best, true);
  const texts = samples.length > 1 ? samples.slice(0, 2).map(found)
    : [text("One answer, as it comes", samples[0].plain, false), found(samples[0])];
  return [make("p", { class: "prompt" }, samples[0].prompt), make("div", { class: "two sample" }, ...texts)];
}

function drawPair({ prompt, answers, counts, models }) {
  const total = counts && Object.values(counts).reduce((sum, n) => sum + n, 0);
  const side = (place, name) => make("article", { class: `side side-${name}` }, make("h3", {}, name),
    make("p", { class: "text" }, answers[place]), models ? make("p", { class: "by" }, `by ${models[place] || "a model without a name"}`) : "");
  const hands = counts && make("div", { class: "hands" }, ...[["left", "A better"], ["tie", "tie"], ["right", "B better"],
    ["bad", "both bad"]].map(([choice, label]) => number(counts[choice], label, total ? percent(counts[choice] / total) : "")));
  return [make("p", { class: "prompt" }, prompt), make("div", { class: "two" }, side(0, "A"), side(1, "B")),
    hands ?? make("p", { class: "quiet" }, "Which answer is better? Hands up for A, for B, for a tie, for both bad.")];
}

function draw(room, error) {
  $("lost").textContent = room ? "" : `Not up to date: ${error}`;
  if (!room || drawn === JSON.stringify(room)) return;
  drawn = JSON.stringify(room);
  $("address").textContent = room.address.replace(/^https?:\/\/|\/$/g, "");
  $("code").textContent = room.code;
  $("round").textContent = room.state === "paused" ? `${room.round} · paused` : room.round ?? "";
  const fill = (id, parts) => $(id).querySelector(".fill").replaceChildren(...parts);
  const all = room.agreement.find((group) => !group.team);
  const teams = room.agreement.filter((group) => group.team);
  $("numbers").replaceChildren(number(room.voted, "people have voted", `of ${room.raters} who joined`),
    number(room.votes, "votes"), number(room.minute, "votes in the last minute"),
    number(all ? percent(all.share) : "–", "agree, two people on one pair", all ? between(all) : "too few votes yet"),
    ...teams.map((group) => number(percent(group.share), `agree within ${TEAMS[group.team] ?? group.team}`, between(group))));
  fill("board", room.board.length ? room.board.map((line) => bar(line.name, line, line.n))
    : [make("p", { class: "quiet" }, "Nobody has compared two models yet.")]);
  $("samples").hidden = !room.samples.length;
  fill("samples", drawSamples(room.samples));
  fill("model", drawModel(room.model)); // last: its picture takes the room that is left
  [$("pair").hidden, $("panels").hidden, $("numbers").hidden] = [!room.pair, !!room.pair, !!room.pair];
  fill("pair", room.pair ? drawPair(room.pair) : []);
}

forgetKey();
follow("show/projector", draw);
