// Goodhart with a room: what the reward model promises, what true utility says and what the room votes, against the KL.
import { between, make, percent } from "./common.js";

const CURVES = { // line style and mark are in the style sheet and in `mark`
  promised: "the reward model promises", deserved: "true utility says", voted: "fresh votes say, with 95 % interval",
};
const value = (rung, curve) => (curve === "voted" ? rung.voted?.value : rung[curve]) ?? null;
const words = (rung, curve) => (value(rung, curve) === null ? "no votes yet" : percent(value(rung, curve)));
const n = ({ name }) => (name.startsWith("best of ") ? name.slice(8) : ""); // "" for a policy after PPO

/** Return a curve's mark: a circle, a square or a triangle. */
function mark(curve, x, y) {
  if (curve === "promised") return make("circle", { cx: x, cy: y, r: 8, class: "dot" });
  if (curve === "deserved") return make("rect", { x: x - 8, y: y - 8, width: 16, height: 16, class: "dot" });
  return make("path", { d: `M${x},${y - 11}L${x + 10},${y + 7}L${x - 10},${y + 7}Z`, class: "dot" });
}

/** Return what stands for a curve, and its name. */
function key([curve, label]) {
  return make("span", { class: `of ${curve}` }, make("svg", { width: 64, height: 24, "aria-hidden": "true" },
    make("path", { d: "M0,12L64,12", class: "curve" }), mark(curve, 32, 12)), ` ${label}`);
}

/** Return the same numbers as a table, for whoever cannot see the picture. */
function table(rungs) {
  const head = ["Answers by", "KL from the SFT model, nats", ...Object.values(CURVES)];
  const row = (rung) => make("tr", {}, make("th", { scope: "row" }, rung.name),
    ...[Math.abs(rung.kl).toFixed(1), words(rung, "promised"), words(rung, "deserved"),
      words(rung, "voted") + (rung.voted ? ` (${between(rung.voted)}) of ${rung.voted.n}` : "")].map((said) => make("td", {}, said)));
  return make("table", {}, make("caption", {}, "Share of pairs won against a plain answer; a tie is half a win"),
    make("tr", {}, ...head.map((said) => make("th", { scope: "col" }, said))), ...rungs.map(row));
}

/** Draw a ladder into its section: {by, rungs: {name: {kl, promised, deserved}}, voted: {name: a figure}, simulated}. */
export function drawLadder(section, { by, rungs: told, voted, simulated }) {
  const rungs = Object.entries(told).map(([name, rung]) => ({ ...rung, name, voted: voted[name] }));
  const [title, whose, keys, box, unseen] = section.children, steps = rungs.filter(n), top = steps.at(-1);
  const policies = rungs.filter((rung) => !n(rung));
  const votes = top.voted ? `voted ${words(top, "voted")}` : words(top, "voted");
  title.textContent = `Against a plain answer, the ${top.name} wins: promised ${words(top, "promised")}, true ${words(top, "deserved")}, ${votes}`;
  whose.textContent = `Chosen by ${by}.${simulated ? ` Of the votes, ${simulated} are by simulated raters.` : ""}`;
  keys.replaceChildren(...Object.entries(CURVES).map(key));
  unseen.replaceChildren(table(rungs));

  const { width, height } = box.getBoundingClientRect(), em = 1.25 * parseFloat(getComputedStyle(document.documentElement).fontSize);
  const lowest = Math.min(0.4, ...rungs.flatMap((rung) => [rung.promised, rung.deserved, rung.voted?.low ?? 1]));
  const bottom = Math.floor(10 * lowest) / 10, most = Math.max(1, ...rungs.map(({ kl }) => kl));
  const [left, right, up, down] = [6 * em, width - 3 * em, (0.7 + 1.3 * policies.length) * em, height - 3.3 * em];
  const x = (kl) => left + ((right - left) * kl) / most, y = (share) => down - ((down - up) * (share - bottom)) / (1 - bottom);
  const text = (at, line, said, style = "") => make("text", { x: at, y: line, class: style }, said);
  const picture = make("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `Share of pairs won against KL from the SFT model. ${title.textContent}. A table with all numbers follows.` });
  for (const share of [0.5, 0.75, 1]) {
    picture.append(make("line", { x1: left, x2: right, y1: y(share), y2: y(share), class: share === 0.5 ? "chance" : "grid" }),
      text(left - 0.8 * em, y(share) + 0.35 * em, percent(share), "end"));
  }
  picture.append(text(right - 0.5 * em, y(0.5) - 0.4 * em, "no better than plain", "end"));
  picture.append(text(0, down + 1.4 * em, "best of"), text(0, down + 2.9 * em, "KL"));
  for (const rung of steps) picture.append(text(x(rung.kl), down + 1.4 * em, n(rung), "middle"));
  for (const [i, { name, kl }] of policies.entries()) { // each on a line of its own: they may be near each other
    picture.append(make("line", { x1: x(kl), x2: x(kl), y1: up, y2: down, class: "chance" }),
      text(Math.min(x(kl) + 3 * em, width), (1 + 1.3 * i) * em, name, "end label"));
  }
  const nats = (kl) => (kl === Math.floor(most) ? `${kl} nats` : kl);
  for (let kl = 0; kl <= most; kl += 1) picture.append(text(x(kl), down + 2.9 * em, nats(kl), "middle"));
  for (const [i, curve] of Object.keys(CURVES).entries()) {
    const part = make("g", { class: `of ${curve}` }), has = (rung) => value(rung, curve) !== null;
    const at = (rung) => [x(rung.kl) + (n(rung) ? 0 : (i - 1) * em), y(value(rung, curve))]; // side by side after PPO
    const points = steps.filter(has).map(at);
    if (points.length) part.append(make("path", { d: `M${points.join("L")}`, class: "curve" }));
    for (const rung of rungs.filter(has)) {
      const { low, high } = curve === "voted" ? rung.voted : {}, [across] = at(rung);
      if (low !== undefined) {
        const ends = [low, high].map((end) => `M${across - 9},${y(end)}h18`).join("");
        part.append(make("path", { d: `M${across},${y(low)}L${across},${y(high)}${ends}`, class: "interval" }));
      }
      part.append(mark(curve, ...at(rung)));
    }
    picture.append(part);
  }
  box.replaceChildren(picture);
}
