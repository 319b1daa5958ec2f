// The profile: HU of every volume along a line of the active plane.

const LINE_COLOURS = ["#e6e8ea", "#4ea1ea", "#f2885b", "#7ccf7a", "#c58af0", "#f2c14e", "#5cd6d0"];
const MARGIN = { left: 52, right: 12, top: 6, bottom: 20 };
const UNIT_ROOM = 40; // pixels at the right end of the axis that its unit takes
const SAMPLES_PER_VOXEL = 2;

// The line that is shown: the one drawn by hand, else the row through the point.
function profileLine(viewer) {
  const { state, planes } = viewer;
  if (state.line) return { ...state.line, plane: planes[state.line.plane], byHand: true };
  const plane = planes[state.active];
  const [, v] = plane.toPicture(state.voxel);
  return { plane, from: [0, v], to: [plane.columns - 1, v], byHand: false };
}

// The samples of a line: distance in mm, and [u, v].
function profilePoints({ plane, from, to, byHand }) {
  const [du, dv] = [to[0] - from[0], to[1] - from[1]];
  const voxels = Math.max(Math.abs(du), Math.abs(dv));
  const count = Math.max(2, Math.round(voxels * (byHand ? SAMPLES_PER_VOXEL : 1)) + 1);
  const lengthMm = Math.hypot(du * plane.columnMm, dv * plane.rowMm);
  return Array.from({ length: count }, (_, i) => {
    const share = i / (count - 1);
    return { mm: share * lengthMm, u: from[0] + share * du, v: from[1] + share * dv };
  });
}

// What is seen between the centres of voxels, linear along both axes; null outside.
function sample(volume, plane, state, u, v) {
  const [u0, v0] = [Math.floor(u), Math.floor(v)];
  let sum = 0;
  for (const [du, dv] of [[0, 0], [1, 0], [0, 1], [1, 1]]) {
    const weight = (du ? u - u0 : 1 - (u - u0)) * (dv ? v - v0 : 1 - (v - v0));
    if (weight === 0) continue;
    const hu = seenAt(plane, volume, plane.toVoxel(u0 + du, v0 + dv, state.voxel), state);
    if (hu === null) return null;
    sum += weight * hu;
  }
  return sum;
}

// Round steps of about `target` parts of a range.
function ticks(low, high, target) {
  const rough = (high - low) / target;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((s) => s * power >= rough);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) found.push(t);
  return found;
}

function drawProfile(viewer, section) {
  const { state, volumes } = viewer;
  section.hidden = !state.profile;
  if (section.hidden) return;
  const line = profileLine(viewer);
  const points = profilePoints(line);
  const curves = volumes.map(
    (volume) => points.map((p) => sample(volume, line.plane, state, p.u, p.v)));
  const all = curves.flat().filter((hu) => hu !== null);
  writeProfileHead(section.firstElementChild, viewer, line, points);
  const canvas = section.lastElementChild;
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  if (!all.length || width < 100 || height < 50) return;
  const lengthMm = Math.max(points[points.length - 1].mm, 1e-3);
  let [low, high] = [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))];
  const least = viewer.facts.unit === "HU" ? 50 : 4;
  if (high - low < least) [low, high] = [low - least / 2, high + least / 2];
  const x = (mm) => MARGIN.left + (mm / lengthMm) * (width - MARGIN.left - MARGIN.right);
  const y = (hu) => height - MARGIN.bottom
    - ((hu - low) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  drawAxes(context, viewer.facts, { x, y, low, high, lengthMm, width, height });
  if (!line.byHand) drawPointMark(context, viewer, line, x, height);
  curves.forEach((curve, i) => drawCurve(context, curve, points, x, y, LINE_COLOURS[i % LINE_COLOURS.length]));
}

function drawAxes(context, facts, { x, y, low, high, lengthMm, width, height }) {
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = "#98a1aa";
  context.strokeStyle = "#262b31";
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const values = ticks(low * facts.step, high * facts.step, Math.max(2, height / 32));
  for (const value of values) {
    const hu = value / facts.step;
    context.beginPath();
    context.moveTo(MARGIN.left, y(hu));
    context.lineTo(width - MARGIN.right, y(hu));
    context.stroke();
    context.fillText(`${Number(value.toPrecision(6))}`, MARGIN.left - 6, y(hu));
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const mm of ticks(0, lengthMm, Math.max(2, width / 110))) {
    if (x(mm) > width - UNIT_ROOM) continue;
    context.fillText(`${Number(mm.toPrecision(4))}`, x(mm), height - MARGIN.bottom + 5);
  }
  context.textAlign = "right";
  context.fillText("mm", width - 2, height - MARGIN.bottom + 5);
  context.textAlign = "left";
  context.fillText(facts.unit, 4, MARGIN.top);
}

function drawPointMark(context, viewer, line, x, height) {
  const [u] = line.plane.toPicture(viewer.state.voxel);
  context.strokeStyle = "rgb(242 193 78 / 60%)";
  context.beginPath();
  context.moveTo(x(u * line.plane.columnMm), MARGIN.top);
  context.lineTo(x(u * line.plane.columnMm), height - MARGIN.bottom);
  context.stroke();
}

function drawCurve(context, curve, points, x, y, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.beginPath();
  let pen = false;
  curve.forEach((hu, i) => {
    if (hu !== null) context[pen ? "lineTo" : "moveTo"](x(points[i].mm), y(hu));
    pen = hu !== null;
  });
  context.stroke();
}

function writeProfileHead(head, viewer, line, points) {
  const length = points[points.length - 1].mm;
  const title = document.createElement("span");
  title.textContent = line.byHand
    ? `Profile along the line, ${length.toFixed(0)} mm, ${line.plane.name}`
    : `Profile along the row through the point, ${line.plane.name}`;
  const names = viewer.volumes.map((volume, i) => {
    const name = document.createElement("b");
    name.style.color = LINE_COLOURS[i % LINE_COLOURS.length];
    name.textContent = volume.name;
    return name;
  });
  head.replaceChildren(title, ...names);
}
