// What the page does without being asked: the present, as it changes; and keys. It works without, only not by itself.
// Everything that is shown is made by the server, which escapes it; nothing is put together here.

const SILENT_MS = 3000;
const FRAME_MS = 250;
const GAUGES_MS = 1000;
const SLIDE_MS = 120;

const banner = document.getElementById("banner");
let heard = performance.now();

// --- the event stream ---

const shown = new Map();

function put(pieces) {
  for (const [id, html] of Object.entries(pieces)) {
    const element = document.getElementById(id);
    if (element && shown.get(id) !== html) {
      shown.set(id, html);
      const focused = element.contains(document.activeElement) && document.activeElement.getAttribute("href");
      element.innerHTML = html;
      if (focused) element.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
    }
  }
}

function listen() {
  const stream = new EventSource(banner.dataset.events);
  stream.onmessage = (event) => {
    heard = performance.now();
    put(JSON.parse(event.data));
    silence(0);
  };
  addEventListener("pagehide", () => stream.close());
}

// --- ages, and whether this page itself is cut off: by our own clock ---

const born = new WeakMap(); // element with an age -> when it was 0

function silence(ms) {
  let box = document.getElementById("silent");
  if (ms < SILENT_MS) {
    box?.remove();
    document.getElementById("verdict")?.classList.remove("stale");
    return;
  }
  if (!box) {
    box = document.createElement("div");
    box.id = "silent";
    box.className = "alarm critical";
    box.setAttribute("role", "alert");
    box.append(document.createElement("p"));
    banner.before(box);
  }
  box.firstChild.textContent = banner.dataset.silent.replace("{n}", Math.floor(ms / 1000));
  document.getElementById("verdict")?.classList.add("stale");
}

function tick() {
  const now = performance.now();
  for (const one of document.querySelectorAll("[data-age]")) {
    if (!born.has(one)) born.set(one, now - 1000 * Number(one.dataset.age));
    const text = one.dataset.words.replace("{}", Math.round((now - born.get(one)) / 1000));
    if (one.textContent !== text) one.textContent = text;
  }
  silence(performance.now() - heard);
}

// --- the live picture, and the bars of set-up ---

async function follow(canvas) {
  const outline = document.querySelector("[data-frame-outline]");
  const part = document.getElementById("frame-part");
  let after = "";
  for (;;) {
    const began = performance.now();
    try {
      const answer = await fetch(`${canvas.dataset.frame}&after=${after}&outline=${outline?.checked ? 1 : 0}`, { cache: "no-store" });
      if (answer.status === 200) {
        after = answer.headers.get("X-Frame");
        if (part) part.textContent = decodeURIComponent(answer.headers.get("X-Part"));
        const picture = await createImageBitmap(await answer.blob());
        [canvas.width, canvas.height] = [picture.width, picture.height];
        canvas.getContext("2d").drawImage(picture, 0, 0);
      }
    } catch {
      await sleep(1000);
    }
    await sleep(Math.max(0, FRAME_MS - (performance.now() - began)));
  }
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function gauges(box) {
  for (;;) {
    await sleep(GAUGES_MS);
    try {
      const answer = await fetch(box.dataset.gauges, { cache: "no-store" });
      if (answer.ok) {
        box.innerHTML = await answer.text();
        if (box.querySelector("[data-reload]")) location.reload(); // what was waited for is there, and has its own keys
      }
    } catch {
      // `tick` says that there is no contact
    }
  }
}

// --- keys: those that an element names in data-key; and O, M, Z for the picture ---

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const named = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  const of = { o: ".picture [id$=-outline]", m: ".picture [id$=-map]", z: ".picture .zoom" }[key];
  const target = named || (of && document.querySelector(of));
  if (target) {
    event.preventDefault();
    target.click();
  }
}

function zoomable(figure) {
  const button = figure.querySelector(".zoom");
  if (!button) return;
  button.hidden = false;
  const picture = figure.querySelector(".frame img");
  const turn = () => {
    button.setAttribute("aria-pressed", String(figure.classList.toggle("full")));
    if (picture.dataset.whole) picture.src = picture.dataset.whole; // each pixel of it, from now on
    delete picture.dataset.whole;
  };
  button.addEventListener("click", turn);
  picture.addEventListener("click", turn);
}

// --- the answer to a slider, which also works as a form ---

function slide(range) {
  const answer = document.getElementById("answer");
  range.form.querySelector("[data-without-script]").hidden = true;
  let asked = 0;
  range.addEventListener("input", async () => {
    const mine = ++asked;
    await sleep(SLIDE_MS);
    if (mine !== asked) return;
    try {
      const found = await fetch(`${range.dataset.answer}?at=${range.value}`, { cache: "no-store" });
      if (mine === asked && found.ok) answer.innerHTML = await found.text();
    } catch {
      // `tick` says that there is no contact
    }
  });
}

// An undo is pressed twice only if it was meant twice: what was sent once is not sent again.
function once(event) {
  if (event.target.method === "post") setTimeout(() => event.target.querySelectorAll("button").forEach((one) => (one.disabled = true)));
}

for (const one of document.querySelectorAll(".picture[data-zoom]")) zoomable(one);
for (const one of document.querySelectorAll("[data-answer]")) slide(one);
for (const one of document.querySelectorAll("img[data-or]")) {
  const instead = () => {
    const text = document.createElement("p");
    text.className = "none";
    text.textContent = one.dataset.or;
    one.replaceWith(text);
  };
  if (one.complete && !one.naturalWidth) instead();
  else one.addEventListener("error", instead);
}
addEventListener("keydown", press);
addEventListener("submit", once);
if (banner) {
  listen();
  setInterval(tick, 500);
}
const canvas = document.getElementById("frame");
if (canvas) follow(canvas);
const box = document.querySelector("[data-gauges]");
if (box) gauges(box);
