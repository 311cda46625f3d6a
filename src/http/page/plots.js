// Drawings on canvas: lines, scatter, heat, the plan view. Lengths are CSS pixels; colours are those of the page.

let palette = {};

export function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["panel", "line", "text", "soft", "blue", "orange", "green", "pink", "grid"]) {
    palette[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

// Sizes are told, as asking for them would lay the page out anew.
const given = new WeakMap();
export function resize(canvas, width, height) {
  given.set(canvas, [width, height]);
}

// The canvas in its present size, empty.
export function begin(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = given.get(canvas) ?? [canvas.clientWidth, canvas.clientHeight];
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  context.lineJoin = "round";
  return { context, width, height };
}

export const colour = (name) => palette[name];

// Round numbers between two ends.
export function ticks(least, most, count) {
  const raw = (most - least) / Math.max(count, 1);
  if (!(raw > 0) || !isFinite(raw)) return [];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const first = Math.ceil(least / step) * step, found = [];
  for (let k = 0; k < 50 && first + k * step <= most + step * 1e-6; k++) found.push(first + k * step);
  return found.map((value) => (Math.abs(value) < step * 1e-6 ? 0 : value));
}

export const short = (value) => {
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return value.toExponential(1);
  return String(+value.toPrecision(6));
};

// A frame of axes: x and y are [least, most]; gives functions to pixels.
export function axes(plot, x, y, labels, equal = false) {
  const { context, width, height } = plot;
  const box = { left: 50, right: width - 10, top: labels.title ? 20 : 8, bottom: height - 34 };
  if (equal) {
    // The same scale on both: the shorter range is widened.
    const scale = Math.min((box.right - box.left) / (x[1] - x[0]), (box.bottom - box.top) / (y[1] - y[0]));
    const widen = (range, pixels) => {
      const middle = (range[0] + range[1]) / 2, half = pixels / scale / 2;
      return [middle - half, middle + half];
    };
    x = widen(x, box.right - box.left);
    y = widen(y, box.bottom - box.top);
  }
  const px = (value) => box.left + ((value - x[0]) / (x[1] - x[0])) * (box.right - box.left);
  const py = (value) => box.bottom - ((value - y[0]) / (y[1] - y[0])) * (box.bottom - box.top);
  context.strokeStyle = palette.grid;
  context.fillStyle = palette.soft;
  context.lineWidth = 1;
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const value of ticks(x[0], x[1], Math.max(2, Math.floor((box.right - box.left) / 75)))) {
    line(context, [[px(value), box.top], [px(value), box.bottom]]);
    context.fillText(short(value), px(value), box.bottom + 3);
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of ticks(y[0], y[1], Math.max(2, Math.floor((box.bottom - box.top) / 30)))) {
    line(context, [[box.left, py(value)], [box.right, py(value)]]);
    context.fillText(short(value), box.left - 4, py(value));
  }
  context.textAlign = "center";
  context.textBaseline = "bottom";
  context.fillText(labels.x, (box.left + box.right) / 2, height - 1);
  context.save();
  context.translate(11, (box.top + box.bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.textBaseline = "middle";
  context.fillText(labels.y, 0, 0);
  context.restore();
  if (labels.title) {
    context.textAlign = "left";
    context.textBaseline = "top";
    context.fillText(labels.title, box.left, 2);
  }
  return { px, py, box, x, y };
}

export function line(context, points) {
  context.beginPath();
  points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

// Everything drawn by `draw` stays inside a box.
export function inside(context, box, draw) {
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
  context.clip();
  draw();
  context.restore();
}

// Names of what is drawn, with a sample of each, in one line above or inside.
export function legend(plot, entries, box) {
  const { context } = plot;
  let x = box.left + 6;
  let y = box.top + 9;
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const { name, tone, mark } of entries) {
    const wide = context.measureText(name).width + 32;
    if (x + wide > box.right && x > box.left + 6) [x, y] = [box.left + 6, y + 16];
    context.fillStyle = palette.panel;
    context.globalAlpha = 0.8;
    context.fillRect(x - 3, y - 8, wide - 4, 16);
    context.globalAlpha = 1;
    symbol(context, mark, x + 8, y, palette[tone]);
    context.fillStyle = palette.text;
    context.fillText(name, x + 20, y);
    x += wide;
  }
}

// One of many points: on whole pixels, where a square costs a tenth of what it costs between them.
export function dot(context, x, y) {
  context.fillRect(Math.round(x) - 1, Math.round(y) - 1, 2, 2);
}

// A mark: what it is can be told by its shape as well as by its colour.
export function symbol(context, mark, x, y, tone, size = 5) {
  context.strokeStyle = context.fillStyle = tone;
  context.lineWidth = 2;
  context.setLineDash(mark === "dashed" ? [4, 3] : mark === "dotted" ? [2, 2] : []);
  if (["line", "dashed", "dotted"].includes(mark)) line(context, [[x - 7, y], [x + 7, y]]);
  context.setLineDash([]);
  context.beginPath();
  if (mark === "dot") context.arc(x, y, 2, 0, 7), context.fill();
  if (mark === "ring") context.arc(x, y, size + 1, 0, 7), context.stroke();
  if (mark === "square") context.fillRect(x - size, y - size, 2 * size, 2 * size);
  if (mark === "triangle") {
    context.moveTo(x, y - size - 1);
    context.lineTo(x + size, y + size - 1);
    context.lineTo(x - size, y + size - 1);
    context.closePath();
    context.fill();
  }
  if (mark === "cross") {
    line(context, [[x - size, y - size], [x + size, y + size]]);
    line(context, [[x - size, y + size], [x + size, y - size]]);
  }
  if (mark === "plus") {
    line(context, [[x - size, y], [x + size, y]]);
    line(context, [[x, y - size], [x, y + size]]);
  }
}

// Lines over a common x; each: {x, y, tone, mark, name}. Gaps where a value is null.
export function lines(canvas, series, labels, range = {}) {
  const plot = begin(canvas);
  const all = series.flatMap((one) => one.y).filter((value) => value !== null && isFinite(value));
  const xs = series.flatMap((one) => (one.x.length ? [one.x[0], one.x[one.x.length - 1]] : []));
  let least = range.least ?? Math.min(...all), most = range.most ?? Math.max(...all);
  if (!all.length) [least, most] = [range.least ?? 0, range.most ?? 1];
  if (most - least < (range.span ?? 1e-9)) {
    const middle = (least + most) / 2, half = (range.span ?? 1) / 2;
    [least, most] = range.least !== undefined ? [least, least + 2 * half] : [middle - half, middle + half];
  }
  const room = (most - least) * 0.12;
  const x = xs.length ? [Math.min(...xs), Math.max(...xs)] : [0, 1];
  if (x[1] <= x[0]) x[1] = x[0] + 1;
  const shown = axes(plot, x, [range.least !== undefined ? least : least - room, most + room], { ...labels, title: " " });
  inside(plot.context, shown.box, () => {
    for (const { x, y, tone, mark } of series) {
      plot.context.strokeStyle = palette[tone];
      plot.context.lineWidth = 1.8;
      plot.context.setLineDash(mark === "dashed" ? [6, 4] : []);
      plot.context.beginPath();
      let open = false;
      for (let k = 0; k < x.length; k++) {
        if (y[k] === null) { open = false; continue; }
        open ? plot.context.lineTo(shown.px(x[k]), shown.py(y[k])) : plot.context.moveTo(shown.px(x[k]), shown.py(y[k]));
        open = true;
      }
      plot.context.stroke();
    }
    plot.context.setLineDash([]);
  });
  legend(plot, series.filter((one) => one.name), { ...shown.box, top: 0 });
}

// Viridis, in eleven stops: light means more, for every eye.
const STOPS = [
  [68, 1, 84], [72, 36, 117], [64, 67, 135], [52, 94, 141], [41, 120, 142], [32, 144, 140],
  [34, 167, 132], [68, 190, 112], [121, 209, 81], [189, 222, 38], [253, 231, 37],
];
const TABLE = new Uint32Array(256);
for (let k = 0; k < 256; k++) {
  const at = (k / 255) * (STOPS.length - 1), low = Math.min(Math.floor(at), STOPS.length - 2), part = at - low;
  const [r, g, b] = STOPS[low].map((value, index) => Math.round(value + part * (STOPS[low + 1][index] - value)));
  TABLE[k] = (255 << 24) | (b << 16) | (g << 8) | r;
}

// A picture of rows of numbers, the first row at the top.
const sheets = new WeakMap();
export function sheet(owner, values, columns, rows, least, most) {
  let kept = sheets.get(owner);
  if (!kept || kept.width !== columns || kept.height !== rows) {
    kept = document.createElement("canvas");
    [kept.width, kept.height] = [columns, rows];
    sheets.set(owner, kept);
  }
  const context = kept.getContext("2d");
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const scale = 255 / Math.max(most - least, 1e-9);
  for (let k = 0; k < pixels.length; k++) {
    pixels[k] = TABLE[Math.max(0, Math.min(255, Math.round((values[k] - least) * scale)))];
  }
  context.putImageData(image, 0, 0);
  return kept;
}

// What the colours of a heat mean, at the right above.
export function scale(plot, box, least, most, unit) {
  const { context } = plot;
  const width = 90, left = box.right - width;
  context.drawImage(sheet(TABLE, [...TABLE.keys()], TABLE.length, 1, 0, TABLE.length - 1), left, 4, width, 9);
  context.fillStyle = palette.soft;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.fillText(`${short(Math.round(least))} … ${short(Math.round(most))} ${unit}`, left - 6, 9);
}

// The ellipse of a covariance: so many deviations around a point.
export function ellipse(context, shown, centre, [[a, b], [, c]], deviations) {
  const half = (a + c) / 2, root = Math.hypot((a - c) / 2, b);
  const axes = [half + root, half - root].map((value) => Math.sqrt(Math.max(value, 0)) * deviations);
  const angle = 0.5 * Math.atan2(2 * b, a - c);
  const points = [];
  for (let k = 0; k <= 72; k++) {
    const t = (k / 72) * 2 * Math.PI;
    const [u, v] = [axes[0] * Math.cos(t), axes[1] * Math.sin(t)];
    const x = centre[0] + u * Math.cos(angle) - v * Math.sin(angle);
    const y = centre[1] + u * Math.sin(angle) + v * Math.cos(angle);
    points.push([shown.px(x), shown.py(y)]);
  }
  line(context, points);
}
