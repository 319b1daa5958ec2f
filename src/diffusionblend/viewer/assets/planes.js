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

  // Where in a volume's array the slice at `voxel` begins, and its steps along u and v.
  steps(strides, voxel) {
    let start = voxel[this.axis] * strides[this.axis];
    let across = strides[this.column_axis];
    let down = strides[this.row_axis];
    if (this.flip_columns) { start += (this.columns - 1) * across; across = -across; }
    if (this.flip_rows) { start += (this.rows - 1) * down; down = -down; }
    return [start, across, down];
  }

  // Draw the slice at `voxel` into pixels (one 32-bit colour each) by a table of colours;
  // with `reference`, the difference to it.
  paint(pixels, volume, voxel, colours, reference) {
    const [start, across, down] = this.steps(volume.strides, voxel);
    const hu = volume.hu;
    let at = 0;
    for (let v = 0; v < this.rows; v++) {
      let from = start + v * down;
      if (reference) {
        const other = reference.hu;
        for (let u = 0; u < this.columns; u++, from += across) {
          const difference = Math.min(32767, Math.max(-32768, hu[from] - other[from]));
          pixels[at++] = colours[difference + HU_OFFSET];
        }
      } else {
        for (let u = 0; u < this.columns; u++, from += across) {
          pixels[at++] = colours[hu[from] + HU_OFFSET];
        }
      }
    }
  }
}

// A table from HU + 32768 to grey: black at `low`, white at `high`.
function greyTable(low, high) {
  const table = new Uint32Array(65536);
  for (let i = 0; i < table.length; i++) {
    const share = (i - HU_OFFSET - low) / (high - low);
    const grey = Math.round(255 * Math.min(1, Math.max(0, share)));
    table[i] = OPAQUE | (grey << 16) | (grey << 8) | grey;
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
