// The student's page: join, then the card. The card keeps a vote until the server has it on the disk.
import { WORDS, fill, forgetVotes, mountCard } from "./card.js";
import { request } from "./common.js";

const words = WORDS.class, scope = `class ${location.pathname}`, $ = (id) => document.getElementById(id);
const anyOf = (list) => list[Math.floor(Math.random() * list.length)];
const nickname = () => [words.adjectives, words.animals].map((list) => anyOf(list.split(" "))).join(" ");
let hear = () => {}, joined = () => {}, state = "", anew = false;

for (const node of document.querySelectorAll("[data-words]")) node.textContent = words[node.dataset.words];
document.title = words.title;
$("another").setAttribute("aria-label", words.another);

/** Send a message of the card and let the card hear the answer. Whoever is not in the class yet joins first. */
async function send(message) {
  const { status, body } = await request("say", message);
  if (status === 401) {
    await joinAgain();
    return send(message);
  }
  enter();
  const again = status === 0 || status === 429 || status >= 500;
  lost(again ? message : null, status && body.error);
  if (status === 200) hear(body);
  else hear({ type: "nack", id: message.id, retry: again,
    reason: status ? body.error ?? words.busy : words.no_connection });
}

/** Say at the top, where a phone shows it, that a message did not get through, and why; or that all is well again. */
function lost(message, reason) {
  const then = message?.type === "answer" ? words.vote_kept : words.again;
  $("offline").hidden = !message;
  $("offline").textContent = message ? `${reason || words.offline} ${then}` : "";
}

/** The card shows a task: say what the team looks for, and whose card it is. */
function shows({ task, brief = "", name }) {
  state = task.state;
  $("brief").hidden = !brief;
  $("brief").textContent = brief;
  if (!name) return;
  $("who").hidden = false;
  $("who").querySelector("bdi").textContent = name;
}

setInterval(async () => { // a new round may have begun
  if (state !== "done" || !$("join").hidden) return;
  const { status, body } = await request("say", { type: "next" });
  if (status === 401) joinAgain();
  else if (status === 200 && body.task.state !== "done") hear(body); // what was said already is not said again
}, 4000);

// Joining

function enter() {
  $("join").hidden = true;
  $("room").hidden = false;
}

/** Show the form, and return a promise that is kept once the student has joined. */
function joinAgain() {
  if ($("join").hidden) {
    $("room").hidden = true;
    $("join").hidden = false;
    $("code").value ||= decodeURIComponent(location.hash.slice(1));
    $("name").value ||= nickname();
    ($("code").value ? $("name") : $("code")).focus();
  }
  const before = joined;
  return new Promise((resolve) => { joined = () => { before(); resolve(); }; });
}

$("who").querySelector("button").addEventListener("click", () => {
  anew = true;
  $("name").value = nickname();
  joinAgain();
});
$("another").addEventListener("click", () => { $("name").value = nickname(); });
$("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  const wish = { code: $("code").value, name: $("name").value, anew };
  const { status, body } = await request("join", wish);
  $("join-error").textContent = status === 200 ? "" : fill(words.not_joined, { reason: body.error });
  if (status === 429) setTimeout(() => $("join").requestSubmit(), 2000); // many join at once
  if (status !== 200) return;
  history.replaceState(null, "", location.pathname);
  if (anew) { // nothing of the person before stays
    forgetVotes(scope);
    location.reload();
  }
  enter();
  joined();
  joined = () => {};
});

mountCard($("card"), {
  send, shows, listen: (callback) => { hear = callback; return () => { hear = () => {}; }; },
  silence: words.silence, scope,
});
