"use strict";
// Volumes of whole steps, of 1 HU or of 1/mm (int16, order z y x), and how they come here: in parts, or out of the page.

const PARALLEL_REQUESTS = 4;

class Volume {
  // shape: [z, y, x]. ready[z] is 1 once that axial slice is here. deviation: the volume of its
  // standard deviations, if there is one, band: that of half the widths of its 90 % band. empty: what
  // voxels hold that are not here yet.
  constructor(name, shape, empty) {
    this.name = name;
    this.deviation = null;
    this.band = null;
    this.shape = shape;
    this.strides = [shape[1] * shape[2], shape[2], 1];
    this.hu = new Int16Array(shape[0] * this.strides[0]).fill(empty);
    this.ready = new Uint8Array(shape[0]);
  }

  // Steps at the voxel [z, y, x]; null outside, or while it is not here.
  at(voxel) {
    for (let axis = 0; axis < 3; axis++) {
      if (voxel[axis] < 0 || voxel[axis] >= this.shape[axis]) return null;
    }
    if (!this.ready[voxel[0]]) return null;
    const [sz, sy, sx] = this.strides;
    return this.hu[voxel[0] * sz + voxel[1] * sy + voxel[2] * sx];
  }

  // Take the bytes of axial slices from `first` on.
  put(first, buffer) {
    const part = new Int16Array(buffer);
    this.hu.set(part, first * this.strides[0]);
    this.ready.fill(1, first, first + part.length / this.strides[0]);
  }
}

// The order in which parts are fetched: the middle first, since it is shown first.
function fromTheMiddle(count) {
  const middle = count >> 1;
  return Array.from({ length: count }, (_, i) => i)
    .sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle));
}

// Fetch all parts of all volumes; `onPart(share)` after each. Rejects with a message.
async function fetchVolumes(volumes, chunkSlices, onPart) {
  const count = Math.ceil(volumes[0].shape[0] / chunkSlices);
  const jobs = fromTheMiddle(count).flatMap((k) => volumes.map((_, v) => [v, k]));
  const total = jobs.length;
  let done = 0;
  async function work() {
    for (let job = jobs.shift(); job; job = jobs.shift()) {
      const [v, k] = job;
      const answer = await fetch(`volume/${v}/${k}`);
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      volumes[v].put(k * chunkSlices, await answer.arrayBuffer());
      onPart(++done / total);
    }
  }
  await Promise.all(Array.from({ length: PARALLEL_REQUESTS }, work));
}

// Unpack the volumes that the page holds as base64 of gzip.
async function unpackVolumes(volumes, blobs, onPart) {
  for (let v = 0; v < volumes.length; v++) {
    const text = atob(blobs[v].textContent);
    const packed = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    volumes[v].put(0, await new Response(stream).arrayBuffer());
    blobs[v].remove();
    onPart((v + 1) / volumes.length);
  }
}
