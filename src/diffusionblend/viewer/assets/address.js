// The state of the page in its address, after #, so that reloading, bookmarks and links keep it.

const REMEMBER_MS = 250;
const SHARED = { // name in the address, of the state, and how it is read
  plane: ["active", "plane"], layout: ["layout", "layout"], tool: ["tool", "tool"],
  colours: ["colours", "colours"], slab: ["slabMm", "number"], projection: ["projection", "projection"],
  invert: ["invert", "switch"], difference: ["difference", "switch"], sd: ["deviation", "switch"],
  band: ["band", "switch"],
  profile: ["profile", "switch"], cross: ["cross", "switch"], smooth: ["smooth", "switch"],
};

// The state as text: only what differs from the first view.
function writeAddress(viewer) {
  const { state, first } = viewer;
  const parts = new URLSearchParams();
  const add = (name, value, before) => { if (String(value) !== String(before)) parts.set(name, value); };
  add("voxel", state.voxel.join(","), first.voxel.join(","));
  add("window", `${state.low},${state.high}`, `${first.low},${first.high}`);
  for (const [name, [key, kind]] of Object.entries(SHARED)) {
    const text = (value) => (kind === "switch" ? Number(value) : value);
    add(name, text(state[key]), text(first[key]));
  }
  for (const name of PLANE_NAMES) {
    const view = (s) => ["zoom", "u", "v"].map((k) => Number(s.views[name][k].toPrecision(6))).join(",");
    add(name, view(state), view(first));
  }
  for (const kind of ["line", "region"]) {
    const shape = state[kind];
    if (shape) {
      const ends = [...shape.from, ...shape.to].map((x) => Number(x.toPrecision(6)));
      parts.set(kind, [shape.plane, ...ends].join(","));
    }
  }
  return parts.toString().replaceAll("%2C", ",");
}

// Take what an address says of the state; what makes no sense, or is not for these volumes, is left.
function readAddress(viewer, text) {
  const { state } = viewer;
  const parts = new URLSearchParams(text);
  const numbers = (name, count) => {
    const found = (parts.get(name) || "").split(",").map((part) => (part === "" ? NaN : Number(part)));
    return found.length === count && found.every(Number.isFinite) ? found : null;
  };
  const choices = { plane: PLANE_NAMES, layout: ["all", ...PLANE_NAMES], tool: Object.values(TOOLS),
    colours: Object.keys(COLOUR_MAPS), projection: PROJECTIONS };
  const voxel = numbers("voxel", 3);
  if (voxel) state.voxel = voxel.map((at, axis) => clamp(Math.round(at), 0, viewer.facts.shape[axis] - 1));
  const window = numbers("window", 2);
  if (window) viewer.setWindow(...window);
  for (const [name, [key, kind]] of Object.entries(SHARED)) {
    const value = parts.get(name);
    if (value === null) continue;
    if (kind === "number") {
      if (numbers(name, 1)) viewer.setSlab(Number(value), state.projection);
    } else if (kind === "switch") {
      if (["0", "1"].includes(value) && Boolean(state[key]) !== (value === "1")) viewer.flip(key);
    } else if (choices[kind].includes(value)) state[key] = value;
  }
  for (const name of PLANE_NAMES) {
    const view = numbers(name, 3);
    if (view) Object.assign(state.views[name], { zoom: view[0], u: view[1], v: view[2] });
    viewer.keepInSight(viewer.planes[name]);
  }
  for (const kind of ["line", "region"]) {
    const [plane, ...rest] = (parts.get(kind) || "").split(",");
    const ends = rest.map(Number);
    if (PLANE_NAMES.includes(plane) && ends.length === 4 && ends.every(Number.isFinite)) {
      state[kind] = { plane, from: ends.slice(0, 2), to: ends.slice(2) };
    }
  }
  viewer.colour();
}

// Put the state into the address, once it has been still for a moment. A cell of a notebook has none.
function remember(viewer) {
  if (!/^(https?|file):$/.test(window.location.protocol)) return;
  clearTimeout(viewer.remembering);
  viewer.remembering = setTimeout(() => {
    window.history.replaceState(null, "", `#${writeAddress(viewer)}`);
  }, REMEMBER_MS);
}
