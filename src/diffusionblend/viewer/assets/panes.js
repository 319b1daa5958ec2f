// A pane shows one plane of one volume: picture, cross-hair, letters, and what the mouse does there.

const MAX_ZOOM = 40;
const MIN_ZOOM = 0.5;
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
    this.canvas = this.element.appendChild(document.createElement("canvas"));
    this.picture = this.layer();
    this.overlay = volume.deviation ? this.layer() : null;
    this.image = new ImageData(plane.columns, plane.rows);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.name = this.label("name", volume.name);
    this.place = this.label("place", "");
    ["left", "right", "top", "bottom"].forEach(
      (side, i) => this.label(`side ${side}`, plane.sides[i]));
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

  label(kind, text) {
    const span = this.element.appendChild(document.createElement("span"));
    span.className = kind;
    span.textContent = text;
    return span;
  }

  // The slices of the plane, for fingers, which have no wheel.
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
    slider.addEventListener("change", () => slider.blur());
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
    const isOverlaid = Boolean(state.deviation && this.overlay);
    const sign = this.differs(state, reference) ? "Δ " : isOverlaid ? "± " : "";
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
    this.place.textContent = `${this.plane.name} ${state.voxel[this.plane.axis] + 1}/${this.plane.slices}`;
    this.slider.value = state.voxel[this.plane.axis] + 1;
    this.element.classList.toggle("active", state.active === this.plane.name);
  }

  differs(state, reference) {
    return Boolean(state.difference && reference && reference !== this.volume);
  }

  // The slice's pixels, drawn again only where something about them has changed.
  paint(state, reference) {
    const differs = this.differs(state, reference);
    const slice = state.voxel[this.plane.axis];
    const colours = differs ? this.viewer.differenceColours : this.viewer.greys;
    const key = `${slice} ${differs} ${colours.version} ${this.viewer.parts}`;
    if (key === this.painted) return;
    this.plane.paint(this.pixels, this.volume, state.voxel, colours.table, differs && reference);
    this.picture.getContext("2d").putImageData(this.image, 0, 0);
    this.painted = key;
  }

  // The standard deviation's colours, drawn again only where something about them has changed.
  paintOverlay(state) {
    const colours = this.viewer.deviationColours;
    const key = `${state.voxel[this.plane.axis]} ${colours.version} ${this.viewer.parts}`;
    if (key === this.overpainted) return;
    this.plane.paint(this.pixels, this.volume.deviation, state.voxel, colours.table, null);
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

  // The profile's line, where it was drawn by hand in this plane.
  drawLine(context, frame) {
    const line = this.viewer.state.line;
    if (!line || line.plane !== this.plane.name || !this.viewer.state.profile) return;
    const place = ([u, v]) => [
      frame.left + (u + 0.5) * frame.across, frame.top + (v + 0.5) * frame.down];
    context.strokeStyle = "#4ea1ea";
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(...place(line.from));
    context.lineTo(...place(line.to));
    context.stroke();
  }

  listen() {
    const at = (name, handler, options) => this.element.addEventListener(name, handler, options);
    at("contextmenu", (event) => event.preventDefault());
    at("pointerdown", (event) => this.press(event));
    at("pointermove", (event) => this.move(event));
    at("pointerup", (event) => this.release(event));
    at("pointercancel", (event) => this.release(event));
    at("pointerleave", () => this.viewer.hover(null));
    at("dblclick", () => this.viewer.toggleLayout(this.plane.name));
    at("wheel", (event) => this.turn(event), { passive: false });
  }

  press(event) {
    const { state } = this.viewer;
    event.preventDefault();
    document.activeElement?.blur();
    this.element.setPointerCapture(event.pointerId);
    state.active = this.plane.name;
    if (event.pointerType === "touch") {
      this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
      if (this.fingers.size > 1) { // what the first finger began did not count
        this.drag = null;
        [state.voxel, state.line] = this.before;
        this.viewer.update();
        return;
      }
      this.before = [state.voxel, state.line];
    }
    const byButton = { 0: event.shiftKey ? "line" : state.tool, 1: "pan", 2: "window" };
    this.drag = { tool: byButton[event.button], x: event.clientX, y: event.clientY };
    if (this.drag.tool === "line") {
      state.profile = true;
      state.line = { plane: this.plane.name, from: this.under(event), to: this.under(event) };
    }
    this.follow(event, 0, 0);
  }

  release(event) {
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
    } else if (this.drag.tool === "line") {
      state.line.to = this.under(event);
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
    const zoom = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, view.zoom * factor));
    const share = view.zoom / zoom;
    view.u = fixed[0] + (view.u - fixed[0]) * share;
    view.v = fixed[1] + (view.v - fixed[1]) * share;
    view.zoom = zoom;
    this.viewer.update();
  }
}
