// The teacher's console: what can be done is a button, and each says what became of it.
import { follow, forgetKey, make, request } from "./common.js";

const $ = (id) => document.getElementById(id);
const FILES = ["preference", "unpaired", "rankings", "demonstrations", "table", "events"];
let now = null, drawn = "";

async function act(wish, done) {
  const { status, body } = await request("teach", wish);
  $("told").textContent = status === 200 ? done : `Not done: ${body.error}.`;
  $("told").className = status === 200 ? "good" : "error";
  drawn = "";
  update((await request("show/console")).body);
}

function button(label, wish, done, name = label) {
  return make("button", { click: () => act(wish, done), "aria-label": name }, label);
}

function rater(row) {
  const label = row.hidden ? "Let back in" : "Remove";
  return make("div", { class: `entry${row.hidden ? " out" : ""}` },
    make("span", {}, row.name, row.team ? make("small", {}, ` team ${row.team}`) : ""), make("span", {}, `${row.votes} votes`),
    button(label, { do: "hide", id: row.id, hidden: !row.hidden }, `${row.name}: ${row.hidden ? "is back" : "removed"}`,
      `${label}: ${row.name}`));
}

function flag(row) {
  return make("div", { class: "flag" }, make("p", {}, make("b", {}, row.prompt), row.reason ? ` – “${row.reason}”` : ""),
    ...row.answers.map((answer) => make("div", { class: `entry${answer.hidden ? " out" : ""}` }, make("span", {}, answer.text),
      button(answer.hidden ? "Show again" : "Hide", { do: "hide", id: answer.id, hidden: !answer.hidden },
        answer.hidden ? "The text is back" : "The text is offered no more", `${answer.hidden ? "Show" : "Hide"} this text`))));
}

function round(row) {
  const current = row.name === now.room.round;
  return make("div", { class: "entry" }, make("span", {}, row.name),
    current ? make("span", {}, "current") : button("Go back to it", { do: "open", round: row.name }, `${row.name} is open`,
      `Go back to ${row.name}`));
}

function update(state, error) {
  if (!state?.room) { $("told").textContent = `Not up to date: ${error}`; return; }
  now = state;
  if (drawn === JSON.stringify(state)) return;
  drawn = JSON.stringify(state);
  const { room, raters, flags, rounds } = state, focused = document.activeElement?.getAttribute("aria-label");
  $("join").textContent = `${room.address}  ·  class code ${room.code}`;
  $("state").textContent = `${room.round ?? "no round yet"}${room.state === "paused" ? ", paused" : ""}: ${room.votes} votes by `
    + `${room.voted} of ${room.raters} people, ${room.minute} in the last minute`;
  $("pause").textContent = room.state === "paused" ? "Go on" : "Pause";
  $("reveal").textContent = room.revealed ? "Hide who wrote what" : "Reveal who wrote what";
  [$("hands").hidden, $("close").disabled] = [!room.pair, !room.pair];
  const list = (id, rows, make_, empty) =>
    $(id).replaceChildren(...(rows.length ? rows.map(make_) : [make("p", { class: "quiet" }, empty)]));
  list("rounds", rounds.toReversed(), round, "");
  list("raters", raters.toReversed(), rater, "Nobody has joined yet.");
  list("flags", flags.toReversed(), flag, "Nothing was flagged.");
  if (focused) [...document.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
}

function exports() {
  const query = $("anonymous").checked ? "?anonymous" : "";
  $("exports").replaceChildren(...FILES.map((name) => make("a", { href: `export/${name}${query}`, download: true }, name)));
}

$("pause").addEventListener("click", () => (now.room.state === "paused" ? act({ do: "open" }, "Students go on.")
  : act({ do: "pause" }, "Paused: students finish the task on their screen.")));
$("reveal").addEventListener("click", () => act({ do: "reveal", on: !now.room.revealed },
  now.room.revealed ? "Names are hidden again." : "The projector shows who wrote what."));
$("show").addEventListener("click", () => act({ do: "pair" }, "The projector shows a pair."));
$("close").addEventListener("click", () => act({ do: "close" }, "The projector shows the figures."));
$("new").addEventListener("submit", (event) => {
  event.preventDefault();
  act({ do: "round", ...Object.fromEntries(new FormData(event.target)) }, "The new round is open.");
});
$("hands").addEventListener("submit", (event) => {
  event.preventDefault();
  const counts = Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, Number(value)]));
  act({ do: "hands", counts }, "The counts are saved.");
});
$("anonymous").addEventListener("change", exports);
exports();
forgetKey();
follow("show/console", update);
