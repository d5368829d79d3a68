import { LivePicture, charts, json, listed, milliseconds, percent, stateText } from "/live.js";

const tiles = new Map();
const heat = document.getElementById("heat");

function tile(name) {
  const article = document.getElementById("tile").content.cloneNode(true).firstElementChild;
  const part = (selector) => article.querySelector(selector);
  const link = part("h2 a");
  link.textContent = name;
  link.href = `/camera/${encodeURIComponent(name)}`;
  link.id = `name-${name}`;
  article.setAttribute("aria-labelledby", link.id);
  part("canvas").setAttribute("aria-label", `Picture of ${name}`);
  document.getElementById("cameras").append(article);
  const live = new LivePicture(part("canvas"), name, () => heat.checked);
  return { article, part, live };
}

function show({ part }, camera) {
  const text = stateText(camera);
  const state = part(".state");
  if (state.textContent !== text) state.textContent = text;
  state.className = `state ${camera.state}`;
  part(".overlay").textContent = camera.state === "live" ? "" : camera.state;
  part(".reuse").textContent = percent(camera.reuse);
  part(".latency").textContent = milliseconds(camera.latency_ms);
  part(".fps").textContent = `${camera.fps.toFixed(1)} /s`;
  const seen = listed(camera.counts);
  part(".counts").textContent = seen || "nothing";
  part("canvas").setAttribute("aria-label", `Picture of ${camera.name}: ${camera.state}, ${seen || "nothing seen"}`);
}

async function update() {
  try {
    const { cameras } = await json("/api/cameras");
    const names = new Set(cameras.map((camera) => camera.name));
    for (const [name, { article, live }] of tiles)
      if (!names.has(name)) {
        live.end();
        article.remove();
        tiles.delete(name);
      }
    for (const camera of cameras) {
      if (!tiles.has(camera.name)) tiles.set(camera.name, tile(camera.name));
      show(tiles.get(camera.name), camera);
    }
    const live = cameras.filter((camera) => camera.state === "live").length;
    said(`${live} of ${cameras.length} live`);
  } catch (error) {
    said(`The server does not answer: ${error.message}`);
  }
}

function said(text) {
  const summary = document.getElementById("summary");
  if (summary.textContent !== text) summary.textContent = text;
}

async function history() {
  for (const [name, { part }] of tiles) {
    const camera = await json(`/api/cameras/${encodeURIComponent(name)}`).catch(() => null);
    if (camera) charts(part(".reuse-chart"), part(".latency-chart"), camera.history);
  }
}

await update();
await history();
setInterval(update, 1000);
setInterval(history, 5000);
