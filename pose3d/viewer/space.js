// The 3D pane: animal, cameras and floor, drawn by plotly.

const FIELD_OF_VIEW = Math.PI / 4; // plotly's

async function makeSpace(data, state, node) {
  const idle = { draw() {}, look() {}, resize() {}, recolor() {}, fast: false, canFollow: false, following: false };
  if (!data.scene) return idle;
  const { low, high, floor, cameras } = data.scene;
  const n = data.nPoints;
  const axes = data.space ? data.space.axes : [[], [], []];
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // ---- the box that holds everything, and where the eye stands

  const corners = [low, high, ...floor.flat(), ...cameras.flatMap((camera) => camera.corners)];
  const least = [0, 1, 2].map((d) => Math.min(...corners.map((corner) => corner[d])));
  const most = [0, 1, 2].map((d) => Math.max(...corners.map((corner) => corner[d])));
  const size = Math.max(...least.map((value, d) => most[d] - value)) || 1;
  const middle = least.map((value, d) => (value + most[d]) / 2);

  function lookAt(box, direction) {
    const target = box.low.map((value, d) => (value + box.high[d]) / 2);
    const radius = Math.hypot(...box.low.map((value, d) => box.high[d] - value)) / 2;
    const narrow = Math.min(1, node.clientWidth / Math.max(1, node.clientHeight));
    const away = (0.9 * radius) / Math.sin(FIELD_OF_VIEW / 2) / narrow / size;
    const length = Math.hypot(...direction);
    const center = target.map((value, d) => (value - middle[d]) / size);
    const eye = center.map((value, d) => value + (away * direction[d]) / length);
    const vector = ([x, y, z]) => ({ x, y, z });
    return { center: vector(center), eye: vector(eye), up: { x: 0, y: 0, z: 1 } };
  }
  const everything = { low: least, high: most };
  const bodySize = data.space ? typicalSize(data) : NaN;
  let following = bodySize > 0 && Math.hypot(high[0] - low[0], high[1] - low[1]) > 5 * bodySize;
  let held = null; // where the body was when the eye last moved with it

  /** The box to look at: where the animal goes, or around it as it is. */
  function animal() {
    held = following ? bodyAt(data, state.frame()) : null;
    if (!held) return { low, high };
    return { low: held.map((value) => value - 0.6 * bodySize), high: held.map((value) => value + 0.6 * bodySize) };
  }
  const looks = {
    animal: () => lookAt(animal(), [0.9, -1.2, 0.75]),
    rig: () => lookAt(everything, [0.9, -1.2, 0.75]),
    top: () => lookAt(animal(), [0, -0.001, 1]),
    side: () => lookAt(animal(), [0, -1, 0.02]),
  };

  // ---- traces; those that move keep their own arrays

  const blank = (length) => [0, 1, 2].map(() => new Float32Array(length).fill(NaN));
  const moving = {
    bones: blank(3 * data.edges.length * data.nIndividuals),
    trail: blank(2 * Math.min(400, Math.max(2, Math.round(data.fps))) + 1),
    points: blank(n),
    filled: blank(n),
    chosen: blank(1),
  };
  const lines = (segments) => [0, 1, 2].map((d) => segments.flatMap((ends) => [...ends.map((end) => end[d]), null]));
  const asTrace = ([x, y, z], more) => ({ type: "scatter3d", hoverinfo: "skip", showlegend: false, x, y, z, ...more });
  const copy = (xyz) => xyz.map((values) => values.slice());
  const cone = ({ corners: [eye, a, b, c, d] }) => [[eye, a], [eye, b], [eye, c], [eye, d], [a, b, c, d, a]];
  const pointColors = Array.from({ length: n }, (_, p) => data.colors[p % data.nKeypoints]);
  const boneColors = () => (data.nIndividuals === 1 ? color("--bone") : data.individualColors.flatMap((own) =>
    Array(3 * data.edges.length).fill(own)));
  const names = Object.keys(moving);

  function traces() {
    const still = [
      asTrace(lines(floor), { mode: "lines", line: { color: color("--floor"), width: 1 } }),
      asTrace(lines(cameras.flatMap(cone)), { mode: "lines", line: { color: color("--rig"), width: 2 } }),
      asTrace([0, 1, 2].map((d) => cameras.map((camera) => camera.corners[0][d])), {
        mode: "text", text: cameras.map((camera) => plainText(camera.name)), textposition: "top center",
        textfont: { size: 11, color: color("--soft") },
      }),
    ];
    return [
      ...still,
      asTrace(copy(moving.bones), { mode: "lines", line: { color: boneColors(), width: 5 } }),
      asTrace(copy(moving.trail), { mode: "lines", line: { color: color("--accent"), width: 3 } }),
      asTrace(copy(moving.points), {
        mode: "markers", hoverinfo: "none",
        marker: { size: 5, color: pointColors, line: { width: 1, color: "rgb(0,0,0)" } },
      }),
      asTrace(copy(moving.filled), {
        mode: "markers", hoverinfo: "none", marker: { size: 5, symbol: "circle-open", color: pointColors },
      }),
      asTrace(copy(moving.chosen), {
        mode: "markers", marker: { size: 17, symbol: "circle-open", color: color("--accent") },
      }),
    ];
  }
  const firstMoving = 3;

  const layout = () => {
    const axis = (d) => ({ range: [least[d], most[d]], autorange: false, visible: false, showspikes: false });
    const [x, y, z] = least.map((value, d) => Math.max(1e-3, (most[d] - value) / size));
    return {
      margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: color("--card"), showlegend: false, uirevision: "kept",
      scene: {
        aspectmode: "manual", aspectratio: { x, y, z }, dragmode: "turntable",
        xaxis: axis(0), yaxis: axis(1), zaxis: axis(2), camera: looks.animal(),
      },
    };
  };

  // ---- a frame

  function fill(frame) {
    const at = frame * n;
    for (let d = 0; d < 3; d++) {
      const values = axes[d];
      for (let p = 0; p < n; p++) {
        const k = p % data.nKeypoints, i = (p - k) / data.nKeypoints;
        const hidden = state.hidden[k] || state.hiddenIndividuals[i];
        const value = hidden || !data.space ? NaN : values[at + p];
        const inferred = data.space && data.space.filled[at + p];
        moving.points[d][p] = inferred ? NaN : value;
        moving.filled[d][p] = inferred ? value : NaN;
      }
      let to = 0;
      for (let i = 0; i < data.nIndividuals; i++) {
        for (const [a, b] of data.edges) {
          const hidden = state.hidden[a] || state.hidden[b] || state.hiddenIndividuals[i] || !state.layers.bones;
          const from = data.space ? values[at + i * data.nKeypoints + a] : NaN;
          const until = data.space ? values[at + i * data.nKeypoints + b] : NaN;
          const broken = hidden || Number.isNaN(from + until);
          moving.bones[d][to] = broken ? NaN : from;
          moving.bones[d][to + 1] = broken ? NaN : until;
          to += 3;
        }
      }
      const chosen = state.hovered >= 0 ? state.hovered : state.selected;
      moving.chosen[d][0] = chosen >= 0 && data.space ? values[at + chosen] : NaN;
      const trail = moving.trail[d], half = (trail.length - 1) / 2;
      for (let j = 0; j < trail.length; j++) {
        const other = frame + j - half;
        const inside = state.selected >= 0 && data.space && other >= 0 && other < data.nFrames;
        trail[j] = inside ? values[other * n + state.selected] : NaN;
      }
    }
  }

  /** Plotly's own objects; null where this version has them elsewhere. */
  function inside() {
    const scene = node._fullLayout && node._fullLayout.scene && node._fullLayout.scene._scene;
    const usable = scene && scene.glplot && typeof scene.glplot.redraw === "function" && scene.traces;
    return usable ? scene : null;
  }

  /** Move the eye as the body moved. */
  function follow(scene, frame) {
    const now = bodyAt(data, frame);
    if (!now) return;
    const by = now.map((value, d) => (value - (held || now)[d]) / size);
    held = now;
    const { eye, center, up } = scene.getCamera();
    const list = ({ x, y, z }, shift) => [x + shift[0], y + shift[1], z + shift[2]];
    scene.camera.lookAt(list(eye, by), list(center, by), list(up, [0, 0, 0]));
  }

  /** Ten times as fast as restyle, which lays out the whole figure again. */
  function drawInPlace(scene) {
    for (const trace of Object.values(scene.traces)) {
      const name = names[trace.data.index - firstMoving];
      if (!name) continue;
      [trace.data.x, trace.data.y, trace.data.z] = moving[name];
      trace.update(trace.data);
    }
    if (following) follow(scene, state.frame());
    scene.glplot.redraw();
  }

  function drawByRestyle() {
    const columns = [0, 1, 2].map((d) => names.map((name) => moving[name][d].slice()));
    const indices = names.map((_, i) => firstMoving + i);
    Plotly.restyle(node, { x: columns[0], y: columns[1], z: columns[2] }, indices);
  }

  let fast = true;
  function draw(frame) {
    fill(frame);
    const scene = fast ? inside() : null;
    if (scene) {
      try {
        return drawInPlace(scene);
      } catch (error) {
        console.warn("In-place drawing failed; restyle is used.", error);
      }
    }
    fast = false;
    drawByRestyle();
  }

  fill(0);
  const config = { displaylogo: false, showSendToCloud: false, displayModeBar: false, responsive: false };
  try {
    await Plotly.newPlot(node, traces(), layout(), config);
  } catch (error) {
    state.say("space", `The 3D pane cannot be drawn: ${error.message}`);
    return idle;
  }
  if (!inside() || !inside().glplot.gl) {
    state.say("space", "This browser has no WebGL, which the 3D pane needs; switch on hardware acceleration.");
    return idle;
  }
  node.on("plotly_hover", ({ points: [point] }) => state.hover(point.pointNumber));
  node.on("plotly_unhover", () => state.hover(-1));
  node.on("plotly_click", ({ points: [point] }) => state.select(point.pointNumber));

  return {
    draw,
    look: (which) => Plotly.relayout(node, { "scene.camera": looks[which]() }),
    resize: () => Plotly.Plots.resize(node),
    recolor() {
      const camera = inside() ? inside().getCamera() : looks.animal();
      const fresh = layout();
      fresh.scene.camera = camera;
      Plotly.react(node, traces(), fresh, config).then(() => draw(state.frame()));
    },
    canFollow: bodySize > 0,
    get following() { return following; },
    set following(on) {
      following = on;
      Plotly.relayout(node, { "scene.camera": looks.animal() });
    },
    get fast() { return fast; },
    set fast(value) { fast = value; },
  };
}

/** The middle of all points over half a second around a frame; null where there are none. */
function bodyAt(data, frame) {
  const half = Math.min(15, Math.max(1, Math.round(data.fps / 4)));
  const sum = [0, 0, 0];
  let count = 0;
  const from = Math.max(0, frame - half), to = Math.min(data.nFrames, frame + half + 1);
  for (let at = from * data.nPoints; at < to * data.nPoints; at++) {
    if (Number.isNaN(data.space.axes[0][at])) continue;
    for (let d = 0; d < 3; d++) sum[d] += data.space.axes[d][at];
    count++;
  }
  return count ? sum.map((value) => value / count) : null;
}

/** How large the animals are together in a frame, across; the median of some frames. */
function typicalSize(data) {
  const sizes = [];
  for (let frame = 0; frame < data.nFrames; frame += Math.max(1, Math.floor(data.nFrames / 200))) {
    const spans = data.space.axes.map((values) => {
      const now = sortedFinite(values.subarray(frame * data.nPoints, (frame + 1) * data.nPoints));
      return now.length > 1 ? now[now.length - 1] - now[0] : NaN;
    });
    sizes.push(Math.hypot(...spans));
  }
  return quantile(sortedFinite(Float32Array.from(sizes)), 0.5);
}

/** Plotly reads a few tags in text; names keep their look but not their brackets. */
function plainText(text) {
  return text.replaceAll("<", "\u2039").replaceAll(">", "\u203a");
}
