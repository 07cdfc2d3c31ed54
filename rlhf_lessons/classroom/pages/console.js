// The teacher's console: what can be done is a button, and each says what became of it.
import { follow, forgetKey, make, request } from "./common.js";

const $ = (id) => document.getElementById(id);
const FILES = {
  preference: "pairs, with rankings taken apart: TRL's format for a reward model, or DPO",
  unpaired: "single answers, good or bad: TRL's format for KTO", rankings: "whole rankings",
  demonstrations: "ideal answers, for SFT", table: "all judgements, for a spreadsheet (CSV)",
  events: "everything, for `ratings import`",
};
const PAGE = 10; // texts that the server gives at once
let now = null, drawn = "", page = 0;

function tell(words, good = true) {
  $("told").textContent = words;
  $("told").className = good ? "good" : "error";
}

async function act(wish, done) {
  const { status, body } = await request("teach", wish);
  tell(status === 200 ? done : `Not done: ${body.error}.`, status === 200);
  drawn = "";
  update((await request("show/console")).body);
}

/** Fill a list anew, and leave the focus on the button that has it. */
function list(id, rows, entry, empty) {
  const focused = $(id).contains(document.activeElement) && document.activeElement.dataset.of;
  $(id).replaceChildren(...(rows.length ? rows.map(entry) : [make("p", { class: "quiet" }, empty)]));
  if (focused) [...$(id).querySelectorAll("button")].find((button) => button.dataset.of === focused)?.focus();
}

function button(label, of, click) {
  return make("button", { type: "button", "data-of": of, "aria-label": `${label}: ${of.slice(0, 80)}`, click }, label);
}

/** Return a reason after those before it; whatever is in it, it turns no other's letters round. */
function isolated(reason, place) {
  return make("span", {}, place ? "; " : "", make("bdi", {}, reason));
}

function rater(row) {
  const removed = row.hidden;
  return make("div", { class: `entry${removed ? " out" : ""}` },
    make("span", {}, make("bdi", {}, row.name), row.team ? make("small", {}, `Team ${row.team}`) : ""), make("span", {}, `${row.votes} votes`),
    button(removed ? "Let back in" : "Remove", row.name, () => act({ do: "hide", id: row.id, hidden: !removed },
      `${row.name}: ${removed ? "is back" : "removed"}`)));
}

function text(row) {
  const [out, back] = row.by ? [`Remove ${row.by}`, `Let ${row.by} back in`] : ["Hide", "Show again"];
  return make("div", { class: `entry${row.hidden ? " out" : ""}` }, make("span", {},
    make("small", { dir: "auto" }, row.prompt), make("div", { dir: "auto" }, row.text),
    row.flags.length ? make("small", { class: "flagged" }, "flagged: ", ...row.flags.map(isolated)) : ""),
  button(row.hidden ? back : out, row.text, async () => {
    await act({ do: "hide", id: row.id, hidden: !row.hidden }, row.hidden ? "It is back." : "It is offered no more, and left out of exports.");
    look();
  }));
}

/** Show a page of the texts that were judged. */
async function look() {
  const query = new URLSearchParams([...new FormData($("search")), ["page", page]]);
  const { status, body } = await request(`texts?${query}`);
  if (status !== 200) { tell(`Not done: ${body.error}.`, false); return; }
  list("texts", body.texts, text, "None.");
  const last = Math.min(body.of, PAGE * (page + 1));
  $("page").textContent = body.of ? `${PAGE * page + 1} to ${last} of ${body.of}` : "";
  [$("newer").disabled, $("older").disabled] = [page === 0, last === body.of];
}

function round(name) {
  return make("div", { class: "entry" }, make("span", {}, name), name === now.room.round ? make("span", {}, "current")
    : button("Go to it", name, () => act({ do: "open", round: name }, `${name} is open.`)));
}

function update(state, error) {
  if (!state?.room) { tell(`Not up to date: ${error}`, false); return; }
  const other = now?.room.round !== state.room.round || now.flags !== state.flags;
  now = state;
  if (drawn === JSON.stringify(state)) return;
  drawn = JSON.stringify(state);
  const { room, raters, rounds, flags } = state;
  $("join").textContent = `${room.address}  ·  class code ${room.code}`;
  $("state").textContent = `${room.round ?? "no round yet"}${room.state === "paused" ? ", paused" : ""}: ${room.votes} votes by `
    + `${room.voted} of ${room.raters} people, ${room.minute} in the last minute`;
  $("trainer").textContent = room.trainer;
  $("flagged").textContent = `flagged only (${flags})`;
  $("pause").textContent = room.state === "paused" ? "Resume" : "Pause";
  $("reveal").textContent = room.revealed ? "Hide who wrote what" : "Reveal who wrote what";
  [$("hands").hidden, $("close").disabled] = [!room.pair, !room.pair];
  list("rounds", rounds.toReversed(), round, "");
  list("raters", raters.toReversed(), rater, "Nobody has joined yet.");
  if (other) { page = 0; look(); }
}

/** Save a file, and say what is not in it. */
async function save(name) {
  const answer = await fetch(`export/${name}${$("anonymous").checked ? "?anonymous" : ""}`);
  if (!answer.ok) { tell(`Not saved: ${(await answer.json()).error}.`, false); return; }
  const left = Object.entries(JSON.parse(answer.headers.get("X-Left-Out"))).map(([why, n]) => `${why}: ${n}`);
  const file = answer.headers.get("Content-Disposition").match(/"(.*)"/)[1], address = URL.createObjectURL(await answer.blob());
  make("a", { href: address, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  tell(`Saved ${file}. Left out: ${left.join("; ") || "nothing"}.`);
}

$("exports").append(...Object.entries(FILES).map(([name, what]) => make("div", { class: "entry" }, make("span", {}, what),
  make("button", { "aria-label": `Save ${name}`, click: () => save(name) }, name))));
$("pause").addEventListener("click", () => (now.room.state === "paused" ? act({ do: "open" }, "Students continue.")
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
$("search").addEventListener("submit", (event) => { event.preventDefault(); page = 0; look(); });
$("newer").addEventListener("click", () => { page -= 1; look(); });
$("older").addEventListener("click", () => { page += 1; look(); });
forgetKey();
follow("show/console", update);
