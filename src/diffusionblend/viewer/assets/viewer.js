// The page: what is shown, how it is laid out, the read-out.

const PLANE_NAMES = ["axial", "coronal", "sagittal"];
const EITHER_OR = ["difference", "deviation", "band"];
const MIN_WIDTH_HU = 1;
const MAX_ZOOM = 40;
const MIN_ZOOM = 0.5;
const REDRAW_MS = 400; // while volumes arrive, so that drawing does not hold them up

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

class Viewer {
  constructor(facts) {
    this.facts = facts;
    this.volumes = facts.names.map((name) => new Volume(name, facts.shape, facts.empty));
    this.deviations = facts.deviations.map((of) => {
      this.volumes[of].deviation = new Volume(`± ${facts.names[of]}`, facts.shape, 0);
      return this.volumes[of].deviation;
    });
    this.bands = facts.bands.map((of) => {
      this.volumes[of].band = new Volume(`90 % ${facts.names[of]}`, facts.shape, 0);
      return this.volumes[of].band;
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
    this.toolbar = new Toolbar(this);
    listenToKeys(this);
    takeFiles(this);
    readAddress(this, window.location.hash.slice(1));
    new ResizeObserver(() => this.arrange()).observe(this.main);
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
      band: false,
      opacity: facts.deviation_opacity,
      profile: true,
      cross: true,
      smooth: true,
      invert: false,
      colours: "grey",
      slabMm: 0,
      projection: "mean",
      line: null,
      region: null,
      limit: facts.difference_limit_hu,
      views: Object.fromEntries(PLANE_NAMES.map((name) => {
        const plane = this.planes[name];
        return [name, { zoom: 1, u: (plane.columns - 1) / 2, v: (plane.rows - 1) / 2 }];
      })),
    };
    this.setLimit(facts.difference_limit_hu);
    this.setDeviationLimit(facts.deviation_limit_hu);
    this.setWindow(...facts.windows[facts.first_window]);
    this.first = structuredClone(this.state);
  }

  // Black and white in steps, in any order.
  setWindow(low, high) {
    if (![low, high].every(Number.isFinite)) return;
    this.state.low = Math.round(Math.min(low, high));
    this.state.high = Math.max(this.state.low + MIN_WIDTH_HU, Math.round(Math.max(low, high)));
    this.colour();
  }

  // A window by its centre and its range.
  setLevel(level, width) {
    const half = Math.max(MIN_WIDTH_HU, width) / 2;
    this.setWindow(level - half, level + half);
  }

  // The window that the region's values ask for, else those of the slice that was worked in last.
  automaticWindow() {
    const { region, active } = this.state;
    const pane = this.panes.find((p) => p.plane.name === (region ? region.plane : active));
    const values = new Int16Array(pane.values.length);
    pictureValues(pane.plane, pane.volume, this.state, values);
    const inside = region ? pixelsOf(pane.plane, region).map((i) => values[i]) : [];
    this.setWindow(...windowOf(inside.length ? inside : values));
  }

  // Make the table of colours anew.
  colour() {
    const { colours, low, high, invert } = this.state;
    this.greys = {
      version: this.greys.version + 1, table: colourTable(colours, low, high, invert) };
    this.update();
  }

  nextColours() {
    const names = Object.keys(COLOUR_MAPS);
    this.state.colours = names[(names.indexOf(this.state.colours) + 1) % names.length];
    this.colour();
  }

  // A slab of so many mm, at most the whole volume; 0 for single slices.
  setSlab(thicknessMm, projection) {
    const most = Math.max(...Object.values(this.planes).map((p) => p.slices * p.sliceMm));
    this.state.slabMm = Number.isFinite(thicknessMm) ? clamp(thicknessMm, 0, 2 * most) : 0;
    this.state.projection = projection;
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
    this.state.opacity = clamp(share, 0, 1);
    this.update();
  }

  // Turn a switch; one of differences, deviations and bands is shown, bands in colours to a limit of
  // their own. False where it is of no use.
  flip(name) {
    if (name === "difference" && !this.reference) return false;
    if (name === "deviation" && !this.deviations.length) return false;
    if (name === "band" && !this.bands.length) return false;
    const isOn = !this.state[name];
    if (isOn && EITHER_OR.includes(name)) EITHER_OR.forEach((other) => { this.state[other] = false; });
    this.state[name] = isOn;
    const limit = { deviation: "deviation_limit_hu", band: "band_limit_hu" }[name];
    if (isOn && limit && this.bands.length) this.setDeviationLimit(this.facts[limit]);
    if (name === "invert") this.colour();
    return true;
  }

  // Shares by which a drag changes the width and the level; with differences shown, their range.
  dragWindow(wider, higher) {
    if (this.state.difference) {
      this.setLimit(this.state.limit * Math.exp(wider));
      return;
    }
    const width = (this.state.high - this.state.low) * Math.exp(wider);
    this.setLevel((this.state.low + this.state.high) / 2 + higher * width, width);
  }

  // Keep some of a plane's picture in the middle of its panes, at a zoom that shows something.
  keepInSight(plane) {
    const view = this.state.views[plane.name];
    view.zoom = clamp(view.zoom, MIN_ZOOM, MAX_ZOOM);
    view.u = clamp(view.u, 0, plane.columns - 1);
    view.v = clamp(view.v, 0, plane.rows - 1);
  }

  // Go on by so many slices: down, or to the right, is towards the end of the axis, but in an axial
  // plane towards the feet.
  scroll(plane, slices) {
    this.step(plane, plane.name === "axial" ? -slices : slices);
  }

  step(plane, slices) {
    const { voxel } = this.state;
    voxel[plane.axis] = clamp(voxel[plane.axis] + slices, 0, plane.slices - 1);
    this.update();
  }

  // Keep where the mouse is, by an event; null where it has left the panes.
  hover(event) {
    this.mouse = event && { clientX: event.clientX, clientY: event.clientY };
    this.update(false);
  }

  // All planes, or one.
  show(layout) {
    this.state.layout = layout;
    if (layout !== "all") this.state.active = layout;
    this.arrange();
  }

  toggleLayout(name) {
    this.show(this.state.layout === name ? "all" : name);
  }

  // Save what is shown of all panes, or of the one of the plane worked in last.
  savePicture(isOfAll) {
    const shown = this.panes.filter((p) => p.element.isConnected);
    const pane = shown.find((p) => p.element === document.activeElement)
      || shown.find((p) => p.plane.name === this.state.active) || shown[0];
    const slice = this.state.voxel[pane.plane.axis] + 1;
    const name = isOfAll ? this.facts.names.join("-")
      : `${pane.volume.name}-${pane.plane.name}-${slice}`;
    return savePicture(isOfAll ? shown : [pane], name);
  }

  // The page anew, as it is seen now, for what the server has come to hold.
  startAgain() {
    clearTimeout(this.remembering);
    window.history.replaceState(null, "", `#${writeAddress(this)}`);
    window.location.reload();
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
    const focused = document.activeElement;
    this.main.replaceChildren(...shown.map((p) => p.element));
    if (focused.isConnected) focused.focus({ preventScroll: true });
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
      this.toolbar.show();
      const profile = document.getElementById("profile");
      if (profile.hidden === this.state.profile) { // the panes' room changes
        profile.hidden = !this.state.profile;
        this.arrange();
      }
      for (const pane of this.panes) if (pane.element.isConnected) pane.draw();
      drawProfile(this, profile);
      remember(this);
    });
  }

  // A number of steps in the volumes' unit, as text, with more digits than whole steps have.
  number(steps, moreDigits = 0) {
    return (steps * this.facts.step).toFixed(this.facts.digits + moreDigits);
  }

  // The plane and the voxel that is seen under the mouse now, whatever has moved: the slice, the
  // picture, the planes. The voxel is null where the mouse is beside the pictures.
  underMouse() {
    const seen = this.mouse && document.elementFromPoint(this.mouse.clientX, this.mouse.clientY);
    const element = seen && seen.closest(".pane");
    const pane = element && this.panes.find((p) => p.element === element);
    return { plane: pane && pane.plane, voxel: pane ? pane.voxelUnder(this.mouse) : null };
  }

  // What is seen under the mouse, else at the point: indices, place, the value of every volume.
  writeReadout() {
    const under = this.underMouse();
    const voxel = under.voxel || this.state.voxel;
    const plane = under.voxel ? under.plane : this.planes[this.state.active];
    const seen = (volume) => seenAt(plane, volume, voxel, this.state);
    const reference = this.reference && seen(this.reference);
    const parts = this.volumes.map((volume) => {
      const hu = seen(volume);
      const part = document.createElement("span");
      const number = document.createElement("b");
      number.textContent = hu === null ? "…" : `${this.number(hu)} ${this.facts.unit}`;
      part.append(`${volume.name} `, number);
      const deviation = volume.deviation && hu !== null ? seen(volume.deviation) : null;
      if (deviation !== null) part.append(` ± ${this.number(deviation)}`);
      const band = volume.band && hu !== null ? seen(volume.band) : null;
      if (band !== null) part.append(` (90 %: ± ${this.number(band)})`);
      part.dataset.band = band === null ? "" : band;
      part.dataset.deviation = deviation === null ? "" : deviation;
      if (reference !== null && volume !== this.reference && hu !== null) {
        const difference = hu - reference;
        part.append(` (${difference < 0 ? "−" : "+"}${this.number(Math.abs(difference))})`);
      }
      part.dataset.hu = hu === null ? "" : hu;
      return part;
    });
    const place = document.createElement("span");
    place.className = "faint";
    place.textContent = `z ${voxel[0]}  y ${voxel[1]}  x ${voxel[2]}  ·  ${patientPlace(this.facts, voxel)} mm`
      + (isSlab(plane, this.state) ? `  ·  ${this.state.projection} of the slab` : "");
    const readout = document.getElementById("readout");
    readout.dataset.voxel = voxel.join(" ");
    readout.replaceChildren(place, ...parts);
  }
}

function notice(text) {
  const line = document.createElement("p");
  line.textContent = text;
  document.getElementById("notices").append(line);
  return line;
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
    const all = [...viewer.volumes, ...viewer.deviations, ...viewer.bands];
    if (blobs.length) await unpackVolumes(all, blobs, onPart);
    else await fetchVolumes(all, facts.chunk_slices, onPart);
    document.body.dataset.loaded = "true";
  } catch (error) {
    notice(`The volumes could not be loaded (${error.message}). Is the viewer still running?`);
  }
  progress.hidden = true;
}

start();
