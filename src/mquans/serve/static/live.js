// What both pages share: pictures by WebSocket, drawing, charts, words for states.

const HEAT = [[8, 12, 32], [62, 18, 98], [150, 38, 108], [220, 72, 66], [250, 150, 30], [252, 240, 150]];
const BOX = "#ffd23f";
const RECONNECT_MS = 2000;
// Of the canvas, so that words on small pictures can be read.
const LEAST_WIDTH = 640;

export async function json(path, options) {
  const answer = await fetch(path, options);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error || answer.statusText);
  return value;
}

export const percent = (share) => (share == null ? "-" : `${Math.round(100 * share)} %`);
export const milliseconds = (value) => (value == null ? "-" : `${value.toFixed(0)} ms`);
export const listed = (counts) =>
  Object.entries(counts).map(([name, count]) => `${count} ${name}`).join(", ");

export function stateText(camera) {
  if (camera.state === "retry") return `retry in ${Math.ceil(camera.retry_in_s)} s: ${camera.why}`;
  return camera.why ? `${camera.state}: ${camera.why}` : camera.state;
}

// A camera's pictures on a canvas, for as long as it is in view.
export class LivePicture {
  constructor(canvas, name, showsHeat, onFrame = () => {}) {
    Object.assign(this, { canvas, name, showsHeat, onFrame, socket: null, wanted: false });
    new IntersectionObserver((entries) => {
      this.visible = entries[entries.length - 1].isIntersecting;
      this.update();
    }).observe(canvas);
    document.addEventListener("visibilitychange", () => this.update());
  }

  update() {
    this.wanted = this.visible && !document.hidden && !this.ended;
    if (this.wanted && !this.socket) this.connect();
    if (!this.wanted && this.socket) this.socket.close();
  }

  end() {
    this.ended = true;
    this.update();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/${encodeURIComponent(this.name)}`);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = async (message) => {
      try {
        await this.show(message.data);
      } finally {
        // The next picture is sent only now.
        if (socket.readyState === WebSocket.OPEN) socket.send("next");
      }
    };
    socket.onclose = () => {
      this.socket = null;
      if (this.wanted) setTimeout(() => this.update(), RECONNECT_MS);
    };
  }

  async show(data) {
    const length = new DataView(data).getUint32(0);
    const frame = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const picture = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)]));
    draw(this.canvas, picture, frame, this.showsHeat());
    picture.close();
    this.onFrame(frame);
  }
}

function draw(canvas, picture, frame, showsHeat) {
  const scale = Math.max(1, LEAST_WIDTH / picture.width);
  const [width, height] = [picture.width, picture.height].map((side) => Math.round(scale * side));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0, width, height);
  if (showsHeat && frame.heat) drawHeat(pen, canvas, frame.heat);
  pen.lineWidth = 2;
  pen.font = "14px system-ui, sans-serif";
  for (const { box, score, label } of frame.boxes) {
    const [left, top] = [box[0] * canvas.width, box[1] * canvas.height];
    const [right, bottom] = [box[2] * canvas.width, box[3] * canvas.height];
    pen.strokeStyle = BOX;
    pen.strokeRect(left, top, right - left, bottom - top);
    const text = `${label} ${Math.round(100 * score)} %`;
    const below = top < 18;
    pen.fillStyle = BOX;
    pen.fillRect(left - 1, below ? top : top - 18, pen.measureText(text).width + 8, 18);
    pen.fillStyle = "#000";
    pen.fillText(text, left + 3, below ? top + 14 : top - 4);
  }
}

function drawHeat(pen, canvas, heat) {
  const shares = Uint8Array.from(atob(heat.data), (letter) => letter.charCodeAt(0));
  const cells = new ImageData(heat.columns, heat.rows);
  shares.forEach((share, cell) => {
    const place = (share / 255) * (HEAT.length - 1);
    const low = Math.min(Math.floor(place), HEAT.length - 2);
    for (let k = 0; k < 3; k++)
      cells.data[4 * cell + k] = HEAT[low][k] + (place - low) * (HEAT[low + 1][k] - HEAT[low][k]);
    cells.data[4 * cell + 3] = share ? 40 + 0.3 * share : 0;
  });
  const small = new OffscreenCanvas(heat.columns, heat.rows);
  small.getContext("2d").putImageData(cells, 0, 0);
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
}

// A line over the last five minutes; values are [seconds, value].
export function chart(svg, values, most, text) {
  const now = Date.now() / 1000;
  const points = values.map(([at, value]) => `${(300 - (now - at)).toFixed(1)},${(40 - (38 * value) / most).toFixed(1)}`);
  svg.setAttribute("viewBox", "0 0 300 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-label", text);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", points.join(" "));
  svg.replaceChildren(line);
}

export function charts(reuseChart, latencyChart, history) {
  const worst = Math.max(10, ...history.map((second) => second[3]));
  const last = history[history.length - 1];
  chart(reuseChart, history.map((second) => [second[0], second[2]]), 1, `Reuse, now ${percent(last?.[2])}`);
  chart(latencyChart, history.map((second) => [second[0], second[3]]), worst,
    `Latency, now ${milliseconds(last?.[3])}, at most ${milliseconds(worst)}`);
}
