// The mosaic: pictures, keypoints seen (dots) and reprojected (crosses), enlarging.

const TAU = 2 * Math.PI;
const PICK_PX = 14; // how near the pointer must come to a keypoint

/** One sign of the drawing; also used by the help. */
const signs = {
  dot(ctx, x, y, r, color) {
    ctx.beginPath();
    ctx.arc(x, y, r, 0, TAU);
    ctx.fillStyle = color;
    ctx.fill();
    ctx.lineWidth = 1;
    ctx.strokeStyle = "rgb(0 0 0 / 75%)";
    ctx.stroke();
  },
  hollow(ctx, x, y, r, color) {
    ctx.beginPath();
    ctx.arc(x, y, r, 0, TAU);
    ctx.lineWidth = 3;
    ctx.strokeStyle = "rgb(0 0 0 / 60%)";
    ctx.stroke();
    ctx.lineWidth = 1.5;
    ctx.strokeStyle = color;
    ctx.stroke();
  },
  cross(ctx, x, y, r, color) {
    const a = 1.5 * r;
    ctx.beginPath();
    ctx.moveTo(x - a, y);
    ctx.lineTo(x + a, y);
    ctx.moveTo(x, y - a);
    ctx.lineTo(x, y + a);
    ctx.lineWidth = 3;
    ctx.strokeStyle = "rgb(0 0 0 / 55%)";
    ctx.stroke();
    ctx.lineWidth = 1.3;
    ctx.strokeStyle = color;
    ctx.stroke();
  },
  rejected(ctx, x, y, r) {
    ctx.beginPath();
    ctx.arc(x, y, r + 3, 0, TAU);
    ctx.lineWidth = 1.6;
    ctx.strokeStyle = "#ff4b3a";
    ctx.stroke();
  },
  chosen(ctx, x, y, r) {
    ctx.beginPath();
    ctx.arc(x, y, r + 4.5, 0, TAU);
    ctx.lineWidth = 3;
    ctx.strokeStyle = "rgb(0 0 0 / 60%)";
    ctx.stroke();
    ctx.lineWidth = 1.5;
    ctx.strokeStyle = "#fff";
    ctx.stroke();
  },
};

function makeViews(data, state, stage, video, canvas) {
  const film = data.film;
  const ctx = canvas.getContext("2d");
  let width = 0, height = 0, dense = 1;
  let shift = [0, 0]; // of the pane to the next whole pixel of the screen
  let scale = 1, left = 0, top = 0; // stage pixels from the mosaic's
  let focused = -1; // the view that is shown large
  let moved = false; // enlarged or shifted by hand
  let shown = 0;

  /** Place and scale of a view on the stage: x = originX + scaleX * pixel. */
  function frameOf(v) {
    const [x, y, w, h] = film.tiles[v];
    const view = data.views[v];
    const scaleX = (scale * w) / view.width, scaleY = (scale * h) / view.height;
    return {
      x: left + scale * x, y: top + scale * y, w: scale * w, h: scale * h, scaleX, scaleY,
      // pixel (0, 0) is the centre of the top left pixel
      originX: left + scale * x + 0.5 * scaleX, originY: top + scale * y + 0.5 * scaleY,
    };
  }

  function place() {
    // browsers draw video and canvas at whole pixels, each rounded on its own
    [left, top] = [Math.round(left * dense) / dense, Math.round(top * dense) / dense];
    video.style.transform = `translate(${left + shift[0]}px, ${top + shift[1]}px) scale(${scale})`;
    draw(shown);
  }

  function fit() {
    const [x, y, w, h] = focused < 0 ? [0, 0, film.width, film.height] : film.tiles[focused];
    scale = Math.min(width / w, height / h);
    left = (width - scale * w) / 2 - scale * x;
    top = (height - scale * h) / 2 - scale * y;
    moved = false;
    place();
  }

  function focus(v) {
    focused = v === focused || v >= data.views.length ? -1 : v;
    fit();
  }

  function resize() {
    if (!film) return;
    width = stage.clientWidth;
    height = stage.clientHeight;
    dense = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    canvas.style.width = `${canvas.width / dense}px`;
    canvas.style.height = `${canvas.height / dense}px`;
    const corner = stage.getBoundingClientRect();
    shift = [corner.left + stage.clientLeft, corner.top + stage.clientTop].map(
      (place) => Math.round(place * dense) / dense - place,
    );
    canvas.style.left = `${shift[0]}px`;
    canvas.style.top = `${shift[1]}px`;
    if (moved) place();
    else fit();
  }

  // ---- drawing

  function bones(frame, xy, box, style, dashed, sure) {
    ctx.setLineDash(dashed ? [4, 3] : []);
    for (let i = 0; i < data.nIndividuals; i++) {
      if (state.hiddenIndividuals[i]) continue;
      ctx.beginPath();
      for (const [a, b] of data.edges) {
        if (state.hidden[a] || state.hidden[b]) continue;
        const base = i * data.nKeypoints;
        if (sure && !(sure(base + a) && sure(base + b))) continue;
        const from = 2 * (frame * data.nPoints + base + a), to = 2 * (frame * data.nPoints + base + b);
        if (Number.isNaN(xy[from]) || Number.isNaN(xy[to])) continue;
        ctx.moveTo(box.originX + box.scaleX * xy[from], box.originY + box.scaleY * xy[from + 1]);
        ctx.lineTo(box.originX + box.scaleX * xy[to], box.originY + box.scaleY * xy[to + 1]);
      }
      ctx.lineWidth = 3;
      ctx.strokeStyle = "rgb(0 0 0 / 45%)";
      ctx.stroke();
      ctx.lineWidth = 1.4;
      ctx.strokeStyle = data.nIndividuals > 1 && !dashed ? data.individualColors[i] : style;
      ctx.stroke();
    }
    ctx.setLineDash([]);
  }

  function drawView(v, frame) {
    const box = frameOf(v);
    if (box.x > width || box.y > height || box.x + box.w < 0 || box.y + box.h < 0) return;
    const seen = state.layers.seen && data.seen[v];
    const projected = state.layers.projected && data.projected[v];
    const r = Math.min(6, Math.max(2.2, Math.sqrt(box.w * box.h) / 130));
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.x, box.y, box.w, box.h);
    ctx.clip();
    if (!state.pictures) {
      ctx.fillStyle = "#23282e";
      ctx.fillRect(box.x, box.y, box.w, box.h);
    }
    const sure = seen &&
      ((p) => seen.likelihood[frame * data.nPoints + p] >= data.leastLikelihood);
    if (state.layers.bones) {
      if (projected) bones(frame, projected, box, "rgb(255 225 120 / 85%)", true);
      if (seen) bones(frame, seen.xy, box, "rgb(255 255 255 / 85%)", false, sure);
    }
    for (let p = 0; p < data.nPoints; p++) {
      const k = p % data.nKeypoints, i = (p - k) / data.nKeypoints;
      if (state.hidden[k] || state.hiddenIndividuals[i]) continue;
      const at = frame * data.nPoints + p;
      const chosen = p === state.selected || p === state.hovered;
      let x = NaN, y = NaN;
      if (projected) {
        x = box.originX + box.scaleX * projected[2 * at];
        y = box.originY + box.scaleY * projected[2 * at + 1];
        if (!Number.isNaN(x)) signs.cross(ctx, x, y, r, data.colors[k]);
      }
      if (seen && !Number.isNaN(seen.xy[2 * at])) {
        x = box.originX + box.scaleX * seen.xy[2 * at];
        y = box.originY + box.scaleY * seen.xy[2 * at + 1];
        const certain = sure(p);
        (certain ? signs.dot : signs.hollow)(ctx, x, y, r, data.colors[k]);
        const there = data.space && data.space.reason[at] === 0 && !data.space.filled[at];
        if (certain && there && !((data.space.used[at] >>> v) & 1)) signs.rejected(ctx, x, y, r);
      }
      if (Number.isNaN(x)) continue;
      if (chosen) signs.chosen(ctx, x, y, r);
      if (chosen || state.layers.names) {
        const name = pointName(data, p, state.layers.names);
        const long = ctx.measureText(name).width;
        label(name, x + r + 5 + long > box.x + box.w ? x - r - 5 - long : x + r + 5, y + 4);
      }
    }
    ctx.font = "600 12px system-ui, sans-serif";
    label(data.views[v].name, box.x + 8, box.y + 17);
    ctx.font = "11px system-ui, sans-serif";
    ctx.restore();
  }

  function label(text, x, y) {
    ctx.lineWidth = 3;
    ctx.lineJoin = "round";
    ctx.strokeStyle = "rgb(0 0 0 / 70%)";
    ctx.strokeText(text, x, y);
    ctx.fillStyle = "#fff";
    ctx.fillText(text, x, y);
  }

  function draw(frame) {
    if (!film) return;
    shown = frame;
    ctx.setTransform(dense, 0, 0, dense, 0, 0);
    ctx.clearRect(0, 0, width, height);
    ctx.font = "11px system-ui, sans-serif";
    for (let v = 0; v < data.views.length; v++) drawView(v, frame);
    if (data.views.length > 1) drawGaps();
    if (focused >= 0 && !moved) cover(frameOf(focused));
  }

  /** Hide what stands beside the view that is shown large. */
  function cover({ x, y, w, h }) {
    ctx.fillStyle = "#0e1114";
    ctx.beginPath();
    ctx.rect(0, 0, width, height);
    ctx.rect(x, y, w, h);
    ctx.fill("evenodd");
  }

  function drawGaps() {
    ctx.strokeStyle = "#0e1114";
    ctx.lineWidth = 2;
    for (let v = 0; v < data.views.length; v++) {
      const box = frameOf(v);
      ctx.strokeRect(box.x, box.y, box.w, box.h);
    }
  }

  // ---- pointer

  function viewAt(x, y) {
    return data.views.findIndex((_, v) => {
      const box = frameOf(v);
      return x >= box.x && y >= box.y && x < box.x + box.w && y < box.y + box.h;
    });
  }

  function pick(x, y) {
    const v = viewAt(x, y);
    if (v < 0) return -1;
    const box = frameOf(v);
    let best = -1, nearest = PICK_PX * PICK_PX;
    for (const [layer, xy] of [["seen", data.seen[v] && data.seen[v].xy], ["projected", data.projected[v]]]) {
      if (!xy || !state.layers[layer]) continue;
      for (let p = 0; p < data.nPoints; p++) {
        const k = p % data.nKeypoints, i = (p - k) / data.nKeypoints;
        if (state.hidden[k] || state.hiddenIndividuals[i]) continue;
        const at = 2 * (shown * data.nPoints + p);
        const dx = box.originX + box.scaleX * xy[at] - x, dy = box.originY + box.scaleY * xy[at + 1] - y;
        const far = dx * dx + dy * dy; // NaN is never nearer
        if (far < nearest) [best, nearest] = [p, far];
      }
    }
    return best;
  }

  function listen() {
    let grip = null; // where a drag began
    let dragged = false;
    const at = (event) => {
      const rect = canvas.getBoundingClientRect();
      return [event.clientX - rect.left, event.clientY - rect.top];
    };
    stage.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      if (grip && Math.hypot(x - grip.x, y - grip.y) > 4) dragged = true;
      if (grip && dragged) {
        left = grip.left + x - grip.x;
        top = grip.top + y - grip.y;
        moved = true;
        place();
      } else if (!grip) state.hover(pick(x, y));
    });
    stage.addEventListener("pointerleave", () => state.hover(-1));
    stage.addEventListener("pointerdown", (event) => {
      const [x, y] = at(event);
      grip = { x, y, left, top };
      dragged = false;
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointerup", (event) => {
      if (!dragged) {
        const p = pick(...at(event));
        if (p >= 0) state.select(p);
      }
      grip = null;
    });
    stage.addEventListener("pointercancel", () => { grip = null; });
    stage.addEventListener("dblclick", (event) => {
      const [x, y] = at(event);
      if (moved) fit();
      else focus(focused >= 0 ? focused : viewAt(x, y));
    });
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [x, y] = at(event);
      const least = 0.8 * Math.min(width / film.width, height / film.height);
      const next = Math.min(40, Math.max(least, scale * Math.exp(-0.0015 * event.deltaY)));
      left = x - ((x - left) * next) / scale;
      top = y - ((y - top) * next) / scale;
      scale = next;
      moved = true;
      place();
    }, { passive: false });
  }

  if (film) listen();
  return {
    draw,
    resize,
    focus: (v) => film && (v < 0 ? ((focused = -1), fit()) : focus(v)),
    /** Where a pixel of a view stands on the page, for tests. */
    pageXY(v, x, y) {
      const box = frameOf(v), rect = canvas.getBoundingClientRect();
      return [rect.left + box.originX + box.scaleX * x, rect.top + box.originY + box.scaleY * y];
    },
    get focused() { return focused; },
  };
}

/** The name of a point, with its individual where there are several. */
function pointName(data, p, short) {
  const k = p % data.nKeypoints, i = (p - k) / data.nKeypoints;
  if (short || data.nIndividuals === 1) return data.keypoints[k];
  return `${data.keypoints[k]} · ${data.individuals[i]}`;
}
