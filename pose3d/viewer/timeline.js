// The strip below: error (or likelihood), number of views and missing keypoints over time.

/** Value below which a share of the sorted numbers lie. */
function quantile(sorted, share) {
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : NaN;
}

/** Sorted copy of the finite values. */
const sortedFinite = (values) => Float32Array.from(values.filter((value) => Number.isFinite(value))).sort();

/**
 * Per frame, over the keypoints that are not hidden (or the selected one alone): the worst and
 * the mean of the measure, the mean number of views, the share that is missing.
 */
function summarise(data, state) {
  const n = data.nFrames;
  const space = data.space;
  const sum = {
    worst: new Float32Array(n).fill(NaN), mean: new Float32Array(n).fill(NaN),
    views: new Float32Array(n), missing: new Float32Array(n), rising: Boolean(space),
  };
  const points = [];
  for (let p = 0; p < data.nPoints; p++) {
    const k = p % data.nKeypoints, i = (p - k) / data.nKeypoints;
    const wanted = state.selected >= 0 ? p === state.selected : !state.hidden[k] && !state.hiddenIndividuals[i];
    if (wanted) points.push(p);
  }
  const seen = data.seen.filter(Boolean);
  for (let frame = 0; frame < n; frame++) {
    let total = 0, count = 0, worst = space ? -Infinity : Infinity, views = 0, missing = 0;
    for (const p of points) {
      const at = frame * data.nPoints + p;
      if (space) {
        const error = space.error[at];
        views += countBits(space.used[at]);
        if (space.reason[at]) missing++;
        else if (!Number.isNaN(error)) {
          total += error;
          count++;
          if (error > worst) worst = error;
        }
      } else {
        let best = NaN;
        for (const view of seen) {
          if (Number.isNaN(view.xy[2 * at])) continue;
          const likelihood = view.likelihood[at] / 200;
          if (!(best >= likelihood)) best = likelihood;
          if (view.likelihood[at] >= data.leastLikelihood) views++;
        }
        if (Number.isNaN(best)) missing++;
        else {
          total += best;
          count++;
          if (best < worst) worst = best;
        }
      }
    }
    if (count) [sum.mean[frame], sum.worst[frame]] = [total / count, worst];
    sum.views[frame] = points.length ? views / points.length : 0;
    sum.missing[frame] = points.length ? missing / points.length : 0;
  }
  return sum;
}

/** A limit that ordinary frames keep: the median and four robust standard deviations. */
function usualLimit(data, sum) {
  if (!sum.rising) return data.min_likelihood;
  const sorted = sortedFinite(sum.worst);
  if (!sorted.length) return 5;
  const median = quantile(sorted, 0.5);
  const spread = quantile(sortedFinite(sorted.map((value) => Math.abs(value - median))), 0.5);
  return Number(Math.max(1, median + 4 * 1.4826 * spread).toPrecision(2));
}

/** The worst frame of each run of bad frames. */
function findBad(sum, limit) {
  const usual = quantile(sortedFinite(sum.missing), 0.5) || 0;
  const badness = (frame) => {
    const worst = sum.worst[frame];
    const over = sum.rising ? worst / limit : limit / Math.max(worst, 1e-6);
    const many = sum.missing[frame] > usual + 0.34 ? 1 + sum.missing[frame] : 0;
    return Math.max(over > 1 ? over : 0, many);
  };
  const flags = new Uint8Array(sum.worst.length);
  const peaks = [];
  let best = 0, peak = -1, count = 0;
  for (let frame = 0; frame <= flags.length; frame++) {
    const bad = frame < flags.length ? badness(frame) : 0;
    if (bad > 0) {
      flags[frame] = 1;
      count++;
      if (bad > best) [best, peak] = [bad, frame];
    } else if (peak >= 0) {
      peaks.push(peak);
      [best, peak] = [0, -1];
    }
  }
  return { flags, peaks, count };
}

function makeTimeline(data, state, canvas, tip, player) {
  const ctx = canvas.getContext("2d");
  const still = document.createElement("canvas"); // all but the cursor
  const gutter = 66, right = 10;
  let width = 0, height = 0, dense = 1;
  let first = 0, last = Math.max(1, data.nFrames); // frames in sight
  let sum = summarise(data, state);
  let limit = usualLimit(data, sum);
  let bad = findBad(sum, limit);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const xOf = (frame) => gutter + ((frame + 0.5 - first) / (last - first)) * (width - gutter - right);
  const frameAt = (x) => Math.min(data.nFrames - 1, Math.max(0,
    Math.floor(first + ((x - gutter) / (width - gutter - right)) * (last - first))));

  function lanes() {
    const bottom = height - 16;
    const top = 6, gap = 6;
    const missing = Math.max(8, 0.13 * (bottom - top)), views = Math.max(14, 0.25 * (bottom - top));
    const error = bottom - top - missing - views - 2 * gap;
    return {
      error: [top, top + error], views: [top + error + gap, top + error + gap + views],
      missing: [bottom - missing, bottom],
    };
  }

  function paint() {
    still.width = Math.round(width * dense);
    still.height = Math.round(height * dense);
    const pen = still.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    const lane = lanes();
    const columns = Math.max(1, Math.floor(width - gutter - right));
    const sorted = sortedFinite(sum.worst);
    const top = sum.rising ? Math.max(1.25 * limit, 1.15 * quantile(sorted, 0.99) || 0, 1) : 1;
    const nViews = Math.max(1, data.views.length);
    const yError = (value) => lane.error[1] - Math.min(1, value / top) * (lane.error[1] - lane.error[0]);
    const yViews = (value) => lane.views[1] - (value / nViews) * (lane.views[1] - lane.views[0]);
    const soft = color("--soft"), ink = color("--ink");

    pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = soft;
    pen.textAlign = "right";
    const rows = [[sum.rising ? "error px" : "likelihood", lane.error], ["views", lane.views], ["missing", lane.missing]];
    for (const [name, [from, to]] of rows) {
      pen.fillStyle = soft;
      pen.fillText(name, gutter - 6, (from + to) / 2 + 4);
      pen.fillStyle = color("--page");
      pen.fillRect(gutter, from, columns, to - from);
    }

    // one column a pixel; its worst frame stands for it, its mean is the line
    const line = [];
    for (let column = 0; column < columns; column++) {
      const from = Math.max(0, Math.floor(first + (column / columns) * (last - first)));
      const to = Math.min(data.nFrames, Math.max(from + 1, Math.floor(first + ((column + 1) / columns) * (last - first))));
      let worst = NaN, mean = 0, count = 0, least = Infinity, views = 0, missing = 0, flagged = false;
      for (let frame = from; frame < to; frame++) {
        const value = sum.worst[frame];
        if (!Number.isNaN(value)) {
          if (!(sum.rising ? value <= worst : value >= worst)) worst = value;
          mean += sum.mean[frame];
          count++;
        }
        views += sum.views[frame] / (to - from);
        least = Math.min(least, sum.views[frame]);
        missing = Math.max(missing, sum.missing[frame]);
        flagged = flagged || bad.flags[frame] === 1;
      }
      const x = gutter + column;
      if (count) {
        const y = yError(worst);
        pen.fillStyle = flagged ? color("--bad") : color("--views");
        pen.globalAlpha = flagged ? 0.75 : 0.5;
        if (sum.rising) pen.fillRect(x, y, 1, lane.error[1] - y);
        else pen.fillRect(x, yError(mean / count), 1, Math.max(1, y - yError(mean / count)));
      } else if (flagged) {
        pen.fillStyle = color("--bad");
        pen.globalAlpha = 0.75;
        pen.fillRect(x, lane.error[1] - 3, 1, 3);
      }
      line.push(count ? yError(mean / count) : NaN);
      pen.fillStyle = color("--views");
      pen.globalAlpha = 0.45;
      pen.fillRect(x, yViews(views), 1, lane.views[1] - yViews(views));
      pen.globalAlpha = 0.9;
      pen.fillRect(x, yViews(least), 1, lane.views[1] - yViews(least));
      pen.fillStyle = color("--missing");
      pen.globalAlpha = missing;
      pen.fillRect(x, lane.missing[0], 1, lane.missing[1] - lane.missing[0]);
      pen.globalAlpha = 1;
    }
    pen.strokeStyle = ink;
    pen.lineWidth = 1;
    pen.beginPath();
    line.forEach((y, column) => {
      if (Number.isNaN(y)) return;
      if (column && !Number.isNaN(line[column - 1])) pen.lineTo(gutter + column + 0.5, y);
      else pen.moveTo(gutter + column + 0.5, y);
    });
    pen.stroke();
    pen.setLineDash([4, 3]);
    pen.strokeStyle = color("--bad");
    pen.beginPath();
    pen.moveTo(gutter, yError(limit));
    pen.lineTo(gutter + columns, yError(limit));
    pen.stroke();
    pen.setLineDash([]);
    // what the top of each lane means
    pen.font = "10px system-ui, sans-serif";
    pen.textAlign = "left";
    for (const [text, [from]] of [[sum.rising ? spell(top) : "1", lane.error], [`${nViews}`, lane.views]]) {
      pen.lineWidth = 3;
      pen.strokeStyle = color("--card");
      pen.strokeText(text, gutter + 4, from + 9);
      pen.fillStyle = ink;
      pen.fillText(text, gutter + 4, from + 9);
    }
    paintTicks(pen, columns);
  }

  function paintTicks(pen, columns) {
    const seconds = (data.time(Math.min(data.nFrames, last) - 1) - data.time(Math.max(0, Math.floor(first)))) || 1;
    const wanted = (seconds / columns) * 90;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= wanted);
    pen.font = "10px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.fillStyle = color("--soft");
    let next = Math.ceil(data.time(Math.floor(first)) / step - 1e-9) * step;
    for (let frame = Math.floor(first); frame < Math.min(last, data.nFrames); frame++) {
      if (data.time(frame) < next - 1e-9) continue;
      const x = xOf(frame);
      pen.fillRect(Math.round(x), height - 16, 1, 3);
      const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
      if (x < width - 24) pen.fillText(`${next.toFixed(digits)} s`, x, height - 4);
      while (data.time(frame) >= next - 1e-9) next += step;
    }
  }

  function draw(frame) {
    if (!width) return;
    if (!state.dragging && (frame < first || frame >= last)) {
      const span = last - first;
      first = Math.max(0, Math.min(data.nFrames - span, frame - 0.1 * span));
      last = first + span;
      paint();
    }
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.clearRect(0, 0, canvas.width, canvas.height);
    ctx.drawImage(still, 0, 0);
    ctx.setTransform(dense, 0, 0, dense, 0, 0);
    const x = xOf(frame);
    ctx.fillStyle = color("--accent");
    ctx.fillRect(x - 0.75, 0, 1.5, height - 14);
    ctx.beginPath();
    ctx.moveTo(x - 5, 0);
    ctx.lineTo(x + 5, 0);
    ctx.lineTo(x, 7);
    ctx.fill();
  }

  function resize() {
    width = canvas.clientWidth;
    height = canvas.clientHeight;
    dense = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    refresh();
  }

  function refresh() {
    paint();
    draw(state.frame());
  }

  function tell(x) {
    const frame = frameAt(x);
    const value = sum.rising
      ? `error ${spell(sum.mean[frame])} px, worst ${spell(sum.worst[frame])} px`
      : `likelihood ${spell(sum.mean[frame])}, worst ${spell(sum.worst[frame])}`;
    tip.textContent = `frame ${data.number(frame)} · ${data.time(frame).toFixed(3)} s · ${value} · ` +
      `${spell(sum.views[frame])} views · ${Math.round(100 * sum.missing[frame])} % missing`;
    tip.hidden = false;
    tip.style.left = `${Math.max(4, Math.min(x + 12, width - tip.offsetWidth - 4))}px`;
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    state.dragging = true;
    player.pause();
    player.go(frameAt(event.offsetX));
  });
  canvas.addEventListener("pointermove", (event) => {
    tell(event.offsetX);
    if (state.dragging) player.go(frameAt(event.offsetX));
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { state.dragging = false; });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const held = first + ((event.offsetX - gutter) / (width - gutter - right)) * (last - first);
    const span = Math.max(Math.min(20, data.nFrames), Math.min(data.nFrames, (last - first) * Math.exp(0.002 * event.deltaY)));
    first = Math.max(0, Math.min(data.nFrames - span, held - ((held - first) * span) / (last - first)));
    last = first + span;
    refresh();
  }, { passive: false });

  return {
    draw,
    resize,
    refresh,
    /** Keypoints were hidden, shown or selected. */
    recount() {
      sum = summarise(data, state);
      bad = findBad(sum, limit);
      refresh();
    },
    nextBad: (frame) => bad.peaks.find((peak) => peak > frame),
    badBefore: (frame) => bad.peaks.findLast((peak) => peak < frame),
    get limit() { return limit; },
    set limit(value) {
      limit = value;
      bad = findBad(sum, limit);
      refresh();
    },
    get bad() { return bad; },
    get rising() { return sum.rising; },
    /** Where a frame stands on the page, for tests. */
    pageX: (frame) => canvas.getBoundingClientRect().left + xOf(frame),
  };
}
