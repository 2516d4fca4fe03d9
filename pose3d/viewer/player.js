// Which frame is shown, and the clock that moves it on.

const SPEEDS = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8];

/**
 * What is drawn is always the frame whose picture stands on the screen: with a film, the film
 * is the clock and tells through requestVideoFrameCallback which picture it shows. Without
 * one, time is.
 */
function makePlayer(data, video, show) {
  const last = data.nFrames - 1;
  let film = null; // set once the film is known to play
  let frame = -1; // shown
  let wanted = 0; // asked for
  let picture = -1; // on the screen
  let playing = false;
  let speed = 1;
  let started = { time: 0, frame: 0 };
  const listeners = [];

  const tell = () => listeners.forEach((listener) => listener());

  function present(next) {
    next = Math.min(last, Math.max(0, next));
    if (next === frame) return;
    frame = next;
    show(frame);
  }

  // ---- with a film

  function applySpeed() {
    if (film) {
      const rate = (speed * data.fps) / film.every / film.fps;
      video.playbackRate = Math.min(16, Math.max(0.0625, rate));
    }
    started = { time: performance.now(), frame };
  }

  function onPicture(now, metadata) {
    picture = Math.round(metadata.mediaTime * film.fps);
    const asked = Math.floor(wanted / film.every) === picture;
    if (film.every === 1 || !playing) present(asked && !playing ? wanted : picture * film.every);
    video.requestVideoFrameCallback(onPicture);
  }

  function seek() {
    if (video.seeking) return; // on its end comes the newest wish
    const target = Math.floor(wanted / film.every);
    if (target === picture && !playing) present(wanted);
    else video.currentTime = (target + 0.5) / film.fps;
  }

  function onSeeked() {
    const target = Math.floor(wanted / film.every);
    if (Math.floor(video.currentTime * film.fps) !== target && !playing) seek();
    // where the browser reports no picture (it was on the screen already, or cannot report)
    else setTimeout(() => {
      if (!playing && !video.seeking && frame !== wanted) {
        picture = target;
        present(wanted);
      }
    }, video.requestVideoFrameCallback ? 120 : 0);
  }

  function useFilm() {
    film = data.film;
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(onPicture);
    video.addEventListener("seeked", onSeeked);
    video.addEventListener("ended", pause);
    video.addEventListener("pause", () => playing && video.ended === false && pause());
    applySpeed();
    seek();
  }

  // ---- every screen refresh

  function tick(now) {
    if (!playing) return;
    if (!film) {
      const next = started.frame + Math.floor(((now - started.time) / 1000) * speed * data.fps);
      present(next);
      if (next >= last) return pause();
    } else if (film.every > 1) {
      present(Math.floor(video.currentTime * film.fps * film.every));
    } else if (!video.requestVideoFrameCallback) {
      present(Math.floor(video.currentTime * film.fps));
    }
    requestAnimationFrame(tick);
  }

  // ---- what others call

  function go(next) {
    wanted = Math.min(last, Math.max(0, Math.round(next)));
    started = { time: performance.now(), frame: wanted };
    if (film) seek();
    else present(wanted);
  }

  async function play() {
    if (playing || last === 0) return;
    if (frame >= last) go(0);
    playing = true;
    started = { time: performance.now(), frame: Math.max(0, frame >= last ? 0 : frame) };
    tell();
    if (film) {
      try {
        await video.play();
      } catch {
        playing = false;
        tell();
        return;
      }
    }
    requestAnimationFrame(tick);
  }

  function pause() {
    if (!playing) return;
    playing = false;
    if (film) video.pause();
    wanted = frame;
    tell();
  }

  return {
    go,
    play,
    pause,
    useFilm,
    toggle: () => (playing ? pause() : play()),
    step(by) {
      pause();
      // from the frame asked for, so that keys pressed quickly add up
      go((film ? wanted : frame) + by);
    },
    setSpeed(value) {
      speed = value;
      applySpeed();
      tell();
    },
    onChange: (listener) => listeners.push(listener),
    get frame() { return frame; },
    get wanted() { return wanted; },
    get picture() { return film ? picture : null; },
    get playing() { return playing; },
    get speed() { return speed; },
    get hasFilm() { return film !== null; },
  };
}

/** Give the film to the video element; tells why it cannot be played, or nothing. */
async function loadFilm(data, video) {
  if (!data.film || !data.film.fps) return "";
  video.style.width = `${data.film.width}px`;
  video.style.height = `${data.film.height}px`;
  const ready = new Promise((resolve) => {
    video.addEventListener("loadeddata", () => resolve(""), { once: true });
    video.addEventListener("error", () => resolve(
      "This browser does not play H.264 video; keypoints are shown without pictures. " +
      "Chrome, Edge, Safari and Firefox play it.",
    ), { once: true });
  });
  video.src = URL.createObjectURL(new Blob([takeBytes("film")], { type: "video/mp4" }));
  return ready;
}
