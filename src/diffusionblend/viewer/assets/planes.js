// A plane's picture: columns u to the right and rows v down, in voxels, turned as a radiologist
// expects; and the pixels of a slice.

const HU_OFFSET = 32768;
const OPAQUE = 0xff000000;
// Blue for too dark, red for too bright: ColorBrewer's RdBu, as in the report.
const DIFFERENCE_COLOURS = [
  [5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240], [247, 247, 247],
  [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43], [103, 0, 31],
];

class Plane {
  constructor(name, layout, shape, spacing) {
    Object.assign(this, layout);
    this.name = name;
    this.shape = shape;
    this.columns = shape[this.column_axis];
    this.rows = shape[this.row_axis];
    this.slices = shape[this.axis];
    this.columnMm = spacing[this.column_axis];
    this.rowMm = spacing[this.row_axis];
    this.sliceMm = spacing[this.axis];
    this.widthMm = this.columns * this.columnMm;
    this.heightMm = this.rows * this.rowMm;
  }

  // Where the voxel [z, y, x] is in the picture, [u, v]; and back, on the slice of `voxel`.
  toPicture(voxel) {
    const u = voxel[this.column_axis];
    const v = voxel[this.row_axis];
    return [this.flip_columns ? this.columns - 1 - u : u, this.flip_rows ? this.rows - 1 - v : v];
  }

  toVoxel(u, v, voxel) {
    const found = voxel.slice();
    found[this.column_axis] = this.flip_columns ? this.columns - 1 - u : u;
    found[this.row_axis] = this.flip_rows ? this.rows - 1 - v : v;
    return found;
  }

  // Where in a volume's array a slice begins, and its steps along u and v.
  steps(strides, slice) {
    let start = slice * strides[this.axis];
    let across = strides[this.column_axis];
    let down = strides[this.row_axis];
    if (this.flip_columns) { start += (this.columns - 1) * across; across = -across; }
    if (this.flip_rows) { start += (this.rows - 1) * down; down = -down; }
    return [start, across, down];
  }

  // Add a slice's values to those found so far, or keep the larger or the smaller of both.
  gather(volume, slice, found, how) {
    const [start, across, down] = this.steps(volume.strides, slice);
    const hu = volume.hu;
    const [isSum, isMaximum] = [how === "mean", how === "maximum"];
    let at = 0;
    for (let v = 0; v < this.rows; v++) {
      let from = start + v * down;
      for (let u = 0; u < this.columns; u++, from += across, at++) {
        const value = hu[from];
        if (isSum) found[at] += value;
        else if (isMaximum ? value > found[at] : value < found[at]) found[at] = value;
      }
    }
  }
}

// Draw values into pixels (one 32-bit colour each) by a table of colours; with `others`, the
// difference to them.
function paintValues(pixels, values, colours, others) {
  if (!others) {
    for (let i = 0; i < pixels.length; i++) pixels[i] = colours[values[i] + HU_OFFSET];
    return;
  }
  for (let i = 0; i < pixels.length; i++) {
    const difference = Math.min(32767, Math.max(-32768, values[i] - others[i]));
    pixels[i] = colours[difference + HU_OFFSET];
  }
}

// Grey, and maps of steady lightness (viridis) or of heat; black or dark first.
const COLOUR_MAPS = {
  grey: [[0, 0, 0], [255, 255, 255]],
  bone: [[0, 0, 0], [84, 84, 116], [167, 199, 199], [255, 255, 255]],
  hot: [[0, 0, 0], [230, 0, 0], [255, 210, 0], [255, 255, 255]],
  viridis: [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
    [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]],
};

// A table from HU + 32768 to colour: the map's first at `low`, its last at `high`, or turned round.
function colourTable(name, low, high, isInverted) {
  const palette = Uint32Array.from({ length: 256 }, (_, i) => {
    const [r, g, b] = colourAt(COLOUR_MAPS[name], (isInverted ? 255 - i : i) / 255);
    return OPAQUE | (b << 16) | (g << 8) | r;
  });
  const table = new Uint32Array(65536);
  for (let i = 0; i < table.length; i++) {
    const share = (i - HU_OFFSET - low) / (high - low);
    table[i] = palette[Math.round(255 * Math.min(1, Math.max(0, share)))];
  }
  return table;
}

// The colour at a share of the way through a list of colours.
function colourAt(colours, share) {
  const place = Math.min(1, Math.max(0, share)) * (colours.length - 1);
  const k = Math.min(colours.length - 2, Math.floor(place));
  return [0, 1, 2].map((c) => Math.round(
    colours[k][c] * (k + 1 - place) + colours[k + 1][c] * (place - k)));
}

// A table from difference + 32768 to colour: blue at -limit, red at +limit.
function differenceTable(limit) {
  const table = new Uint32Array(65536);
  for (let i = 0; i < table.length; i++) {
    const [r, g, b] = colourAt(DIFFERENCE_COLOURS, ((i - HU_OFFSET) / limit + 1) / 2);
    table[i] = OPAQUE | (b << 16) | (g << 8) | r;
  }
  return table;
}

// Red, green, blue and opacity (0 to 255) of a standard deviation that is `share` of the limit.
function deviationColour(facts, share) {
  const solid = Math.min(1, Math.max(0, share) / facts.deviation_solid_share);
  return [...colourAt(facts.deviation_colours, share), Math.round(255 * solid)];
}

// A table from standard deviation + 32768 to colour: clear at 0, the last colour from `limit` on.
function deviationTable(facts, limit) {
  const table = new Uint32Array(65536);
  for (let i = 0; i < table.length; i++) {
    const [r, g, b, a] = deviationColour(facts, (i - HU_OFFSET) / limit);
    table[i] = (a << 24) | (b << 16) | (g << 8) | r;
  }
  return table;
}

// The patient's coordinates of a voxel, as text: how far to the L or R, P or A, H or F, in mm.
function patientPlace(facts, voxel) {
  const letters = facts.unit === "HU" ? [["R", "L"], ["A", "P"], ["F", "H"]]
    : [["x −", "x "], ["y −", "y "], ["z −", "z "]]; // no patient
  return letters.map((pair, world) => {
    let mm = facts.origin_mm[world];
    for (let axis = 0; axis < 3; axis++) { // array axis 0 is z, the last column of the cosines
      mm += facts.direction[3 * world + 2 - axis] * facts.spacing_mm[axis] * voxel[axis];
    }
    const gap = facts.unit === "HU" ? " " : "";
    return `${pair[mm < 0 ? 0 : 1]}${gap}${Math.abs(mm).toFixed(1)}`;
  }).join("  ");
}
