import { LivePicture, charts, json, listed, milliseconds, percent, stateText } from "/live.js";

const name = decodeURIComponent(location.pathname.split("/").pop());
const part = (id) => document.getElementById(id);
const path = `/api/cameras/${encodeURIComponent(name)}`;
let camera = null;

document.title = `${name} - mquans`;
part("name").textContent = name;
part("canvas").setAttribute("aria-label", `Picture of ${name}`);
new LivePicture(part("canvas"), name, () => part("heat").checked, showLayers);

function rows(body, facts) {
  body.replaceChildren(...facts.map(([label, value]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = label;
    const cell = document.createElement("td");
    cell.append(value instanceof Node ? value : String(value));
    row.append(head, cell);
    return row;
  }));
}

function showLayers(frame) {
  if (!frame.layers) return;
  rows(part("layers"), frame.layers.map(([layer, share]) => {
    const cell = document.createElement("span");
    const meter = document.createElement("meter");
    meter.value = share;
    cell.append(meter, percent(share));
    return [layer, cell];
  }));
}

function show() {
  const text = stateText(camera);
  if (part("state").textContent !== text) part("state").textContent = text;
  part("state").className = `state ${camera.state}`;
  part("overlay").textContent = camera.state === "live" ? "" : camera.state;
  part("enable").textContent = camera.enabled ? "Disable" : "Enable";
  const guard = camera.guard;
  const facts = [
    ["Source", camera.source],
    ["Model", camera.model],
    ["Frames per second", camera.fps.toFixed(1)],
    ["Reused", percent(camera.reuse)],
    ["Time to compute", milliseconds(camera.step_ms)],
    ["Latency", milliseconds(camera.latency_ms)],
    ["Seen", listed(camera.counts) || "nothing"],
    ["Guard", guard ? `level ${guard.level}, ${guard.violations} of ${guard.checks} checks violated` : "none"],
  ];
  for (const [zone, count] of Object.entries(camera.zones)) facts.push([`In zone ${zone}`, count]);
  for (const [line, count] of Object.entries(camera.lines))
    facts.push([`Crossed ${line}`, `${count.forward} forward, ${count.backward} backward`]);
  for (const [output, values] of Object.entries(camera.values))
    facts.push([output, values.map((value) => value.toPrecision(4)).join(", ")]);
  rows(part("now"), facts);
  rows(part("counters"), [...Object.entries(camera.counters), ["worker restarts", camera.restarts]]);
  charts(part("reuse-chart"), part("latency-chart"), camera.history);
  part("log").replaceChildren(...camera.log.slice().reverse().map(({ time, text }) => {
    const line = document.createElement("li");
    line.textContent = `${new Date(1000 * time).toLocaleTimeString()}  ${text}`;
    return line;
  }));
}

async function update() {
  try {
    camera = await json(path);
    show();
  } catch (error) {
    part("state").textContent = `The server does not answer: ${error.message}`;
    part("state").className = "state retry";
  }
}

async function ask(what, body, said) {
  try {
    await json(`${path}/${what}`, { method: "POST", body: body && JSON.stringify(body) });
    part("said").textContent = said;
  } catch (error) {
    part("said").textContent = error.message;
  }
  await update();
}

part("keyframe").addEventListener("click", () => ask("keyframe", null, "The next frame is a keyframe."));
part("enable").addEventListener("click", () => {
  const enabled = !camera.enabled;
  ask("enable", { enabled }, enabled ? "Enabled." : "Disabled.");
});

await update();
setInterval(update, 1000);
