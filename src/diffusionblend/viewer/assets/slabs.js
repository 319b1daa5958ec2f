// What a picture shows of a volume: one slice, or the mean, the largest or the smallest value of a
// slab of slices; and what is known of a region of it.

const PROJECTIONS = ["mean", "maximum", "minimum"];
const AUTO_PERCENTILES = [0.5, 99.5];

// The first slice of a slab of a thickness in mm about a slice, and one past its last.
function slabSlices(plane, slice, thicknessMm) {
  const count = Math.max(1, Math.round(thicknessMm / plane.sliceMm));
  const first = slice - Math.floor((count - 1) / 2);
  return [Math.max(0, first), Math.min(plane.slices, first + count)];
}

// Whether a slab holds more than one slice.
function isSlab(plane, state) {
  const [first, end] = slabSlices(plane, state.voxel[plane.axis], state.slabMm);
  return end - first > 1;
}

// The values of the picture, rows by columns from its upper left corner, in whole steps.
function pictureValues(plane, volume, state, found) {
  const [first, end] = slabSlices(plane, state.voxel[plane.axis], state.slabMm);
  if (end - first === 1) {
    found.fill(0);
    plane.gather(volume, first, found, "mean");
    return;
  }
  const before = { mean: 0, maximum: -Infinity, minimum: Infinity }[state.projection];
  const all = new Float64Array(found.length).fill(before);
  for (let slice = first; slice < end; slice++) plane.gather(volume, slice, all, state.projection);
  const share = state.projection === "mean" ? 1 / (end - first) : 1;
  for (let i = 0; i < found.length; i++) found[i] = Math.round(all[i] * share);
}

// The picture's value at a voxel [z, y, x]; null outside, or while it is not here.
function seenAt(plane, volume, voxel, state) {
  const [first, end] = slabSlices(plane, voxel[plane.axis], state.slabMm);
  const along = voxel.slice();
  const values = [];
  for (let k = first; k < end; k++) {
    along[plane.axis] = k;
    values.push(volume.at(along));
  }
  if (!values.length || values.includes(null)) return null;
  if (state.projection === "mean") {
    return Math.round(values.reduce((a, b) => a + b, 0) / values.length);
  }
  return Math[state.projection === "maximum" ? "max" : "min"](...values);
}

// The pixels whose centres lie within the ellipse of a region, which its corners' box holds.
function pixelsOf(plane, region) {
  const centre = [0, 1].map((k) => (region.from[k] + region.to[k]) / 2);
  const radius = [0, 1].map((k) => Math.abs(region.to[k] - region.from[k]) / 2);
  const found = [];
  const [low, high] = [0, 1].map((side) => centre.map(
    (c, k) => (side ? Math.floor(c + radius[k]) : Math.ceil(c - radius[k]))));
  for (let v = Math.max(0, low[1]); v <= Math.min(plane.rows - 1, high[1]); v++) {
    for (let u = Math.max(0, low[0]); u <= Math.min(plane.columns - 1, high[0]); u++) {
      const apart = Math.hypot((u - centre[0]) / radius[0], (v - centre[1]) / radius[1]);
      if (apart <= 1) found.push(v * plane.columns + u);
    }
  }
  return found;
}

// Mean, standard deviation, ends and count of a picture's values in a region, and the area of its
// ellipse in mm². The count is 0 where the region holds no pixel's centre.
function regionFacts(plane, values, region) {
  const areaMm2 = (Math.PI / 4) * Math.abs(region.to[0] - region.from[0]) * plane.columnMm
    * Math.abs(region.to[1] - region.from[1]) * plane.rowMm;
  const inside = pixelsOf(plane, region).map((i) => values[i]);
  const n = inside.length;
  const mean = inside.reduce((a, b) => a + b, 0) / n;
  const sd = Math.sqrt(inside.reduce((a, b) => a + (b - mean) ** 2, 0) / n);
  return { count: n, areaMm2, mean, sd,
    low: inside.reduce((a, b) => Math.min(a, b), Infinity),
    high: inside.reduce((a, b) => Math.max(a, b), -Infinity) };
}

// A window that all but the darkest and the brightest of some values lie within.
function windowOf(values) {
  const sorted = Float64Array.from(values).sort();
  const at = (percent) => sorted[Math.round((percent / 100) * (sorted.length - 1))];
  return AUTO_PERCENTILES.map(at);
}
