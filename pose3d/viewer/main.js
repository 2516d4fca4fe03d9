// Puts the parts together: what is shown, keys, layout.

async function main() {
  const data = await loadData();
  const video = $("film-player");
  const timing = { frames: 0, js: 0 };
  let views, space, timeline, panel;

  const state = {
    hidden: new Uint8Array(data.nKeypoints),
    hiddenIndividuals: new Uint8Array(data.nIndividuals),
    selected: -1,
    hovered: -1,
    dragging: false,
    pictures: false,
    layers: { seen: true, projected: true, bones: true, names: false },
    frame: () => Math.max(0, player.frame),
    playing: () => player.playing,
    limit: () => (timeline && timeline.rising ? timeline.limit : Infinity),
    hover(p) {
      if (p === state.hovered) return;
      state.hovered = p;
      redraw();
    },
    select(p) {
      state.selected = p === state.selected ? -1 : p;
      panel.follow(p);
      recount();
    },
    hide(k, off) {
      state.hidden[k] = off ? 1 : 0;
      recount();
    },
    showOnly(k) {
      const alone = !state.hidden[k] && state.hidden.every((off, other) => other === k || off);
      state.hidden.forEach((_, other) => { state.hidden[other] = !alone && other !== k ? 1 : 0; });
      recount();
    },
    hideIndividual(i, off) {
      state.hiddenIndividuals[i] = off ? 1 : 0;
      recount();
    },
    /** Say why a pane is empty. */
    say(pane, text) {
      $(`${pane}-message`).textContent = text;
      $(`${pane}-message`).hidden = !text;
    },
  };

  function show(frame) {
    const start = performance.now();
    views.draw(frame);
    space.draw(frame);
    timeline.draw(frame);
    panel.draw(frame);
    tellTime(frame);
    timing.js += performance.now() - start;
    timing.frames++;
  }

  function redraw() {
    const frame = state.frame();
    views.draw(frame);
    space.draw(frame);
    panel.refresh();
  }

  function recount() {
    timeline.recount();
    redraw();
    tellBad();
  }

  function tellTime(frame) {
    if (document.activeElement !== $("frame")) $("frame").value = data.number(frame);
    $("clock").textContent = `${data.time(frame).toFixed(3)} s of ${data.time(data.nFrames - 1).toFixed(2)} s`;
    const behind = player.hasFilm && data.film.every > 1 && frame % data.film.every !== 0;
    $("stage-badge").hidden = !behind;
    if (behind) {
      $("stage-badge").textContent = `picture of frame ${data.number(frame - (frame % data.film.every))}`;
    }
  }

  function tellBad() {
    const { peaks, count } = timeline.bad;
    $("threshold-count").textContent = ` ${count} ${count === 1 ? "frame" : "frames"}`;
    $("bad-after").disabled = $("bad-before").disabled = peaks.length === 0;
  }

  const player = makePlayer(data, video, show);
  player.onChange(() => {
    $("play").setAttribute("aria-pressed", String(player.playing));
    $("speed").value = String(player.speed);
    if (!player.playing) panel.refresh();
  });

  // ---- words at the head

  document.title = `${data.title} – pose3d`;
  $("title").textContent = data.title;
  const plural = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
  const facts = [
    data.views.length && plural(data.views.length, "camera"),
    plural(data.nFrames, "frame"),
    data.nFrames > 1 && `${data.time(data.nFrames - 1).toFixed(1)} s at ${Number(data.fps.toPrecision(4))} fps`,
    data.nIndividuals > 1 && plural(data.nIndividuals, "individual"),
    data.nKeypoints && plural(data.nKeypoints, "keypoint"),
    data.scene && data.units && `lengths in ${data.units}`,
    !data.scene && data.film && data.empty_3d,
  ];
  $("facts").textContent = facts.filter(Boolean).join(" · ");
  if (data.notes.length) {
    $("notes").hidden = false;
    $("notes").querySelector("summary").textContent = plural(data.notes.length, "note");
    $("notes").querySelector("ul").append(...data.notes.map((note) => element("li", note)));
  }
  if (data.origin.step) {
    $("origin").textContent = `Made by ${data.origin.step} of pose3d ${data.origin.version}, ${data.origin.made}.`;
  }
  if (data.scene) $("space-words").textContent = data.scene.words;
  state.say("space", data.empty_3d);
  if (!data.scene) $("presets").hidden = true;
  // the room of a pane that has nothing to show goes to the other
  $("space").hidden = !data.scene && Boolean(data.film);
  $("stage").hidden = !data.film && Boolean(data.scene);

  // ---- parts

  views = makeViews(data, state, $("stage"), video, $("overlay"));
  timeline = makeTimeline(data, state, $("strip"), $("strip-tip"), player);
  panel = makePanel(data, state, { legend: $("legend"), individuals: $("individuals"), details: $("details") });
  arrange();
  space = await makeSpace(data, state, $("plot"));

  const broken = await loadFilm(data, video);
  state.pictures = Boolean(data.film && data.film.fps && !broken);
  state.say("stage", broken || data.empty_views);
  video.hidden = !state.pictures;

  // ---- layout: the mosaic's column is as wide as its proportions ask

  function arrange() {
    const main = $("main");
    const list = Math.min(290, Math.max(248, Math.round(0.18 * main.clientWidth)));
    const film = data.film;
    const both = film && data.scene;
    const wish = film ? (film.width / film.height) * main.clientHeight : 0;
    const column = Math.round(Math.min(0.52 * main.clientWidth, Math.max(0.25 * main.clientWidth, wish)));
    main.style.setProperty("--columns", `${both ? `${column}px ` : ""}minmax(0, 1fr) ${list}px`);
    views.resize();
    timeline.resize();
    if (space) space.resize();
  }
  let pending = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(arrange);
  }).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    space.recolor();
    timeline.refresh();
  });

  // ---- controls

  for (const value of SPEEDS) {
    const option = element("option", value < 1 ? `1/${1 / value} ×` : `${value} ×`);
    option.value = String(value);
    $("speed").append(option);
  }
  $("speed").value = "1";
  $("speed").addEventListener("change", (event) => player.setSpeed(Number(event.target.value)));
  $("frame").min = data.number(0);
  $("frame").max = data.number(data.nFrames - 1);
  $("frame").step = data.frame_step;
  $("frame").addEventListener("change", (event) => {
    player.pause();
    player.go((Number(event.target.value) - data.first_frame) / data.frame_step);
  });
  $("threshold-words").textContent = timeline.rising ? "bad above px" : "bad below";
  $("threshold").value = timeline.limit;
  $("threshold").addEventListener("input", (event) => {
    if (Number(event.target.value) > 0) {
      timeline.limit = Number(event.target.value);
      tellBad();
      panel.refresh();
    }
  });
  const hasLayer = { seen: data.seen.some(Boolean), projected: data.projected.some(Boolean), bones: data.edges.length, names: data.nKeypoints };
  for (const name of Object.keys(state.layers)) {
    $(`layer-${name}`).parentElement.hidden = !hasLayer[name];
    $(`layer-${name}`).addEventListener("change", (event) => {
      state.layers[name] = event.target.checked;
      redraw();
    });
  }
  const layer = (name) => () => hasLayer[name] && $(`layer-${name}`).click();
  const jump = (frame) => {
    if (frame === undefined) return;
    player.pause();
    player.go(frame);
  };
  const nextBad = () => jump(timeline.nextBad(player.wanted));
  const badBefore = () => jump(timeline.badBefore(player.wanted));
  const faster = (by) => () => {
    const i = SPEEDS.indexOf(player.speed) + by;
    if (SPEEDS[i]) player.setSpeed(SPEEDS[i]);
  };
  const help = () => ($("help").open ? $("help").close() : $("help").showModal());
  $("play").addEventListener("click", () => player.toggle());
  $("step-back").addEventListener("click", () => player.step(-1));
  $("step-on").addEventListener("click", () => player.step(1));
  $("bad-after").addEventListener("click", nextBad);
  $("bad-before").addEventListener("click", badBefore);
  $("help-open").addEventListener("click", help);
  for (const button of $("presets").querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => space.look(button.dataset.view));
  }
  const follow = () => {
    space.following = !space.following;
    $("follow").setAttribute("aria-pressed", String(space.following));
  };
  $("follow").hidden = !space.canFollow;
  $("follow").setAttribute("aria-pressed", String(Boolean(space.following)));
  $("follow").addEventListener("click", follow);

  const keys = {
    " ": () => player.toggle(),
    ArrowLeft: () => player.step(-1),
    ArrowRight: () => player.step(1),
    ",": () => player.step(-10),
    ".": () => player.step(10),
    Home: () => jump(0),
    End: () => jump(data.nFrames - 1),
    "[": faster(-1),
    "]": faster(1),
    n: nextBad,
    p: badBefore,
    d: layer("seen"),
    r: layer("projected"),
    b: layer("bones"),
    k: layer("names"),
    f: () => space.canFollow && follow(),
    0: () => views.focus(-1),
    Escape: () => state.selected >= 0 && state.select(state.selected),
    "?": help,
  };
  for (let v = 0; v < 9; v++) keys[v + 1] = () => v < data.views.length && views.focus(v);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=number], select");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing && event.key !== "Escape") return;
    if ($("help").open && event.key !== "?") return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    act();
  });
  // space on a focused button would press it as well
  document.addEventListener("keyup", (event) => event.key === " " && event.preventDefault());

  for (const [sign, words] of [
    ["dot", "seen by the camera"], ["hollow", `seen, likelihood below ${data.min_likelihood}`],
    ["cross", "where the 3D point should be seen"], ["rejected", "seen, but triangulation did not believe it"],
    ["chosen", "selected"],
  ]) {
    const canvas = element("canvas");
    [canvas.width, canvas.height] = [68, 40];
    const ctx = canvas.getContext("2d");
    ctx.scale(2, 2);
    if (sign === "rejected" || sign === "chosen") signs.dot(ctx, 17, 10, 3.5, "#56b4e9");
    signs[sign](ctx, 17, 10, 3.5, "#56b4e9");
    const mark = element("dt");
    mark.append(canvas);
    $("signs").append(mark, element("dd", words));
  }

  if (state.pictures) player.useFilm();
  else player.go(0);
  tellBad();
  panel.refresh();
  await new Promise((resolve) => {
    const wait = () => (player.frame >= 0 ? resolve() : requestAnimationFrame(wait));
    wait();
  });
  return { data, state, player, views, space, timeline, timing };
}

// for tests, and for those who like to look inside
window.viewer = main();
window.viewer.catch((error) => {
  $("stage").hidden = false;
  $("stage-message").hidden = false;
  $("stage-message").textContent =
    `This page cannot be shown (${error.message}). It needs Chrome or Edge 103, Firefox 113, Safari 16.4, or later.`;
});
