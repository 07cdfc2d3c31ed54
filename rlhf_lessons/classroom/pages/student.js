// The student's page: join, then the card. Its channel keeps a vote until the server has it on the disk.
import { mountCard } from "./card.js";
import { make, request } from "./common.js";

const WORDS = [
  "Amber Brave Calm Clever Curious Daring Gentle Golden Happy Jolly Kind Lucky Merry Mighty Quick Quiet Silver Sunny Swift Wise",
  "Badger Beaver Crane Dolphin Falcon Fox Hare Heron Koala Lark Lynx Marten Newt Otter Owl Panda Puffin Robin Seal Wren",
].map((list) => list.split(" "));
const OUTBOX = `class-votes ${location.pathname}`; // in localStorage: votes that the server has not acknowledged
const $ = (id) => document.getElementById(id);
const nickname = () => WORDS.map((list) => list[Math.floor(Math.random() * list.length)]).join(" ");

// The channel between card and server

let outbox = [], asked = null, busy = false, wake = () => {}, hear = () => {}, state = "";
try { outbox = JSON.parse(localStorage.getItem(OUTBOX) ?? "[]"); } catch { /* storage may be switched off */ }
const keep = () => { try { localStorage.setItem(OUTBOX, JSON.stringify(outbox)); } catch { /* then in memory only */ } };

/** Take a message of the card: acts go into the outbox, once each; a wish for a task waits behind them. */
function send(message) {
  if (!message.id) asked = message;
  else if (!outbox.some((waiting) => waiting.id === message.id)) { outbox.push(message); keep(); }
  wake();
  deliver();
}

/** Deliver what waits, in order, each until the server has answered it. The id makes twice count once. */
async function deliver() {
  if (busy) return;
  busy = true;
  for (let pause = 1000; outbox.length || asked;) {
    const message = outbox[0] ?? asked;
    const { status, body } = await request("say", message);
    if (status === 401) { joinAgain(); break; }
    if (status === 0 || status === 429 || status >= 500) {
      lost(`${status ? body.error : "No connection to the teacher's computer."} ${outbox.length
        ? "Your vote is kept on this device and sent by itself." : "Trying again …"}`);
      hear({ type: "nack", id: message.id, reason: body.error ?? "the server is busy", retry: true });
      await new Promise((resolve) => { wake = resolve; setTimeout(resolve, pause); });
      pause = Math.min(2 * pause, 8000);
      continue;
    }
    pause = 1000;
    lost("");
    if (message === outbox[0]) { outbox.shift(); keep(); } else if (message === asked) asked = null;
    if (status !== 200) { hear({ type: "nack", id: message.id, reason: body.error, retry: false }); continue; }
    took(body);
  }
  busy = false;
}

/** Say at the top, where a phone shows it, that the network is gone; or no longer. */
function lost(words) {
  $("offline").hidden = !words;
  $("offline").textContent = words;
}

function took(reply) {
  if (reply.type === "task") {
    $("brief").hidden = !reply.brief;
    $("brief").textContent = reply.brief;
    if (reply.task.state === "done" && state === "done") return; // said already
    state = reply.task.state;
  }
  hear(reply);
  if (reply.task?.question) reword(reply.task);
}

/** Put a round's own question and choices on the card that was drawn for a pair. */
function reword({ question, labels }) {
  const card = $("card").querySelector(".rl-card");
  card.setAttribute("aria-label", `Rater card: ${question}`);
  card.querySelector(".rl-question").textContent = question;
  card.querySelectorAll(".rl-choice").forEach((choice, i) => { choice.lastChild.textContent = labels[i]; });
}

window.addEventListener("online", () => wake());
setInterval(() => { if (state === "done" && !busy) send({ type: "next" }); }, 4000); // a new round may have begun

// Joining

function joinAgain() {
  busy = false;
  $("room").hidden = true;
  $("join").hidden = false;
  $("code").value ||= decodeURIComponent(location.hash.slice(1));
  $("name").value ||= nickname();
  ($("code").value ? $("name") : $("code")).focus();
}

function enter() {
  $("join").hidden = true;
  $("room").hidden = false;
  if ($("card").childElementCount) { deliver(); return; }
  mountCard($("card"), {
    send, listen: (callback) => { hear = callback; return () => { hear = () => {}; }; },
    silence: "the teacher's computer does not answer", scope: `class ${location.pathname}`,
  });
}

$("another").addEventListener("click", () => { $("name").value = nickname(); });
$("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { status, body } = await request("join", { code: $("code").value, name: $("name").value });
  $("join-error").textContent = status === 200 ? "" : `You have not joined: ${body.error}.`;
  if (status === 200) { history.replaceState(null, "", location.pathname); enter(); }
});
request("say", { type: "ready" }).then(({ status }) => (status === 401 ? joinAgain() : enter()));
