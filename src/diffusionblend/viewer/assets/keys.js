// The keys.

const TOOLS = { t: "point", w: "window", g: "pan", n: "line", o: "region" };
const SWITCHES = {
  d: "difference", u: "deviation", 9: "band", p: "profile", x: "cross", s: "smooth", i: "invert",
};
const OPACITY_STEPS = { "[": -0.1, "]": 0.1 };
const PAGE_SLICES = 10;
const KEY_ZOOM = 1.25;

function listenToKeys(viewer) {
  const help = document.getElementById("help");
  document.addEventListener("keydown", (event) => {
    const isTyped = ["INPUT", "SELECT"].includes(event.target.tagName);
    if (event.ctrlKey || event.metaKey || event.altKey || isTyped) return;
    if (help.open) {
      if (["?", "h"].includes(event.key)) help.close();
      return;
    }
    if (act(viewer, event.key, help)) {
      event.preventDefault();
      viewer.update();
    }
  });
}

// Do what a key stands for; false where it stands for nothing.
function act(viewer, key, help) {
  const { state, facts } = viewer;
  const plane = viewer.planes[state.active];
  const onward = { ArrowUp: -1, ArrowDown: 1, PageUp: -PAGE_SLICES, PageDown: PAGE_SLICES };
  const along = { ArrowLeft: -1, ArrowRight: 1, Home: -plane.slices, End: plane.slices };
  const window = Object.keys(facts.windows).find((name) => name[0] === key && name !== "auto");
  const pane = viewer.panes.find((p) => p.plane === plane);
  const centre = [state.views[plane.name].u, state.views[plane.name].v];
  if (key in onward) viewer.scroll(plane, onward[key]);
  else if (key in along) viewer.step(plane, along[key]);
  else if (window) viewer.setWindow(...facts.windows[window]);
  else if (key in TOOLS) state.tool = TOOLS[key];
  else if (key in SWITCHES) return viewer.flip(SWITCHES[key]);
  else if (key in OPACITY_STEPS && (state.deviation || state.band)) viewer.setOpacity(state.opacity + OPACITY_STEPS[key]);
  else if (key === "a") viewer.automaticWindow();
  else if (key === "c") viewer.nextColours();
  else if (key === "e" || key === "E") viewer.savePicture(key === "E");
  else if (key === "+" || key === "=") pane.zoom(KEY_ZOOM, centre);
  else if (key === "-") pane.zoom(1 / KEY_ZOOM, centre);
  else if (key === "0") viewer.show("all");
  else if (["1", "2", "3"].includes(key)) viewer.toggleLayout(PLANE_NAMES[Number(key) - 1]);
  else if (key === "r") { viewer.reset(); viewer.arrange(); }
  else if (key === "Escape") state.line = state.region = null;
  else if (key === "?" || key === "h") help.showModal();
  else return false;
  return true;
}
