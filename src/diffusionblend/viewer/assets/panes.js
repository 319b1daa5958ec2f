// A pane shows one plane of one volume: picture, cross-hair, letters, and what the mouse does there.

const WHEEL_NOTCH = 50; // a movement at least this large is a notch of a wheel, smaller ones add up
const FINE_STEP = 30;
const WIDTH_PER_PIXEL = 1 / 200;
const LEVEL_PER_PIXEL = 1 / 300;
const CROSS_GAP = 6;

class Pane {
  constructor(viewer, plane, volume) {
    this.viewer = viewer;
    this.plane = plane;
    this.volume = volume;
    this.wheel = 0;
    this.painted = "";
    this.overpainted = "";
    this.fingers = new Map(); // where each finger is, by its pointer
    this.element = document.createElement("div");
    this.element.className = "pane";
    this.element.dataset.plane = plane.name;
    this.element.dataset.volume = volume.name;
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", `${plane.name} plane of ${volume.name}`);
    this.canvas = this.element.appendChild(document.createElement("canvas"));
    this.canvas.setAttribute("role", "img");
    this.picture = this.layer();
    this.overlay = volume.deviation || volume.band ? this.layer() : null;
    this.image = new ImageData(plane.columns, plane.rows);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.values = new Int16Array(this.pixels.length); // what the picture shows, in whole steps
    this.otherValues = new Int16Array(this.pixels.length);
    const labels = this.part(this.element, "div", "labels");
    const head = this.part(labels, "div", "head");
    this.name = this.part(head, "span", "name");
    this.place = this.part(head, "span", "place");
    const sides = this.part(labels, "div", "sides");
    ["left", "right", "top", "bottom"].forEach(
      (side, i) => this.part(sides, "span", `side ${side}`).append(plane.sides[i]));
    this.facts = this.part(labels, "span", "region");
    this.slider = this.addSlider();
    this.listen();
  }

  // A canvas of one pixel a voxel.
  layer() {
    const canvas = document.createElement("canvas");
    canvas.width = this.plane.columns;
    canvas.height = this.plane.rows;
    return canvas;
  }

  part(parent, tag, kind) {
    const element = parent.appendChild(document.createElement(tag));
    element.className = kind;
    return element;
  }

  // The slices of the plane, which fingers and screen readers need, having no wheel.
  addSlider() {
    const slider = this.element.appendChild(document.createElement("input"));
    slider.type = "range";
    slider.className = "slices";
    slider.min = 1;
    slider.max = this.plane.slices;
    slider.setAttribute("aria-label", `${this.plane.name} slice of ${this.volume.name}`);
    slider.addEventListener("input", () => {
      this.viewer.state.active = this.plane.name;
      this.viewer.step(this.plane, slider.value - 1 - this.viewer.state.voxel[this.plane.axis]);
    });
    slider.addEventListener("pointerup", () => slider.blur());
    for (const name of ["pointerdown", "pointermove", "pointerup", "dblclick"]) {
      slider.addEventListener(name, (event) => event.stopPropagation());
    }
    return slider;
  }

  // Pixels a voxel, and where the picture's corner is, in CSS pixels.
  frame() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const view = this.viewer.state.views[this.plane.name];
    const perMm = view.zoom * Math.min(width / this.plane.widthMm, height / this.plane.heightMm);
    const across = perMm * this.plane.columnMm;
    const down = perMm * this.plane.rowMm;
    return {
      width, height, across, down,
      left: width / 2 - (view.u + 0.5) * across,
      top: height / 2 - (view.v + 0.5) * down,
    };
  }

  // The picture's [u, v] under a mouse event, as fractions of voxels: whole at their centres.
  under(event) {
    const box = this.element.getBoundingClientRect();
    const { left, top, across, down } = this.frame();
    return [(event.clientX - box.left - left) / across - 0.5,
      (event.clientY - box.top - top) / down - 0.5];
  }

  // The voxel [z, y, x] under a mouse event, null beside the volume.
  voxelUnder(event) {
    const [u, v] = this.under(event).map(Math.round);
    if (u < 0 || v < 0 || u >= this.plane.columns || v >= this.plane.rows) return null;
    return this.plane.toVoxel(u, v, this.viewer.state.voxel);
  }

  draw() {
    const { state, reference } = this.viewer;
    const ratio = window.devicePixelRatio || 1;
    const frame = this.frame();
    const [width, height] = [Math.round(frame.width * ratio), Math.round(frame.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.paint(state, reference);
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingEnabled = state.smooth;
    const place = [frame.left, frame.top,
      this.plane.columns * frame.across, this.plane.rows * frame.down];
    const isOverlaid = Boolean(this.overlaid(state));
    const over = state.band ? "90 % ± " : "± ";
    const sign = this.differs(state, reference) ? "Δ " : isOverlaid ? over : "";
    this.name.textContent = `${sign}${this.volume.name}`;
    context.drawImage(this.picture, ...place);
    if (isOverlaid) {
      this.paintOverlay(state);
      context.globalAlpha = state.opacity;
      context.drawImage(this.overlay, ...place);
      context.globalAlpha = 1;
    }
    if (state.cross) this.drawCross(context, frame, state);
    this.drawLine(context, frame);
    this.drawRegion(context, frame);
    this.writePlace(state);
    this.slider.value = state.voxel[this.plane.axis] + 1;
    this.element.classList.toggle("active", state.active === this.plane.name);
  }

  // What lies over the picture in colours: the standard deviation, the band, or nothing.
  overlaid(state) {
    if (state.band) return this.volume.band;
    return state.deviation ? this.volume.deviation : null;
  }

  differs(state, reference) {
    return Boolean(state.difference && reference && reference !== this.volume);
  }

  // Which slice this is, of how many; the slab and the zoom where there is one.
  writePlace(state) {
    const { plane } = this;
    const slice = `${plane.name} ${state.voxel[plane.axis] + 1}/${plane.slices}`;
    const [first, end] = slabSlices(plane, state.voxel[plane.axis], state.slabMm);
    const thickness = Number(((end - first) * plane.sliceMm).toPrecision(3));
    const more = end - first > 1 ? [`${state.projection} ${thickness} mm`] : [];
    const { zoom } = state.views[plane.name];
    if (Math.abs(zoom - 1) > 0.005) more.push(`×${zoom.toFixed(1)}`);
    this.place.textContent = more.length ? `${slice}\n${more.join(" · ")}` : slice;
    this.canvas.setAttribute("aria-label", `${this.name.textContent}, ${[slice, ...more].join(", ")}. ${this.facts.textContent}`);
  }

  // The slice's pixels, drawn again only where something about them has changed.
  paint(state, reference) {
    const differs = this.differs(state, reference);
    const colours = differs ? this.viewer.differenceColours : this.viewer.greys;
    const key = `${this.slabKey(state)} ${differs} ${colours.version} ${this.viewer.parts}`;
    if (key === this.painted) return;
    pictureValues(this.plane, this.volume, state, this.values);
    if (differs) pictureValues(this.plane, reference, state, this.otherValues);
    paintValues(this.pixels, this.values, colours.table, differs && this.otherValues);
    this.picture.getContext("2d").putImageData(this.image, 0, 0);
    this.painted = key;
  }

  slabKey(state) {
    return `${state.voxel[this.plane.axis]} ${state.slabMm} ${state.projection}`;
  }

  // The colours of what lies over the picture, drawn again only where something about them has changed.
  paintOverlay(state) {
    const colours = this.viewer.deviationColours;
    const key = `${this.slabKey(state)} ${colours.version} ${this.viewer.parts} ${state.band}`;
    if (key === this.overpainted) return;
    pictureValues(this.plane, this.overlaid(state), state, this.otherValues);
    paintValues(this.pixels, this.otherValues, colours.table, null);
    this.overlay.getContext("2d").putImageData(this.image, 0, 0);
    this.overpainted = key;
  }

  drawCross(context, frame, state) {
    const [u, v] = this.plane.toPicture(state.voxel);
    const x = frame.left + (u + 0.5) * frame.across;
    const y = frame.top + (v + 0.5) * frame.down;
    context.strokeStyle = "rgb(242 193 78 / 75%)";
    context.lineWidth = 1;
    context.beginPath();
    for (const [fromX, fromY, toX, toY] of [
      [0, y, x - CROSS_GAP, y], [x + CROSS_GAP, y, frame.width, y],
      [x, 0, x, y - CROSS_GAP], [x, y + CROSS_GAP, x, frame.height],
    ]) {
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
    }
    context.stroke();
  }

  // Where a point [u, v] of the picture is in the pane.
  onPane([u, v], frame) {
    return [frame.left + (u + 0.5) * frame.across, frame.top + (v + 0.5) * frame.down];
  }

  // The line that was drawn by hand in this plane, with its length.
  drawLine(context, frame) {
    const { line } = this.viewer.state;
    if (!line || line.plane !== this.plane.name) return;
    const [from, to] = [line.from, line.to].map((end) => this.onPane(end, frame));
    context.strokeStyle = "#4ea1ea";
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    const mm = Math.hypot((line.to[0] - line.from[0]) * this.plane.columnMm,
      (line.to[1] - line.from[1]) * this.plane.rowMm);
    this.write(context, `${mm.toFixed(1)} mm`, to);
  }

  // Small text beside a point of the pane.
  write(context, text, [x, y]) {
    const isLeft = x > this.element.clientWidth - 80;
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = isLeft ? "right" : "left";
    context.lineWidth = 3;
    context.strokeStyle = "#000";
    context.fillStyle = "#9ccbf5";
    for (const kind of ["strokeText", "fillText"]) context[kind](text, x + (isLeft ? -8 : 8), y - 6);
  }

  // The ellipse of the region in this plane, and what is known of the picture's values in it.
  drawRegion(context, frame) {
    const { region } = this.viewer.state;
    const isHere = region && region.plane === this.plane.name;
    this.facts.textContent = "";
    if (!isHere) return;
    const [from, to] = [region.from, region.to].map((corner) => this.onPane(corner, frame));
    context.strokeStyle = "#7ccf7a";
    context.lineWidth = 1.5;
    context.beginPath();
    context.ellipse((from[0] + to[0]) / 2, (from[1] + to[1]) / 2,
      Math.abs(to[0] - from[0]) / 2, Math.abs(to[1] - from[1]) / 2, 0, 0, 2 * Math.PI);
    context.stroke();
    const { viewer } = this;
    const facts = regionFacts(this.plane, this.values, region);
    if (!facts.count) return;
    const [mean, sd] = [facts.mean, facts.sd].map((value) => viewer.number(value, 1));
    const [low, high] = [facts.low, facts.high].map((value) => viewer.number(value));
    this.facts.textContent = `mean ${mean}  sd ${sd} ${viewer.facts.unit}\n`
      + `${low} to ${high}, ${facts.areaMm2.toFixed(1)} mm² (${facts.count} pixel${facts.count === 1 ? "" : "s"})`;
  }

  listen() {
    const at = (name, handler, options) => this.element.addEventListener(name, handler, options);
    at("contextmenu", (event) => event.preventDefault());
    at("pointerdown", (event) => this.press(event));
    at("pointermove", (event) => this.move(event));
    at("pointerup", (event) => this.release(event));
    at("pointercancel", (event) => this.release(event));
    // It also leaves, without being moved, where planes are arranged anew below it.
    at("pointerleave", (event) => this.viewer.hover(event.pointerType === "touch" ? null : event));
    at("focus", () => { this.viewer.state.active = this.plane.name; this.viewer.update(); });
    at("dblclick", () => this.viewer.toggleLayout(this.plane.name));
    at("wheel", (event) => this.turn(event), { passive: false });
  }

  press(event) {
    const { state } = this.viewer;
    event.preventDefault();
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    state.active = this.plane.name;
    if (event.pointerType === "touch") {
      this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
      if (this.fingers.size > 1) { // what the first finger began did not count
        this.drag = null;
        [state.voxel, state.line, state.region] = this.before;
        this.viewer.update();
        return;
      }
      this.before = [state.voxel, state.line, state.region];
    }
    const byButton = { 0: event.shiftKey ? "line" : state.tool, 1: "pan", 2: "window" };
    this.drag = { tool: byButton[event.button], x: event.clientX, y: event.clientY };
    if (this.drag.tool === "line") state.profile = true;
    if (["line", "region"].includes(this.drag.tool)) {
      const at = this.under(event);
      state[this.drag.tool] = { plane: this.plane.name, from: at, to: at };
    }
    this.follow(event, 0, 0);
  }

  release(event) {
    const { region } = this.viewer.state;
    if (region && region.from.join() === region.to.join()) this.viewer.state.region = null; // a click
    this.drag = null;
    this.fingers.delete(event.pointerId);
  }

  move(event) {
    if (this.fingers.size > 1) {
      this.pinch(event);
      return;
    }
    if (this.drag) {
      this.follow(event, event.clientX - this.drag.x, event.clientY - this.drag.y);
      Object.assign(this.drag, { x: event.clientX, y: event.clientY });
    }
    this.viewer.hover(event);
  }

  // Two fingers: apart or together they zoom, and the picture goes with what is between them.
  pinch(event) {
    const between = () => {
      const [[x, y], [otherX, otherY]] = [...this.fingers.values()];
      return { clientX: (x + otherX) / 2, clientY: (y + otherY) / 2,
        apart: Math.max(1, Math.hypot(x - otherX, y - otherY)) };
    };
    const before = between();
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    const after = between();
    this.zoom(after.apart / before.apart, this.under(before));
    const { across, down } = this.frame();
    const view = this.viewer.state.views[this.plane.name];
    view.u -= (after.clientX - before.clientX) / across;
    view.v -= (after.clientY - before.clientY) / down;
    this.viewer.keepInSight(this.plane);
    this.viewer.update();
  }

  // A drag by dx and dy pixels with the tool that it began with.
  follow(event, dx, dy) {
    const { state } = this.viewer;
    const view = state.views[this.plane.name];
    if (this.drag.tool === "point") {
      const voxel = this.voxelUnder(event);
      if (voxel) state.voxel = voxel;
    } else if (this.drag.tool === "pan") {
      const { across, down } = this.frame();
      view.u -= dx / across;
      view.v -= dy / down;
      this.viewer.keepInSight(this.plane);
    } else if (["line", "region"].includes(this.drag.tool)) {
      state[this.drag.tool].to = this.under(event);
    } else if (this.drag.tool === "window") {
      this.viewer.dragWindow(dx * WIDTH_PER_PIXEL, dy * LEVEL_PER_PIXEL);
    }
    this.viewer.update();
  }

  turn(event) {
    event.preventDefault();
    this.viewer.state.active = this.plane.name;
    if (event.ctrlKey || event.metaKey) {
      this.zoom(Math.exp(-Math.sign(event.deltaY) * Math.min(0.2, Math.abs(event.deltaY) / 100)),
        this.under(event));
    } else {
      this.viewer.scroll(this.plane, this.notches(event));
    }
    this.viewer.hover(event);
  }

  // How many slices a movement of the wheel, or of two fingers, is worth.
  notches(event) {
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 40 : event.deltaY;
    if (Math.abs(pixels) >= WHEEL_NOTCH) {
      this.wheel = 0;
      return Math.sign(pixels) * Math.max(1, Math.round(Math.abs(pixels) / 120));
    }
    this.wheel += pixels / FINE_STEP;
    const whole = Math.trunc(this.wheel);
    this.wheel -= whole;
    return whole;
  }

  // Zoom by a factor; the picture's point `fixed` stays where it is.
  zoom(factor, fixed) {
    const view = this.viewer.state.views[this.plane.name];
    const zoom = clamp(view.zoom * factor, MIN_ZOOM, MAX_ZOOM);
    const share = view.zoom / zoom;
    view.u = fixed[0] + (view.u - fixed[0]) * share;
    view.v = fixed[1] + (view.v - fixed[1]) * share;
    view.zoom = zoom;
    this.viewer.keepInSight(this.plane);
    this.viewer.update();
  }
}
