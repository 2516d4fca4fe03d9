// Unpacks what the page carries; undoes packing.py.

const $ = (id) => document.getElementById(id);

/** The bytes of a base64 block of the page, which is then let go. */
function takeBytes(id) {
  const node = $(id);
  const text = node.textContent;
  node.remove();
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Integers of shape (nFrames, ...), flat. */
async function unpackIntegers(entry) {
  const stream = new Blob([takeBytes(entry.id)]).stream();
  const unzipped = stream.pipeThrough(new DecompressionStream("gzip"));
  const planes = new Uint8Array(await new Response(unzipped).arrayBuffer());
  const kind = { int16: Int16Array, uint8: Uint8Array, uint32: Uint32Array }[entry.type];
  const size = kind.BYTES_PER_ELEMENT;
  const n = entry.shape.reduce((product, length) => product * length, 1);
  const values = new kind(n);
  const bytes = new Uint8Array(values.buffer);
  for (let plane = 0, from = 0; plane < size; plane++) {
    for (let to = plane; to < bytes.length; to += size) bytes[to] = planes[from++];
  }
  const stride = n / entry.shape[0];
  for (let i = stride; i < n; i++) values[i] += values[i - stride]; // wraps around as it did
  return values;
}

/** Numbers of shape (nFrames, ...), flat; NaN where missing. */
async function unpackNumbers(entry) {
  const steps = await unpackIntegers(entry);
  const values = new Float32Array(steps.length);
  for (let i = 0; i < values.length; i++) {
    const value = steps[i] * entry.scale + entry.offset;
    values[i] = steps[i] === -32768 ? NaN : entry.log ? Math.exp(value) : value;
  }
  return values;
}

/**
 * Everything the page shows. Points are counted over individuals and keypoints: point
 * i * nKeypoints + k is keypoint k of individual i; values lie frame after frame.
 */
async function loadData() {
  const data = JSON.parse($("data").textContent);
  data.nFrames = data.n_frames;
  data.nKeypoints = data.keypoints.length;
  data.nIndividuals = data.individuals.length;
  data.nPoints = data.nKeypoints * data.nIndividuals;
  const perView = (list, unpack) => Promise.all((list || []).map((entry) => entry && unpack(entry)));
  data.seen = await perView(data.seen, async (entry) => ({
    xy: await unpackNumbers(entry.xy),
    likelihood: await unpackIntegers(entry.likelihood), // in steps of 1 / 200
  }));
  data.projected = await perView(data.projected, unpackNumbers);
  if (data.space) {
    const { xyz, error, sd, reason, filled, used } = data.space;
    data.space = {
      axes: await Promise.all(xyz.map(unpackNumbers)),
      error: await unpackNumbers(error),
      sd: await unpackNumbers(sd),
      reason: await unpackIntegers(reason),
      filled: await unpackIntegers(filled),
      used: await unpackIntegers(used),
    };
  }
  data.ticks = data.times ? await unpackIntegers(data.times) : null; // 0.1 ms each
  data.time = (frame) => (data.ticks ? data.ticks[frame] / 1e4 : frame / data.fps);
  data.number = (frame) => data.first_frame + frame * data.frame_step;
  data.leastLikelihood = Math.ceil(data.min_likelihood * 200 - 1e-6);
  data.individualColors = data.individuals.map(
    (_, i) => ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#f0e442"][i % 7],
  );
  return data;
}

/** Number of bits set. */
function countBits(mask) {
  let count = 0;
  for (let rest = mask >>> 0; rest; rest &= rest - 1) count++;
  return count;
}

/** A number as a person writes it: three significant digits, no exponent. */
function spell(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** An element with text, which is never read as HTML. */
function element(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}
