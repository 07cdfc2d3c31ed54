// The learning curves: how well a reward model guesses votes that it has not seen, by the votes it learned from.
import { make, percent } from "./common.js";

/** Draw `models` ([{name, team, accuracy, ceiling, votes, curve: [[votes, accuracy, low, high], ...]}]) into `box`. */
export function drawCurves(box, models) {
  const { width, height } = box.getBoundingClientRect(), em = 1.25 * parseFloat(getComputedStyle(document.documentElement).fontSize);
  const lowest = Math.min(0.4, ...models.flatMap(({ curve }) => curve.map(([, share, low]) => low ?? share)));
  const bottom = Math.max(0, Math.floor(10 * lowest) / 10);
  const most = Math.max(20, ...models.flatMap(({ curve }) => curve.map(([votes]) => votes)));
  const [left, right, up, down] = [3.4 * em, width - 0.6 * em, 0.7 * em, height - 1.5 * em];
  const x = (votes) => left + ((right - left) * votes) / most;
  const y = (share) => down - ((down - up) * (Math.min(1, share) - bottom)) / (1 - bottom);
  const across = (share, style) => make("line", { x1: left, x2: right, y1: y(share), y2: y(share), class: style });
  const words = models.map(({ name, accuracy, votes }) => `${name}: ${percent(accuracy)} after ${votes} votes`).join("; ");
  const picture = make("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": words });
  for (const share of down - up > 5 * em ? [0.5, 0.75, 1] : [0.5, 1]) {
    picture.append(across(share, share === 0.5 ? "chance" : "grid"),
      make("text", { x: left - 0.4 * em, y: y(share) + 0.35 * em, class: "end" }, percent(share)));
  }
  picture.append(make("text", { x: left, y: height - 0.3 * em }, "0"),
    make("text", { x: right, y: height - 0.3 * em, class: "end" }, `${most} votes`));
  const order = models.toSorted((a, b) => b.accuracy - a.accuracy); // the better one's name goes above its line
  for (const model of models) {
    const points = model.curve.map(([votes, share]) => [x(votes), y(share)]);
    if (!points.length) continue;
    const edge = (i) => model.curve.filter(([, , low]) => Number.isFinite(low)).map((point) => `${x(point[0])},${y(point[i])}`);
    const part = make("g", { class: `of ${model.team}` });
    if (edge(2).length) part.append(make("path", { d: `M${[...edge(3), ...edge(2).reverse()].join("L")}Z`, class: "band" }));
    if (model.ceiling) part.append(across(model.ceiling, "ceiling"));
    part.append(make("path", { d: `M${points.join("L")}`, class: "curve" }));
    for (const [cx, cy] of points) {
      part.append(model.team === "sun" ? make("rect", { x: cx - 6, y: cy - 6, width: 12, height: 12, class: "dot" })
        : make("circle", { cx, cy, r: 6, class: "dot" }));
    }
    picture.append(part);
  }
  picture.append(make("text", { x: left + 0.4 * em, y: y(0.5) + 0.95 * em }, "chance"));
  order.forEach(({ name, team, curve, ceiling }, i) => { // names last, over all lines
    const [votes, share] = curve.at(-1) ?? [0, 0.5], below = i > 0;
    if (team) picture.append(make("text", { x: x(votes), y: y(share) + (below ? 1.3 : -0.6) * em, class: "end label" }, name));
    const over = y(ceiling) > 1.3 * em ? -0.3 : 0.95; // its name stands above the line, at the very top below it
    if (ceiling && !below) picture.append(make("text", { x: left + 0.4 * em, y: y(ceiling) + over * em }, "ceiling"));
  });
  box.replaceChildren(picture);
}
