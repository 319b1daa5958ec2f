// The buttons and fields of the page: what they do, and what they show of the state.

const KEY_STEPS = 20;

class Toolbar {
  constructor(viewer) {
    this.viewer = viewer;
    this.connectButtons();
    this.connectFields();
    this.connectDeviation();
  }

  connectButtons() {
    const { viewer } = this;
    const click = (selector, act) => document.querySelectorAll(selector).forEach(
      (button) => button.addEventListener("click", () => { act(button.dataset); viewer.update(); }));
    click("[data-window]", (d) => viewer.setWindow(...viewer.facts.windows[d.window]));
    click("#auto", () => viewer.automaticWindow());
    click("[data-tool]", (d) => { viewer.state.tool = d.tool; });
    click("[data-switch]", (d) => viewer.flip(d.switch));
    click("[data-layout]", (d) => viewer.show(d.layout));
    click("#reset", () => { viewer.reset(); viewer.arrange(); });
    click("#help-button", () => document.getElementById("help").showModal());
    click("#save", () => viewer.savePicture(true));
    click("#save-plane", () => viewer.savePicture(false));
    click("#more", () => document.querySelector("header").classList.toggle("open"));
  }

  connectFields() {
    const { viewer } = this;
    const change = (id, act) => document.getElementById(id).addEventListener(
      "change", (event) => act(event.target.value));
    const steps = (text) => Number(text) / viewer.facts.step;
    change("low", (text) => viewer.setWindow(steps(text), viewer.state.high));
    change("high", (text) => viewer.setWindow(viewer.state.low, steps(text)));
    change("level", (text) => viewer.setLevel(steps(text), viewer.state.high - viewer.state.low));
    change("width", (text) => viewer.setLevel((viewer.state.low + viewer.state.high) / 2, steps(text)));
    change("colours", (name) => { viewer.state.colours = name; viewer.colour(); });
    change("projection", (name) => viewer.setSlab(viewer.state.slabMm, name));
    change("slab", (mm) => viewer.setSlab(Number(mm), viewer.state.projection));
    for (const select of document.querySelectorAll("select")) {
      select.addEventListener("change", () => select.blur());
    }
  }

  // The overlay's key: its colours, the standard deviation of the last one, its opacity.
  connectDeviation() {
    const { viewer } = this;
    const shares = Array.from({ length: KEY_STEPS + 1 }, (_, i) => i / KEY_STEPS);
    const stops = shares.map((share) => {
      const [r, g, b, a] = deviationColour(viewer.facts, share);
      return `rgb(${r} ${g} ${b} / ${a / 255})`;
    });
    document.getElementById("scale").firstElementChild.style.background = `linear-gradient(to right, ${
      DIFFERENCE_COLOURS.map((c) => `rgb(${c.join(" ")})`).join(", ")})`;
    document.querySelector("#deviation i").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    document.getElementById("deviation-limit").addEventListener(
      "change", (event) => viewer.setDeviationLimit(Number(event.target.value) / viewer.facts.step));
    const opacity = document.getElementById("opacity");
    opacity.addEventListener("input", () => viewer.setOpacity(opacity.value / 100));
    opacity.addEventListener("pointerup", () => opacity.blur());
  }

  show() {
    const { state, facts } = this.viewer;
    const press = (selector, isOn) => document.querySelectorAll(selector).forEach(
      (button) => button.setAttribute("aria-pressed", String(Boolean(isOn(button.dataset)))));
    press("[data-tool]", (d) => d.tool === state.tool);
    press("[data-layout]", (d) => d.layout === state.layout);
    press("[data-switch]", (d) => state[d.switch]);
    press("[data-window]", (d) => {
      const [low, high] = facts.windows[d.window].map(Math.round);
      return low === state.low && high === state.high;
    });
    this.write({
      low: this.viewer.number(state.low),
      high: this.viewer.number(state.high),
      level: this.viewer.number((state.low + state.high) / 2),
      width: this.viewer.number(state.high - state.low),
      colours: state.colours,
      projection: state.projection,
      slab: state.slabMm,
      "deviation-limit": this.viewer.number(state.deviationLimit),
      opacity: Math.round(100 * state.opacity),
    });
    document.getElementById("scale").hidden = !(state.difference && this.viewer.reference);
    const limit = this.viewer.number(Math.round(state.limit));
    document.getElementById("scale-ends").textContent = `−${limit} to +${limit} ${facts.unit}`;
    const key = document.getElementById("deviation");
    key.hidden = !(state.deviation || state.band);
    key.querySelector("b").textContent = state.band ? "± 0" : "sd 0";
    key.querySelector("i").style.opacity = state.opacity;
  }

  // Values into fields, but for the one that is being filled in.
  write(values) {
    for (const [id, value] of Object.entries(values)) {
      const field = document.getElementById(id);
      if (field !== document.activeElement) field.value = value;
    }
  }
}
