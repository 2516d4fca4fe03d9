// Cameras in the page: the same lens models and the same triangulation as calibration.lenses and
// calibration.multiview, one point at a time. A missing answer is null. Lengths in the rig's unit.

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

function radial(r2, d) {
  const up = 1 + r2 * (d[0] + r2 * (d[1] + r2 * d[4]));
  const dUp = d[0] + r2 * (2 * d[1] + r2 * 3 * d[4]);
  if (d.length < 8) return [up, dUp];
  const down = 1 + r2 * (d[5] + r2 * (d[6] + r2 * d[7]));
  const dDown = d[5] + r2 * (2 * d[6] + r2 * 3 * d[7]);
  return [up / down, (dUp * down - up * dDown) / (down * down)];
}

function bentAngle(theta, k) {
  const t2 = theta * theta;
  return [
    theta * (1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3])))),
    1 + t2 * (3 * k[0] + t2 * (5 * k[1] + t2 * (7 * k[2] + t2 * 9 * k[3]))),
  ];
}

export function distort([x, y], { model, dist: d }) {
  if (model === "pinhole") return [x, y];
  const r2 = x * x + y * y;
  if (model === "fisheye") {
    const r = Math.sqrt(r2);
    const scale = r > 1e-12 ? bentAngle(Math.atan(r), d)[0] / r : 1;
    return [x * scale, y * scale];
  }
  const [factor] = radial(r2, d);
  return [
    x * factor + 2 * d[2] * x * y + d[3] * (r2 + 2 * x * x),
    y * factor + d[2] * (r2 + 2 * y * y) + 2 * d[3] * x * y,
  ];
}

// derivatives [[xx, xy], [yx, yy]] of distort
export function distortJacobian([x, y], { model, dist: d }) {
  if (model === "pinhole") return [[1, 0], [0, 1]];
  const r2 = x * x + y * y;
  if (model === "fisheye") {
    const r = Math.sqrt(r2);
    if (r < 1e-12) return [[1, 0], [0, 1]];
    const [bent, slope] = bentAngle(Math.atan(r), d);
    const scale = bent / r;
    const growth = (slope / (1 + r2) - scale) / r2;
    const cross = growth * x * y;
    return [[scale + growth * x * x, cross], [cross, scale + growth * y * y]];
  }
  const [factor, growth] = radial(r2, d);
  const cross = 2 * growth * x * y + 2 * d[2] * x + 2 * d[3] * y;
  return [
    [factor + 2 * growth * x * x + 2 * d[2] * y + 6 * d[3] * x, cross],
    [cross, factor + 2 * growth * y * y + 6 * d[2] * y + 2 * d[3] * x],
  ];
}

function undistortFisheye(bent, d) {
  const r = Math.hypot(...bent);
  let theta = Math.min(r, 1.5);
  for (let i = 0; i < 20; i++) {
    const [value, slope] = bentAngle(theta, d);
    const step = Math.max(-0.5, Math.min(0.5, (value - r) / slope));
    theta -= step;
    if (!(Math.abs(step) > 1e-8)) break;
  }
  const [value, slope] = bentAngle(theta, d);
  if (!(Math.abs(value - r) < 1e-9 && slope > 0 && theta < Math.PI / 2)) return null;
  const scale = r > 1e-12 ? Math.tan(theta) / r : 1;
  return [bent[0] * scale, bent[1] * scale];
}

export function undistort(bent, lens) {
  if (lens.model === "pinhole") return bent;
  if (lens.model === "fisheye") return undistortFisheye(bent, lens.dist);
  if (lens.dist.every((value) => value === 0)) return bent;
  let [x, y] = bent;
  let det = 1;
  for (let i = 0; i < 20; i++) {
    const [[a, b], [c, d]] = distortJacobian([x, y], lens);
    const [u, v] = distort([x, y], lens);
    const miss = [u - bent[0], v - bent[1]];
    det = a * d - b * c;
    let dx = (d * miss[0] - b * miss[1]) / det;
    let dy = (a * miss[1] - c * miss[0]) / det;
    // a step longer than the point itself means the model is turning back
    const limit = 0.5 * (0.1 + Math.hypot(x, y));
    const length = Math.hypot(dx, dy);
    if (length > limit) {
      dx *= limit / length;
      dy *= limit / length;
    }
    x -= dx;
    y -= dy;
    if (!(Math.max(Math.abs(dx), Math.abs(dy)) > 1e-8)) break;
  }
  const [u, v] = distort([x, y], lens);
  return det > 0 && Math.hypot(u - bent[0], v - bent[1]) < 1e-9 ? [x, y] : null;
}

// x / z and y / z of the ray of an image point
export function ray([u, v], lens) {
  const [[fx, skew, cx], [, fy, cy]] = lens.matrix;
  const y = (v - cy) / fy;
  return undistort([(u - cx - skew * y) / fx, y], lens);
}

export function inCamera(X, lens) {
  return lens.rotation.map((row, i) => dot(row, X) + lens.translation[i]);
}

export function project(X, lens) {
  const [x, y, z] = inCamera(X, lens);
  if (!(z > 0)) return null;
  const [a, b] = distort([x / z, y / z], lens);
  const [[fx, skew, cx], [, fy, cy]] = lens.matrix;
  return [fx * a + skew * b + cx, fy * b + cy];
}

// the lens model bends back beyond some radius: a point there is no image of the world
function seenAt(X, lens) {
  const [x, y, z] = inCamera(X, lens);
  if (!(z > 0)) return null;
  const bends = foldRadius(lens);
  if (Math.hypot(x / z, y / z) > bends) return null;
  return project(X, lens);
}

function foldRadius(lens) {
  if (lens.fold !== undefined) return lens.fold;
  lens.fold = Infinity;
  if (lens.model === "brown" || lens.model === "rational") {
    for (let r = 0.01; r < 20; r *= 1.02) {
      const [factor, growth] = radial(r * r, lens.dist);
      if (!(factor + 2 * growth * r * r > 0)) {
        lens.fold = r / 1.02;
        break;
      }
    }
  } else if (lens.model === "fisheye") {
    for (let theta = 0.01; theta < 1.57; theta += 0.01) {
      if (!(bentAngle(theta, lens.dist)[1] > 0)) {
        lens.fold = Math.tan(theta - 0.01);
        break;
      }
    }
  }
  return lens.fold;
}

// solve a symmetric 3 x 3 system; null where it is singular
function solve([a, b, c, d, e, f], right) {
  const l10 = b / a;
  const l20 = c / a;
  const d1 = d - l10 * b;
  const e1 = e - l10 * c;
  const l21 = e1 / d1;
  const d2 = f - l20 * c - l21 * e1;
  if (!(d2 > 1e-14 * (a + d + f))) return null;
  const y1 = right[1] - l10 * right[0];
  const y2 = right[2] - l20 * right[0] - l21 * y1;
  const z = y2 / d2;
  const y = y1 / d1 - l21 * z;
  return [right[0] / a - l10 * y - l20 * z, y, z];
}

// the world point that projects nearest to where cameras saw it; seen: [{lens, xy}, ...]
export function triangulate(seen) {
  const views = [];
  for (const { lens, xy } of seen) {
    const normalised = lens && xy && ray(xy, lens);
    if (!normalised) continue;
    const motion = lens.rotation.map((row, i) => [...row, lens.translation[i]]);
    const rows = [0, 1].map((k) =>
      motion[2].map((value, j) => lens.matrix[k][k] * (value * normalised[k] - motion[k][j])));
    views.push({ rows, third: motion[2], depth: 1 });
  }
  if (views.length < 2) return null;
  let X = [0, 0, 0];
  for (let pass = 0; pass < 2; pass++) {
    const weights = views.map((view) => 1 / view.depth ** 2);
    const top = Math.max(...weights);
    const normal = [0, 0, 0, 0, 0, 0];
    const right = [0, 0, 0];
    views.forEach(({ rows }, i) => {
      const w = weights[i] / top;
      for (const row of rows) {
        const miss = dot(row, X) + row[3];
        let n = 0;
        for (let p = 0; p < 3; p++) {
          right[p] += w * row[p] * miss;
          for (let q = p; q < 3; q++) normal[n++] += w * row[p] * row[q];
        }
      }
    });
    const step = solve(normal, right);
    if (!step) return null;
    X = X.map((value, i) => value - step[i]);
    const depths = views.map(({ third }) => dot(third, X) + third[3]);
    const ahead = depths.every((depth) => depth > 0);
    views.forEach((view, i) => { view.depth = ahead ? depths[i] : 1; });
  }
  return X.every(Number.isFinite) ? X : null;
}

// pixels per unit of length, [[du/dX, du/dY, du/dZ], [dv/...]]
export function projectionJacobian(X, lens) {
  const [x, y, z] = inCamera(X, lens);
  if (!(z > 0)) return null;
  const [[xx, xy], [yx, yy]] = distortJacobian([x / z, y / z], lens);
  const [[fx, skew], [, fy]] = lens.matrix;
  const bend = [[fx * xx + skew * yx, fx * xy + skew * yy], [fy * yx, fy * yy]];
  return bend.map(([a, b]) => {
    const by = [a / z, b / z, -(a * x + b * y) / (z * z)];
    return [0, 1, 2].map((j) =>
      by[0] * lens.rotation[0][j] + by[1] * lens.rotation[1][j] + by[2] * lens.rotation[2][j]);
  });
}

// standard error (px, root of the mean over both directions) of a point seen with 1 px noise in
// some cameras, where another camera sees it
export function offerError(X, seenBy, lens) {
  const normal = [0, 0, 0, 0, 0, 0];
  for (const other of seenBy) {
    for (const row of projectionJacobian(X, other) ?? []) {
      let n = 0;
      for (let p = 0; p < 3; p++) for (let q = p; q < 3; q++) normal[n++] += row[p] * row[q];
    }
  }
  let sum = 0;
  for (const row of projectionJacobian(X, lens) ?? []) {
    const spread = solve(normal, row);
    if (!spread) return null;
    sum += dot(row, spread);
  }
  return Math.sqrt(sum / 2);
}

// where the points that one camera sees at xy lie in another's image: runs of points, no two of
// which are further apart than a few pixels
export function epipolarCurve(xy, from, to, step = 8) {
  const normalised = ray(xy, from);
  if (!normalised) return [];
  const R = from.rotation;
  const turned = (v) => [0, 1, 2].map((j) => R[0][j] * v[0] + R[1][j] * v[1] + R[2][j] * v[2]);
  const origin = turned(from.translation).map((value) => -value);
  const direction = turned([...normalised, 1]);
  const base = Math.hypot(...inCamera(origin, to)) || 1;
  const at = (u) => {
    // from a hundredth of the cameras' distance to a hundred times it
    const depth = base * 10 ** (4 * u - 2);
    return seenAt(origin.map((value, i) => value + depth * direction[i]), to);
  };
  const [width, height] = to.size;
  const near = (p) => p && p[0] > -width && p[0] < 2 * width && p[1] > -height && p[1] < 2 * height;
  const samples = [];
  const fill = (u0, p0, u1, p1, left) => {
    const apart = p0 && p1 ? Math.hypot(p1[0] - p0[0], p1[1] - p0[1]) : 0;
    if (left > 0 && (near(p0) || near(p1)) && (apart > step || !p0 !== !p1)) {
      const u = (u0 + u1) / 2;
      const p = at(u);
      fill(u0, p0, u, p, left - 1);
      fill(u, p, u1, p1, left - 1);
    } else samples.push(p1);
  };
  const count = 128;
  let last = at(0);
  samples.push(last);
  for (let i = 1; i <= count; i++) {
    const next = at(i / count);
    fill((i - 1) / count, last, i / count, next, 9);
    last = next;
  }
  const runs = [[]];
  for (const p of samples) {
    if (near(p)) runs[runs.length - 1].push(p);
    else if (runs[runs.length - 1].length) runs.push([]);
  }
  return runs.filter((run) => run.length > 1);
}
