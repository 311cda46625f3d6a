// The page: one WebSocket brings events and arrays, requests change things. What is drawn is drawn once a frame of the
// screen at most, and only where it can be seen.

import { axes, begin, colour, dot, ellipse, inside, legend, line, lines, readColours, resize, scale, sheet, short, symbol } from "./plots.js";

const $ = (id) => document.getElementById(id);
const API = "api/v1/";
const HISTORY = 600, POSITIONS = 300, WATERFALL = 120;

const model = {
  status: null, about: null, keys: [], views: {}, history: [], positions: {}, latest: {}, waterfall: {}, missed: 0,
  shownPicture: null, shownBy: null, changes: [], draws: {},
};
window.issc = model;

// ---- asking -------------------------------------------------------------------------------------------------------

let token = sessionStorage.getItem("issc-token") || "";

async function request(path, method = "GET", body = undefined) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (response.status === 401) {
    askToken();
    throw new Error("a token is needed");
  }
  return response;
}

async function get(path) {
  const response = await request(path);
  const value = await response.json();
  if (!response.ok) throw new Error(value.error);
  return value;
}

function askToken() {
  if (!$("ask-token").open) $("ask-token").showModal();
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("issc-token", token);
  $("ask-token").close();
  connect();
});

// ---- the stream ---------------------------------------------------------------------------------------------------

let socket = null, attempt = 0, timer = null, calls = 0;

function chip(id, text, kind) {
  // Touching an element costs, even where it stays as it is.
  if ($(id).textContent === text) return;
  $(id).textContent = text;
  $(id).className = `chip ${kind}`;
}

async function connect() {
  // Whoever changes the rate while this still asks around begins anew: two streams would bring everything twice.
  const call = ++calls;
  clearTimeout(timer);
  if (socket) socket.onclose = null, socket.close();
  socket = null;
  try {
    const health = await get("healthz");
    $("start").hidden = $("next").hidden = !health.serves;
    model.health = health;
    if (health.has_run) await learn();
    else if (health.serves) model.keys = await get(API + "keys"), offerKeys();
    running(health.running ? "running" : "idle");
  } catch (error) {
    return call === calls ? again() : undefined;
  }
  if (call !== calls) return;
  const where = new URL(API + "stream", location.href);
  where.protocol = where.protocol === "https:" ? "wss:" : "ws:";
  where.search = `topics=events,status,spectrum,constellation,map,beams&rate=${$("rate").value}`;
  socket = new WebSocket(where, token ? ["issc", `token.${token}`] : ["issc"]);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { attempt = 0; chip("connection", "connected", "good"); };
  socket.onmessage = (message) => (typeof message.data === "string" ? heard(JSON.parse(message.data)) : seen(message.data));
  socket.onclose = again;
}

function again() {
  chip("connection", "not connected", "bad");
  clearTimeout(timer);
  timer = setTimeout(connect, Math.min(5000, 400 * 2 ** attempt++));
}

// What a run is made of, once for each run.
async function learn() {
  model.about = await get(API + "flowgraph");
  model.keys = await get(API + "keys");
  Object.assign(model, { views: {}, history: [], positions: {}, latest: {}, waterfall: {}, shownPicture: null });
  offerControls();
  offerKeys();
  await showChanges();
  dirty(...Object.keys(drawings));
}

async function showChanges() {
  const plan = await get(API + "plan");
  model.changes = plan.recent;
  showValues(plan.values);
  $("changes").replaceChildren(...[...plan.recent].reverse().map((change) => {
    const outcome = change.feasible ? "made" : `refused: ${change.reason ?? "not feasible"}`;
    const cause = change.value === null ? change.cause : `${change.cause}=${change.value}`;
    return row([change.frame, cause, outcome]);
  }));
}

// What commands made of live keys, whoever gave them; a field that is being written to is left alone.
function showValues(values) {
  for (const [path, { value }] of Object.entries(values)) {
    const form = document.querySelector(`form[data-path="${CSS.escape(path)}"]`);
    if (!form || path === "weights" || form.contains(document.activeElement)) continue;
    const parts = value.startsWith("[") ? JSON.parse(value) : [value];
    form.querySelectorAll("input").forEach((input, index) => { input.value = parts[index] ?? ""; });
  }
}

function row(cells, head = false) {
  const line = document.createElement("tr");
  cells.forEach((text, index) => {
    const cell = document.createElement(head && index === 0 ? "th" : "td");
    if (cell.tagName === "TH") cell.scope = "row";
    cell.textContent = text;
    line.append(cell);
  });
  return line;
}

function heard(event) {
  switch (event.event) {
    case "status": return takeStatus(event);
    case "missed": model.missed += event.count; return;
    case "detections": return takeDetections(event);
    case "plan": dueChanges = true; return;
  }
}

let dueChanges = false;

function takeStatus(status) {
  const before = model.status;
  if (before && status.frames_sent_total < before.frames_sent_total) return newRun(status);
  model.status = status;
  const plan = status.plan, images = status.receivers.find((one) => one.images)?.images ?? [];
  const image = images[images.length - 1];
  const last = model.history[model.history.length - 1];
  if (status.frame !== null && (!last || last.frame < status.frame)) {
    model.history.push({
      frame: status.frame, measured: status.sinr_db.measured, predicted: status.sinr_db.predicted,
      lost: status.block_error_rate === null ? null : 100 * status.block_error_rate, psnr: image?.psnr_db ?? null,
      promised: plan.predicted_mse > 0 ? 10 * Math.log10(255 ** 2 / plan.predicted_mse) : null,
    });
    if (model.history.length > HISTORY) model.history.shift();
  }
  running(status.state);
  if (image && image.index !== model.shownPicture) showPicture();
  tellPicture();
  if (dueChanges || (before && before.retunes_total !== status.retunes_total)) {
    dueChanges = false;
    showChanges().catch(() => {});
  }
  dirty(...OF_STATUS);
}

async function newRun(status) {
  model.status = status;
  try { await learn(); } catch { /* the connection is gone and will say so */ }
}

function takeDetections(event) {
  model.latest[event.node] = event;
  const kept = (model.positions[event.node] ??= []);
  for (const found of event.detections) kept.push(found.position_m);
  if (kept.length > POSITIONS) kept.splice(0, kept.length - POSITIONS);
}

// A view: the length of its header, the header, the numbers of its arrays.
function seen(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const view = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let offset = 4 + length;
  view.data = {};
  for (const array of view.arrays) {
    const count = array.shape.reduce((a, b) => a * b, 1);
    view.data[array.name] = { ...array, values: new Float32Array(buffer, offset, count) };
    offset += 4 * count;
  }
  (model.views[view.topic] ??= {})[view.node ?? ""] = view;
  if (view.topic === "spectrum") {
    const kept = (model.waterfall[view.node] ??= []);
    const { shape, values } = view.data.power_dbm;
    kept.unshift(values.slice(0, shape[1]));
    if (kept.length > WATERFALL) kept.pop();
    offerNodes();
  }
  dirty(...BY_TOPIC[view.topic]);
}

// ---- what is shown ------------------------------------------------------------------------------------------------

function running(state) {
  if (model.running === state) return;
  model.running = state;
  chip("running", state, state === "running" ? "good" : state === "ended" || state === "idle" ? "" : "bad");
  const active = ["running", "waiting"].includes(state);
  $("stop").disabled = !active;
  $("start").disabled = active || state === "stopping";
}

const at = (value, path) => path.split(".").reduce((inner, key) => inner?.[key], value);

function number(value, digits = 2) {
  if (value === null || value === undefined) return "—";
  // No "-0.00": what rounds to nothing has no sign.
  return typeof value === "number" ? value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1") : String(value);
}

// Touching an element costs a layout, even where it stays as it is.
function write(element, value) {
  const text = String(value);
  if (element.textContent !== text) element.textContent = text;
}

function showFigures() {
  const status = model.status;
  if (!status) return;
  for (const cell of document.querySelectorAll("[data-key]")) {
    const value = at(status, cell.dataset.key);
    const scaled = typeof value === "number" ? value * (cell.dataset.scale ?? 1) : value;
    write(cell, cell.dataset.digits ? number(scaled, +cell.dataset.digits) : scaled ?? "—");
  }
  write($("pace"), number(status.realtime_factor, 3));
  const range = (latency) => latency.p50 === null ? "not measured"
    : `${number(latency.p50, 1)} ms, ${number(latency.p99, 1)} ms of 99 in 100, ${number(latency.max, 1)} ms at most`;
  const rows = [
    ["frames sent", status.frames_sent_total], ["pictures sent", status.images_total],
    ["pictures without loss", status.images_whole], ["changes of plan", status.retunes_total],
    ["wrong blocks that passed", status.undetected_blocks],
    ["given up: overload", status.dropped.overload], ["given up: late", status.dropped.late],
    ["given up: gaps", status.dropped.gap], ["given up: refused", status.dropped.refused],
    ["overflows, underflows", `${status.overflows}, ${status.underflows}`],
    ...Object.entries(status.latency_ms).map(([what, latency]) => [`to a ${what}`, range(latency)]),
    ["memory", status.memory_bytes === null ? "—" : `${(status.memory_bytes / 1e6).toFixed(0)} MB`],
    ["events that this page missed", model.missed],
  ];
  for (const receiver of status.receivers) {
    const data = receiver.data;
    if (data && data.promised_bits_per_s !== null) {
      const kilobits = (rate) => rate === null ? "—" : number(rate / 1e3, 0);
      rows.push([`${receiver.id}: user data`, `${kilobits(data.goodput_bits_per_s)} of ${kilobits(data.promised_bits_per_s)} kbit/s`]);
      rows.push([`${receiver.id}: datagrams lost`, `${data.datagrams.lost} of ${data.datagrams.sent}`]);
    }
    for (const target of receiver.targets ?? []) {
      for (const [reason, count] of Object.entries(target.refused)) {
        rows.push([`${receiver.id}, ${target.id}: ${reason}`, `${count} of the last frames`]);
      }
    }
  }
  const table = $("counters");
  if (table.rows.length !== rows.length) table.replaceChildren(...rows.map((cells) => row(cells, true)));
  rows.forEach((cells, index) => cells.forEach((text, column) => write(table.rows[index].cells[column], text)));
}

// The newest picture that is kept, both sides of it, each for a second and a half: a run may be quicker than the eye, and each picture that is
// fetched, unpacked and laid out costs as much as dozens of messages.
const PICTURE_MS = 1500;
let fetching = false;

async function showPicture() {
  if (fetching) return;
  fetching = true;
  try {
    const [newest] = (await get(API + "pictures")).kept;
    if (!newest || newest.index === model.shownPicture) return;
    const name = (side) => `${API}pictures/${newest.index}.png?side=${side}&receiver=${encodeURIComponent(newest.node)}`;
    // Nobody here may know what was sent, as where the end of a run cut a picture short.
    const sides = newest.sent ? ["sent", "received"] : ["received"];
    const answers = await Promise.all(sides.map((side) => request(name(side))));
    const files = await Promise.all(answers.map((answer) => (answer.ok ? answer.blob() : null)));
    $("sent").hidden = !newest.sent;
    sides.forEach((side, index) => {
      const picture = $(side), old = picture.src;
      if (!files[index]) return;
      picture.hidden = false;
      picture.src = URL.createObjectURL(files[index]);
      picture.alt = `picture ${newest.index} as ${side}`;
      if (old) URL.revokeObjectURL(old);
    });
    [model.shownPicture, model.shownBy] = [newest.index, newest.node];
    tellPicture();
    await new Promise((resolve) => setTimeout(resolve, PICTURE_MS));
  } catch { /* the connection is gone and will say so */ } finally {
    fetching = false;
  }
}

// What the status says of the picture that is shown: the first status after it may not know of it yet.
function tellPicture() {
  const { shownPicture: index, shownBy: node } = model;
  if (index === null) return;
  const line = model.status?.receivers.find((one) => one.id === node)?.images?.find((one) => one.index === index);
  const quality = !line ? "" : line.identical ? "equal to the original" : `PSNR ${number(line.psnr_db)} dB`;
  const told = $("picture-facts").dataset.of === String(index);
  if (told && !line) return;
  $("picture-facts").dataset.of = index;
  write($("picture-facts"), `picture ${index} at ${node}` + (line ? `: ${line.bits} bits, ${quality}, MS-SSIM ` +
    `${number(line.ms_ssim, 4)}, ${line.blocks_lost} blocks lost, ${number(line.psnr_loss_db)} dB below its error-free decode` : ""));
}

// What is written under the drawings, by name.
const facts = {};

const nodesOf = (topic) => Object.values(model.views[topic] ?? {});

const drawings = {
  constellation(canvas) {
    const [view] = nodesOf("constellation");
    if (!view) return;
    const { symbols, points } = view.data;
    const reach = Math.min(3, 1.15 * Math.max(1, ...points.values.map(Math.abs)));
    const plot = begin(canvas);
    const shown = axes(plot, [-reach, reach], [-reach, reach], { x: "in phase", y: "quadrature" }, true);
    inside(plot.context, shown.box, () => {
      const half = view.facts.protected_blocks * view.facts.block_symbols;
      plot.context.globalAlpha = 0.6;
      for (let k = 0; k < symbols.shape[0]; k++) {
        if (k === 0 || k === half) plot.context.fillStyle = colour(k < half ? "green" : "blue");
        dot(plot.context, shown.px(symbols.values[2 * k]), shown.py(symbols.values[2 * k + 1]));
      }
      plot.context.globalAlpha = 1;
      for (let k = 0; k < points.shape[0]; k++) {
        symbol(plot.context, "plus", shown.px(points.values[2 * k]), shown.py(points.values[2 * k + 1]), colour("orange"), 4);
      }
    });
    const entries = [{ name: "payload", tone: "blue", mark: "dot" }, { name: "points sent", tone: "orange", mark: "plus" }];
    if (view.facts.protected_blocks) entries.splice(1, 0, { name: "protected", tone: "green", mark: "dot" });
    legend(plot, entries, shown.box);
    const blocks = view.facts.blocks.map((block) => block ?? "empty").join(", ");
    facts.constellation = `frame ${view.frame} at ${view.node}: blocks ${blocks}; SINR ${number(view.facts.sinr_db)} dB`;
  },

  spectrum(canvas) {
    const view = model.views.spectrum?.[$("spectrum-node").value];
    if (!view) return;
    const { shape, values } = view.data.power_dbm, rate = view.facts.sample_rate_hz, count = shape[1];
    const x = Array.from({ length: count }, (_, k) => ((k - count / 2) / count) * rate / 1e6);
    const series = [];
    const tones = ["blue", "orange", "green", "pink"], marks = ["line", "dashed", "line", "dashed"];
    for (let r = 0; r < Math.min(shape[0], 4); r++) {
      const name = shape[0] > 1 ? `antenna ${r}` : "";
      series.push({ x, y: Array.from(values.subarray(r * count, (r + 1) * count)), tone: tones[r], mark: marks[r], name });
    }
    lines(canvas, series, { x: "offset from the carrier, MHz", y: "dBm a bin" });
    let peak = -Infinity;
    for (let k = 0; k < count; k++) peak = Math.max(peak, values[k]);
    facts.spectrum = `${view.node}: ${short(rate / 1e6)} MS/s, peak ${number(peak, 1)} dBm in ${short(rate / count / 1e3)} kHz`;
  },

  waterfall(canvas) {
    const kept = model.waterfall[$("spectrum-node").value];
    const view = model.views.spectrum?.[$("spectrum-node").value];
    if (!kept?.length || !view) return;
    const columns = kept[0].length, grid = new Float32Array(columns * WATERFALL).fill(-Infinity);
    let least = Infinity, most = -Infinity;
    kept.forEach((values, index) => grid.set(values, index * columns));
    for (const value of kept[0]) [least, most] = [Math.min(least, value), Math.max(most, value)];
    least = Math.max(least, most - 60);
    const plot = begin(canvas);
    const rate = view.facts.sample_rate_hz / 1e6;
    const shown = axes(plot, [-rate / 2, rate / 2], [-WATERFALL, 0], { x: "offset from the carrier, MHz", y: "updates ago", title: " " });
    plot.context.imageSmoothingEnabled = false;
    const { left, right, top, bottom } = shown.box;
    plot.context.drawImage(sheet(canvas, grid, columns, WATERFALL, least, most), left, top, right - left, bottom - top);
    scale(plot, shown.box, least, most, "dBm");
  },

  map(canvas) {
    const [view] = nodesOf("map");
    if (!view) return;
    const { power_db, angle_deg, path_m } = view.data;
    let most = 10;
    for (const value of power_db.values) most = Math.max(most, value);
    const least = Math.max(-5, most - 45);
    const plot = begin(canvas);
    const ends = (array) => {
      const step = array.values[1] - array.values[0];
      return [array.values[0] - step / 2, array.values[array.values.length - 1] + step / 2];
    };
    const shown = axes(plot, ends(path_m), ends(angle_deg), { x: "path by way of the target, m", y: "arrival angle, °", title: " " });
    // The first row of the array is the lowest angle.
    const [rows, columns] = power_db.shape, turned = new Float32Array(rows * columns);
    for (let r = 0; r < rows; r++) turned.set(power_db.values.subarray(r * columns, (r + 1) * columns), (rows - 1 - r) * columns);
    plot.context.imageSmoothingEnabled = false;
    const { left, right, top, bottom } = shown.box;
    plot.context.drawImage(sheet(canvas, turned, columns, rows, least, most), left, top, right - left, bottom - top);
    inside(plot.context, shown.box, () => {
      for (const found of view.facts.found) {
        plot.context.lineWidth = 5;
        plot.context.strokeStyle = "#000";
        plot.context.beginPath();
        plot.context.arc(shown.px(found.path_m), shown.py(found.angle_deg), 8, 0, 7);
        plot.context.stroke();
        plot.context.lineWidth = 2.5;
        plot.context.strokeStyle = "#fff";
        plot.context.stroke();
      }
    });
    scale(plot, shown.box, least, most, "dB");
    const found = view.facts.found.map((one) => `${one.path_m.toFixed(2)} m, ${one.angle_deg.toFixed(2)}°`).join("; ") || "nothing";
    facts.map = `frame ${view.frame} at ${view.node}: found (white rings) ${found}; power over the mean noise`;
  },

  plan(canvas) {
    const about = model.about, status = model.status;
    if (!about || !status) return;
    const targets = status.receivers.filter((one) => one.targets).flatMap((one) => one.targets);
    const places = [about.transmitter_m, ...about.receivers.map((one) => one.position_m)];
    for (const target of targets) places.push(...[target.truth_m, target.estimate_m].filter(Boolean));
    if (!targets.length) places.push(...about.targets.map((one) => one.position_m));
    const span = (axis) => {
      const values = places.map((place) => place[axis]);
      const [least, most] = [Math.min(...values), Math.max(...values)], room = 0.18 * Math.max(most - least, 10);
      return [least - room, most + room];
    };
    const plot = begin(canvas), { context } = plot;
    const shown = axes(plot, span(0), span(1), { x: "x, m", y: "y, m" }, true);
    inside(context, shown.box, () => {
      const beams = model.views.beams?.[""];
      if (beams) {
        const angle = beams.data.angle_deg.values, reach = 0.42 * Math.min(shown.box.right - shown.box.left, shown.box.bottom - shown.box.top);
        let most = -Infinity;
        for (const name of ["w_c_dbm", "w_0_dbm"]) for (const value of beams.data[name].values) most = Math.max(most, value);
        const [x0, y0] = [shown.px(about.transmitter_m[0]), shown.py(about.transmitter_m[1])];
        for (const [name, tone, dash] of [["w_c_dbm", "blue", []], ["w_0_dbm", "pink", [5, 3]]]) {
          context.strokeStyle = context.fillStyle = colour(tone);
          context.setLineDash(dash);
          context.lineWidth = 1.8;
          const points = [[x0, y0]];
          angle.forEach((degrees, k) => {
            const size = reach * Math.max(0, 1 + (beams.data[name].values[k] - most) / 30), t = (degrees * Math.PI) / 180;
            points.push([x0 + size * Math.cos(t), y0 - size * Math.sin(t)]);
          });
          context.globalAlpha = 0.12;
          context.beginPath();
          points.forEach(([x, y]) => context.lineTo(x, y));
          context.fill();
          context.globalAlpha = 1;
          line(context, points);
        }
        context.setLineDash([]);
      }
      const name = (text, place) => {
        context.fillStyle = colour("text");
        context.textBaseline = "bottom";
        const [x, right] = [shown.px(place[0]), shown.box.right];
        context.textAlign = x > right - 90 ? "right" : "left";
        context.fillText(text, x + (x > right - 90 ? -9 : 9), shown.py(place[1]) - 5);
      };
      symbol(context, "square", shown.px(about.transmitter_m[0]), shown.py(about.transmitter_m[1]), colour("text"));
      name("transmitter", about.transmitter_m);
      for (const receiver of about.receivers) {
        symbol(context, "triangle", shown.px(receiver.position_m[0]), shown.py(receiver.position_m[1]), colour("text"), 6);
        name(receiver.id, receiver.position_m);
      }
      for (const detections of Object.values(model.latest)) {
        for (const found of detections.detections) {
          for (const rival of found.rivals) symbol(context, "plus", shown.px(rival.position_m[0]), shown.py(rival.position_m[1]), colour("pink"));
          symbol(context, "ring", shown.px(found.position_m[0]), shown.py(found.position_m[1]), colour("orange"));
        }
      }
      for (const target of targets) {
        if (target.truth_m) symbol(context, "cross", shown.px(target.truth_m[0]), shown.py(target.truth_m[1]), colour("green"));
        const track = target.track.estimate_m;
        if (track) symbol(context, "dot", shown.px(track[0]), shown.py(track[1]), colour("blue"));
        const place = target.truth_m ?? target.estimate_m;
        if (place) name(target.id, place);
      }
    });
    legend(plot, [
      { name: "w_c, pictures", tone: "blue", mark: "line" }, { name: "w_0, sensing", tone: "pink", mark: "dashed" },
      { name: "found", tone: "orange", mark: "ring" }, { name: "true", tone: "green", mark: "cross" },
      { name: "rival", tone: "pink", mark: "plus" }, { name: "track", tone: "blue", mark: "dot" },
    ], shown.box);
    const line0 = targets.map((target) => {
      const place = (point) => (point ? `(${point[0].toFixed(3)}, ${point[1].toFixed(3)}) m` : "nowhere");
      return `${target.id}: found at ${place(target.estimate_m)}${target.truth_m ? `, truly at ${place(target.truth_m)}` : ""}`;
    });
    facts.plan = `frame ${status.frame ?? "—"}; ${line0.join("; ") || "no sensing receiver here"}; beams 30 dB deep`;
  },

  errors(canvas) {
    const [node, latest] = Object.entries(model.latest)[0] ?? [];
    if (!latest) return;
    const receiver = model.status?.receivers.find((one) => one.id === node);
    const target = receiver?.targets?.[0];
    const centre = target?.truth_m ?? target?.estimate_m ?? latest.detections[0]?.position_m;
    if (!centre) return;
    const bounds = model.views.beams?.[""]?.facts.bounds ?? [];
    const bound = bounds.find((one) => one.node === node && one.id === target.id);
    const found = latest.detections[0];
    const near = (place) => Math.hypot(place[0] - centre[0], place[1] - centre[1]);
    const widest = (covariance) => 2 * Math.sqrt(Math.max(covariance[0][0], covariance[1][1]));
    const sizes = [bound, found].filter(Boolean).map((one) => widest(one.covariance_m2));
    const reach = 1.5 * Math.max(...sizes, 1e-4);
    const unit = reach < 0.5 ? { factor: 1e3, name: "mm" } : { factor: 1, name: "m" };
    const plot = begin(canvas), { context } = plot, limit = reach * unit.factor;
    const labels = { x: `x − ${centre[0].toFixed(2)} m, ${unit.name}`, y: `y − ${centre[1].toFixed(2)} m, ${unit.name}` };
    const shown = axes(plot, [-limit, limit], [-limit, limit], labels, true);
    const local = (place) => [(place[0] - centre[0]) * unit.factor, (place[1] - centre[1]) * unit.factor];
    let outside = 0;
    inside(context, shown.box, () => {
      for (const place of model.positions[node] ?? []) {
        if (near(place) > 2 * reach) outside++;
        const [x, y] = local(place);
        context.fillStyle = colour("blue");
        context.globalAlpha = 0.5;
        dot(context, shown.px(x), shown.py(y));
      }
      context.globalAlpha = 1;
      const scaled = (covariance) => covariance.map((line) => line.map((value) => value * unit.factor ** 2));
      context.lineWidth = 2;
      if (bound) {
        context.strokeStyle = colour("green");
        ellipse(context, shown, local(bound.position_m), scaled(bound.covariance_m2), 2);
      }
      if (found) {
        context.strokeStyle = colour("orange");
        context.setLineDash([6, 4]);
        ellipse(context, shown, local(found.position_m), scaled(found.covariance_m2), 2);
        context.setLineDash([]);
        symbol(context, "ring", shown.px(local(found.position_m)[0]), shown.py(local(found.position_m)[1]), colour("orange"), 4);
      }
      if (target?.truth_m) symbol(context, "cross", shown.px(0), shown.py(0), colour("green"));
    });
    legend(plot, [
      { name: "bound, 2 deviations", tone: "green", mark: "line" }, { name: "reported, 2 deviations", tone: "orange", mark: "dashed" },
      { name: "found", tone: "blue", mark: "dot" },
    ], shown.box);
    const refused = latest.refused ? `; refused: ${latest.refused}` : "";
    facts.errors = `${node}, ${target?.id ?? ""}, frame ${latest.frame}: ${(model.positions[node] ?? []).length} ` +
      `positions, ${outside} far outside${refused}`;
  },

  sinr(canvas) {
    const x = model.history.map((one) => one.frame), of = (key) => model.history.map((one) => one[key]);
    lines(canvas, [
      { x, y: of("measured"), tone: "blue", mark: "line", name: "measured" },
      { x, y: of("predicted"), tone: "orange", mark: "dashed", name: "predicted" },
    ], { x: "frame", y: "SINR, dB" }, { span: 1 });
  },

  losses(canvas) {
    const x = model.history.map((one) => one.frame), y = model.history.map((one) => one.lost);
    lines(canvas, [{ x, y, tone: "pink", mark: "line", name: "blocks lost" }], { x: "frame", y: "%" }, { least: 0, span: 5 });
  },

  distortion(canvas) {
    const x = model.history.map((one) => one.frame), of = (key) => model.history.map((one) => one[key]);
    lines(canvas, [
      { x, y: of("psnr"), tone: "blue", mark: "line", name: "last picture" },
      { x, y: of("promised"), tone: "orange", mark: "dashed", name: "predicted mean" },
    ], { x: "frame", y: "PSNR, dB" }, { span: 2 });
  },
};

const visible = new Set(), stale = new Set();
// What each thing that comes changes; a status, what is drawn of it.
const OF_STATUS = ["plan", "errors", "sinr", "losses", "distortion"];
const BY_TOPIC = { constellation: ["constellation"], spectrum: ["spectrum", "waterfall"], map: ["map"], beams: ["plan", "errors"] };
// What is seen to move is drawn as it comes; the rest, and numbers, as often as an eye takes them in.
const SLOW_MS = 120, READING_MS = 400;
// Part of the time that drawing may take of this thread; the browser's others take as much again. What comes meanwhile is drawn
// with the next: ten times a second and more where no graphics card helps.
const DRAWING = 0.06;
const drawn = new MessageChannel();
let planned = false, restUntil = 0, began = 0, slowAt = 0, writtenAt = 0, last = null;

// It is told after the browser has painted.
drawn.port1.onmessage = () => {
  const now = performance.now();
  restUntil = now + (now - began) * (1 / DRAWING - 1);
};

function dirty(...names) {
  for (const name of names) stale.add(name);
  if (planned) return;
  planned = true;
  const rest = restUntil - performance.now();
  if (rest > 0) setTimeout(() => requestAnimationFrame(draw), rest);
  else requestAnimationFrame(draw);
}

function draw() {
  planned = false;
  began = performance.now();
  const slow = began - slowAt >= SLOW_MS, writes = began - writtenAt >= READING_MS;
  for (const name of [...stale]) {
    if (!visible.has(name) || (!slow && OF_STATUS.includes(name))) continue;
    stale.delete(name);
    drawings[name]($(name));
    model.draws[name] = (model.draws[name] ?? 0) + 1;
  }
  if (slow) slowAt = began;
  if (writes) {
    writtenAt = began;
    showFigures();
    for (const [name, text] of Object.entries(facts)) write($(`${name}-facts`), text);
  }
  // What was left out is done when nothing more comes.
  clearTimeout(last);
  if (!writes || !slow) last = setTimeout(dirty, READING_MS);
  drawn.port2.postMessage(null);
}

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) isIntersecting ? visible.add(target.id) : visible.delete(target.id);
  dirty();
});
const sizes = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) resize(target, contentRect.width, contentRect.height);
  dirty(...Object.keys(drawings));
});
for (const name of Object.keys(drawings)) watcher.observe($(name)), sizes.observe($(name));

function offerNodes() {
  const nodes = Object.keys(model.views.spectrum ?? {}), pick = $("spectrum-node");
  if (pick.options.length === nodes.length) return;
  const chosen = pick.value;
  pick.replaceChildren(...nodes.map((node) => new Option(node, node, false, node === chosen)));
}
$("spectrum-node").addEventListener("change", () => dirty("spectrum", "waterfall"));

// ---- changing things ----------------------------------------------------------------------------------------------

// Every live key; those of a target once for each target, where there are several.
function liveKeys() {
  const several = model.about.targets.length > 1;
  return model.keys.filter((key) => key.live).flatMap((key) => {
    if (!key.path.includes("ID")) return several && key.path !== "weights" && /^(world\.)?(target|reflection)/.test(key.path.replace("world.", "")) ? [] : [key];
    if (!several) return [];
    return model.about.targets.map((target) => {
      const path = key.path.replace("ID", target.id);
      const start = key.path.endsWith("reflection.ID") ? target.reflection_coefficient : target.position_m;
      return { ...key, path, value: key.value ?? start };
    });
  });
}

function offerControls() {
  $("live").replaceChildren(...liveKeys().map((key) => {
    const form = document.createElement("form");
    form.className = "live";
    form.dataset.path = key.path;
    form.noValidate = true;
    const point = key.path.includes("target"), file = key.path === "weights";
    const id = (suffix) => `key-${key.path.replaceAll(".", "-")}${suffix}`;
    const range = Array.isArray(key.range) ? `${short(key.range[0])} to ${short(key.range[1])}` : key.range;
    const title = document.createElement("div");
    title.innerHTML = "<span class=name></span><small></small>";
    title.firstChild.textContent = key.path;
    title.lastChild.textContent = `${key.doc} ${file ? "A JSON file, w_c and w_0 in √W." : `Accepted: ${range} ${key.unit}`}`;
    title.lastChild.id = id("-doc");
    const fields = document.createElement("div");
    fields.className = "fields";
    const field = (suffix, label, type, value) => {
      const input = document.createElement("input");
      Object.assign(input, { id: id(suffix), type });
      if (type === "text") input.inputMode = "decimal", input.value = value ?? "", input.autocomplete = "off";
      if (type === "file") input.accept = ".json,application/json";
      input.setAttribute("aria-label", `${key.path}${label}${key.unit ? `, ${key.unit}` : ""}`);
      input.setAttribute("aria-describedby", id("-doc"));
      fields.append(input);
      return input;
    };
    const inputs = file ? [field("", "", "file")]
      : point ? [field("-x", " x", "text", key.value?.[0]), field("-y", " y", "text", key.value?.[1])]
      : [field("", "", "text", key.value)];
    const button = (text, submit) => {
      const element = document.createElement("button");
      Object.assign(element, { textContent: text, type: submit ? "submit" : "button" });
      element.setAttribute("aria-label", `${text} ${key.path}`);
      fields.append(element);
      return element;
    };
    button("Set", true);
    if (file) button("Auto").addEventListener("click", () => command("weights=auto", said));
    const said = document.createElement("p");
    said.className = "said";
    said.setAttribute("role", "status");
    form.append(title, fields, said);
    if (file) {
      fields.addEventListener("dragover", (event) => event.preventDefault());
      fields.addEventListener("drop", async (event) => {
        event.preventDefault();
        const dropped = event.dataTransfer.files[0];
        if (dropped) command(`weights=${await dropped.text()}`, said);
      });
    }
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (file && !inputs[0].files.length) return say(said, "bad", "weights: no file chosen; accepted: a JSON file with w_c and w_0");
      const value = file ? await inputs[0].files[0].text()
        : point ? `[${inputs.map((input) => input.value.trim()).join(",")}]` : inputs[0].value.trim();
      command(`${key.path}=${value}`, said);
    });
    return form;
  }));
}

function say(where, kind, text) {
  where.className = `${where.classList[0]} ${kind}`;
  where.textContent = text;
}

async function command(text, said) {
  const at = $("at-frame").value.trim();
  say(said, "", "…");
  try {
    const response = await request(API + "commands", "POST", { command: text, at_frame: at === "" ? null : Number(at) });
    const answer = await response.json();
    const key = text.split("=")[0];
    if (!response.ok) return say(said, "bad", answer.error ?? "refused");
    const feasible = answer.feasible === null ? "noted; that frame will tell whether it can be met"
      : answer.feasible ? "feasible" : "not feasible: best effort";
    say(said, "good", `${key} from frame ${answer.frame} on (${feasible})`);
    model.lastAnswer = answer;
    showChanges().catch(() => {});
  } catch (error) {
    say(said, "bad", String(error.message));
  }
}

function offerKeys() {
  const later = model.keys.filter((key) => !key.live && (key.path.startsWith("scene.") || /^(frames|follow_frames|hold_beams|serves|link_frames)$/.test(key.path)));
  $("later-keys").replaceChildren(...later.map((key) => new Option(key.doc, key.path)));
  $("later-list").replaceChildren(...later.filter((key) => key.next !== null).map((key) => {
    const item = document.createElement("li");
    item.textContent = `${key.path} = ${JSON.stringify(key.next)}`;
    return item;
  }));
}

$("later-key").addEventListener("input", () => {
  const key = model.keys.find((one) => one.path === $("later-key").value);
  const range = key && (Array.isArray(key.range) ? key.range.join(" to ") : key.range);
  $("later-doc").textContent = key ? `${key.doc} Accepted: ${range} ${key.unit}` : "";
});

$("later").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [path, text] = [$("later-key").value.trim(), $("later-value").value.trim()];
  let value = text;
  try { value = JSON.parse(text); } catch { /* it is a text */ }
  try {
    const response = await request(API + "keys", "PATCH", { [path]: value });
    const answer = await response.json();
    if (!response.ok) return say($("later-answer"), "bad", answer.error);
    say($("later-answer"), "good", `${path} = ${text} at the next start`);
    model.keys = await get(API + "keys");
    offerKeys();
  } catch (error) {
    say($("later-answer"), "bad", String(error.message));
  }
});

async function act(path) {
  $("notice").hidden = true;
  try {
    const response = await request(API + path, "POST");
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    if (path === "run/start") model.status = null, await learn(), running("running");
    else running("stopping");
  } catch (error) {
    $("notice").textContent = error.message;
    $("notice").hidden = false;
  }
}
$("start").addEventListener("click", () => act("run/start"));
$("stop").addEventListener("click", () => act("run/stop"));
$("rate").addEventListener("change", connect);

// ---- colours ------------------------------------------------------------------------------------------------------

const system = matchMedia("(prefers-color-scheme: dark)");
function theme() {
  const dark = $("theme").value ? $("theme").value === "dark" : system.matches;
  document.documentElement.toggleAttribute("data-dark", dark);
  readColours();
  dirty(...Object.keys(drawings));
}
$("theme").value = localStorage.getItem("issc-theme") || "";
$("theme").addEventListener("change", () => { localStorage.setItem("issc-theme", $("theme").value); theme(); });
system.addEventListener("change", theme);
theme();
connect();
