// The page: what is shown, the buttons and keys, the read-out.

const PLANE_NAMES = ["axial", "coronal", "sagittal"];
const TOOLS = { t: "point", w: "window", g: "pan", i: "line" };
const SWITCHES = { d: "difference", u: "deviation", p: "profile", x: "cross", s: "smooth" };
const EITHER_OR = { difference: "deviation", deviation: "difference" };
const OPACITY_STEPS = { "[": -0.1, "]": 0.1 };
const PAGE_SLICES = 10;
const KEY_ZOOM = 1.25;
const MIN_WIDTH_HU = 1;
const KEY_STEPS = 20;
const REDRAW_MS = 400; // while volumes arrive, so that drawing does not hold them up

class Viewer {
  constructor(facts) {
    this.facts = facts;
    this.volumes = facts.names.map((name) => new Volume(name, facts.shape, facts.empty));
    this.deviations = facts.deviations.map((of) => {
      this.volumes[of].deviation = new Volume(`± ${facts.names[of]}`, facts.shape, 0);
      return this.volumes[of].deviation;
    });
    this.reference = facts.reference === null ? null : this.volumes[facts.reference];
    this.planes = Object.fromEntries(PLANE_NAMES.map(
      (name) => [name, new Plane(name, facts.planes[name], facts.shape, facts.spacing_mm)]));
    this.parts = 0;
    this.greys = { version: 0, table: null };
    this.differenceColours = { version: 0, table: null };
    this.deviationColours = { version: 0, table: null };
    this.mouse = null;
    this.reset();
    this.panes = PLANE_NAMES.flatMap(
      (name) => this.volumes.map((volume) => new Pane(this, this.planes[name], volume)));
    this.main = document.getElementById("panes");
    this.connect();
    this.arrange();
  }

  // The first view: middle voxel, all planes, first window.
  reset() {
    const { facts } = this;
    this.state = {
      voxel: facts.shape.map((n) => n >> 1),
      layout: "all",
      active: "axial",
      tool: "point",
      difference: false,
      deviation: false,
      opacity: facts.deviation_opacity,
      profile: true,
      cross: true,
      smooth: true,
      line: null,
      limit: facts.difference_limit_hu,
      views: Object.fromEntries(PLANE_NAMES.map((name) => {
        const plane = this.planes[name];
        return [name, { zoom: 1, u: (plane.columns - 1) / 2, v: (plane.rows - 1) / 2 }];
      })),
    };
    this.setLimit(facts.difference_limit_hu);
    this.setDeviationLimit(facts.deviation_limit_hu);
    this.setWindow(...facts.windows[facts.first_window]);
  }

  setWindow(low, high) {
    this.state.low = Math.round(low);
    this.state.high = Math.max(this.state.low + MIN_WIDTH_HU, Math.round(high));
    this.greys = {
      version: this.greys.version + 1, table: greyTable(this.state.low, this.state.high) };
    this.update();
  }

  setLimit(limit) {
    this.state.limit = Math.max(MIN_WIDTH_HU, limit);
    this.differenceColours = {
      version: this.differenceColours.version + 1, table: differenceTable(this.state.limit) };
    this.update();
  }

  setDeviationLimit(limit) {
    this.state.deviationLimit = Math.max(MIN_WIDTH_HU, Math.round(limit) || 0);
    this.deviationColours = {
      version: this.deviationColours.version + 1,
      table: deviationTable(this.facts, this.state.deviationLimit),
    };
    this.update();
  }

  setOpacity(share) {
    this.state.opacity = Math.min(1, Math.max(0, share));
    this.update();
  }

  // Turn a switch; differences and deviations are not shown at once. False where it is of no use.
  flip(name) {
    if (name === "difference" && !this.reference) return false;
    if (name === "deviation" && !this.deviations.length) return false;
    this.state[name] = !this.state[name];
    if (this.state[name] && EITHER_OR[name]) this.state[EITHER_OR[name]] = false;
    return true;
  }

  // Shares by which a drag changes the width and the level; with differences shown, their range.
  dragWindow(wider, higher) {
    if (this.state.difference) {
      this.setLimit(this.state.limit * Math.exp(wider));
      return;
    }
    const width = Math.max(MIN_WIDTH_HU, (this.state.high - this.state.low) * Math.exp(wider));
    const level = (this.state.low + this.state.high) / 2 + higher * width;
    this.setWindow(level - width / 2, level + width / 2);
  }

  // Go on by so many slices: down, or to the right, is towards the end of the axis, but in an axial
  // plane towards the feet.
  scroll(plane, slices) {
    this.step(plane, plane.name === "axial" ? -slices : slices);
  }

  step(plane, slices) {
    const { voxel } = this.state;
    voxel[plane.axis] = Math.min(plane.slices - 1, Math.max(0, voxel[plane.axis] + slices));
    this.update();
  }

  // Keep where the mouse is, by an event; null where it has left the panes.
  hover(event) {
    this.mouse = event && { clientX: event.clientX, clientY: event.clientY };
    this.update(false);
  }

  toggleLayout(name) {
    this.state.layout = this.state.layout === name ? "all" : name;
    if (this.state.layout !== "all") this.state.active = name;
    this.arrange();
  }

  // Place the panes so that the pictures are as large as they can be.
  arrange() {
    const { layout } = this.state;
    const shown = this.panes.filter((p) => layout === "all" || p.plane.name === layout);
    const planes = layout === "all" ? PLANE_NAMES.map((n) => this.planes[n]) : [this.planes[layout]];
    const n = this.volumes.length;
    const heights = planes.map((p) => Math.max(p.heightMm, p.widthMm / 3));
    const widths = planes.map((p) => p.widthMm);
    const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
    const { clientWidth: width, clientHeight: height } = this.main;
    const planesDown = Math.min(width / (n * Math.max(...widths)), height / sum(heights));
    const planesAcross = Math.min(width / sum(widths), height / (n * Math.max(...heights)));
    const down = planesDown > planesAcross;
    const tracks = (sizes) => sizes.map((s) => `minmax(0, ${s}fr)`).join(" ");
    const each = Array(n).fill(1);
    this.main.style.gridTemplateRows = tracks(down ? heights : each);
    this.main.style.gridTemplateColumns = tracks(down ? each : widths);
    this.main.style.gridAutoFlow = down ? "row" : "column";
    this.main.replaceChildren(...shown.map((p) => p.element));
    this.update();
  }

  // Draw again before the next frame, once however often it is asked for; or only read out.
  update(pictures = true) {
    if (!this.panes) return;
    this.redraw ||= pictures;
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      const { redraw } = this;
      this.asked = this.redraw = false;
      this.writeReadout();
      if (!redraw) return;
      this.showState();
      for (const pane of this.panes) if (pane.element.isConnected) pane.draw();
      drawProfile(this, document.getElementById("profile"));
    });
  }

  showState() {
    const { state, facts } = this;
    const press = (selector, isOn) => document.querySelectorAll(selector).forEach(
      (button) => button.setAttribute("aria-pressed", String(Boolean(isOn(button.dataset)))));
    press("[data-tool]", (d) => d.tool === state.tool);
    press("[data-layout]", (d) => d.layout === state.layout);
    press("[data-switch]", (d) => state[d.switch]);
    press("[data-window]", (d) => {
      const [low, high] = facts.windows[d.window];
      return low === state.low && high === state.high;
    });
    for (const end of ["low", "high"]) {
      const field = document.getElementById(end);
      if (field !== document.activeElement) field.value = this.number(state[end]);
    }
    const profile = document.getElementById("profile");
    if (profile.hidden === state.profile) { // the panes' room changes
      profile.hidden = !state.profile;
      this.arrange();
    }
    document.getElementById("scale").hidden = !(state.difference && this.reference);
    const limit = this.number(Math.round(state.limit));
    document.getElementById("scale-ends").textContent = `−${limit} to +${limit} ${facts.unit}`;
    const key = document.getElementById("deviation");
    key.hidden = !state.deviation;
    key.querySelector("i").style.opacity = state.opacity;
    for (const [id, value] of [["deviation-limit", this.number(state.deviationLimit)],
      ["opacity", Math.round(100 * state.opacity)]]) {
      const field = document.getElementById(id);
      if (field !== document.activeElement) field.value = value;
    }
  }

  // A number of steps in the volumes' unit, as text.
  number(steps) {
    return (steps * this.facts.step).toFixed(this.facts.digits);
  }

  // The voxel that is seen under the mouse now, whatever has moved: the slice, the picture, the
  // planes. Null where the mouse is beside the pictures.
  voxelUnderMouse() {
    if (!this.mouse) return null;
    const seen = document.elementFromPoint(this.mouse.clientX, this.mouse.clientY);
    const element = seen && seen.closest(".pane");
    const pane = this.panes.find((p) => p.element === element);
    return pane ? pane.voxelUnder(this.mouse) : null;
  }

  // The voxel under the mouse, else the point: its indices, its place, the value of every volume.
  writeReadout() {
    const voxel = this.voxelUnderMouse() || this.state.voxel;
    const reference = this.reference && this.reference.at(voxel);
    const parts = this.volumes.map((volume) => {
      const hu = volume.at(voxel);
      const part = document.createElement("span");
      const number = document.createElement("b");
      number.textContent = hu === null ? "…" : `${this.number(hu)} ${this.facts.unit}`;
      part.append(`${volume.name} `, number);
      const spread = volume.deviation && hu !== null ? volume.deviation.at(voxel) : null;
      if (spread !== null) part.append(` ± ${this.number(spread)}`);
      part.dataset.deviation = spread === null ? "" : spread;
      if (reference !== null && volume !== this.reference && hu !== null) {
        const difference = hu - reference;
        part.append(` (${difference < 0 ? "−" : "+"}${this.number(Math.abs(difference))})`);
      }
      part.dataset.hu = hu === null ? "" : hu;
      return part;
    });
    const place = document.createElement("span");
    place.className = "faint";
    place.textContent = `z ${voxel[0]}  y ${voxel[1]}  x ${voxel[2]}  ·  ${patientPlace(this.facts, voxel)} mm`;
    const readout = document.getElementById("readout");
    readout.dataset.voxel = voxel.join(" ");
    readout.replaceChildren(place, ...parts);
  }

  connect() {
    const click = (selector, act) => document.querySelectorAll(selector).forEach(
      (button) => button.addEventListener("click", () => { act(button.dataset); this.update(); }));
    click("[data-window]", (d) => this.setWindow(...this.facts.windows[d.window]));
    click("[data-tool]", (d) => { this.state.tool = d.tool; });
    click("[data-switch]", (d) => this.flip(d.switch));
    click("[data-layout]", (d) => {
      this.state.layout = d.layout;
      if (d.layout !== "all") this.state.active = d.layout;
      this.arrange();
    });
    click("#reset", () => { this.reset(); this.arrange(); });
    click("#help-button", () => document.getElementById("help").showModal());
    for (const end of ["low", "high"]) {
      document.getElementById(end).addEventListener("change", (event) => {
        const hu = Number(event.target.value) / this.facts.step;
        if (end === "low") this.setWindow(Math.min(hu, this.state.high - MIN_WIDTH_HU), this.state.high);
        else this.setWindow(this.state.low, hu);
      });
    }
    this.connectDeviation();
    document.getElementById("scale").firstElementChild.style.background = `linear-gradient(to right, ${
      DIFFERENCE_COLOURS.map((c) => `rgb(${c.join(" ")})`).join(", ")})`;
    document.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.arrange()).observe(this.main);
  }

  // The overlay's key: its colours, the standard deviation of the last one, its opacity.
  connectDeviation() {
    const shares = Array.from({ length: KEY_STEPS + 1 }, (_, i) => i / KEY_STEPS);
    const stops = shares.map((share) => {
      const [r, g, b, a] = deviationColour(this.facts, share);
      return `rgb(${r} ${g} ${b} / ${a / 255})`;
    });
    document.querySelector("#deviation i").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    document.getElementById("deviation-limit").addEventListener(
      "change", (event) => this.setDeviationLimit(Number(event.target.value) / this.facts.step));
    const opacity = document.getElementById("opacity");
    opacity.addEventListener("input", () => this.setOpacity(opacity.value / 100));
    opacity.addEventListener("change", () => opacity.blur());
  }

  key(event) {
    const help = document.getElementById("help");
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT") return;
    if (help.open) {
      if (event.key === "?") help.close();
      return;
    }
    if (this.act(event.key, this.planes[this.state.active], help)) {
      event.preventDefault();
      this.update();
    }
  }

  // Do what a key stands for; false where it stands for nothing.
  act(key, plane, help) {
    const onward = { ArrowUp: -1, ArrowDown: 1, PageUp: -PAGE_SLICES, PageDown: PAGE_SLICES };
    const along = { ArrowLeft: -1, ArrowRight: 1, Home: -plane.slices, End: plane.slices };
    const window = Object.keys(this.facts.windows).find((name) => name[0] === key);
    const pane = this.panes.find((p) => p.plane === plane);
    const centre = [this.state.views[plane.name].u, this.state.views[plane.name].v];
    if (key in onward) this.scroll(plane, onward[key]);
    else if (key in along) this.step(plane, along[key]);
    else if (window) this.setWindow(...this.facts.windows[window]);
    else if (key in TOOLS) this.state.tool = TOOLS[key];
    else if (key in SWITCHES) return this.flip(SWITCHES[key]);
    else if (key in OPACITY_STEPS && this.state.deviation) {
      this.setOpacity(this.state.opacity + OPACITY_STEPS[key]);
    }
    else if (key === "+" || key === "=") pane.zoom(KEY_ZOOM, centre);
    else if (key === "-") pane.zoom(1 / KEY_ZOOM, centre);
    else if (key === "0") { this.state.layout = "all"; this.arrange(); }
    else if (["1", "2", "3"].includes(key)) this.toggleLayout(PLANE_NAMES[Number(key) - 1]);
    else if (key === "r") { this.reset(); this.arrange(); }
    else if (key === "Escape") this.state.line = null;
    else if (key === "?") help.showModal();
    else return false;
    return true;
  }
}

function notice(text) {
  const line = document.createElement("p");
  line.textContent = text;
  document.getElementById("notices").append(line);
}

async function start() {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  facts.notices.forEach(notice);
  const viewer = new Viewer(facts);
  const progress = document.getElementById("progress");
  let drawn = 0;
  const onPart = (share) => {
    progress.value = share;
    if (drawn && share < 1 && performance.now() - drawn < REDRAW_MS) return;
    drawn = performance.now();
    viewer.parts += 1;
    viewer.update();
  };
  const blobs = [...document.querySelectorAll("script.volume")];
  try {
    const all = [...viewer.volumes, ...viewer.deviations];
    if (blobs.length) await unpackVolumes(all, blobs, onPart);
    else await fetchVolumes(all, facts.chunk_slices, onPart);
    document.body.dataset.loaded = "true";
  } catch (error) {
    notice(`The volumes could not be loaded (${error.message}). Is the viewer still running?`);
  }
  progress.hidden = true;
}

start();
