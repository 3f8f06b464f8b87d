/* What the pages and figures that compute have in common: small pieces to draw with, and `desk`, which does one thing at a time. */
(() => {
  "use strict";
  const { BUILT, SILENT, Told, centred, decode, levels, load, microphone, needed, part, resample } = window.spoken;
  const TURN = 0.15; // seconds between two looks at what has been said so far
  const LARGEST_FILE = 50e6; // bytes; decoded, it takes many times that
  const DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
  const BROKEN = "Something went wrong in this page. Load it again; if that does not help, try another browser.";

  const MAGMA = // as in all figures of the course
    "000004 0b0924 20114b 3b0f70 57157e 721f81 8c2981 a8327d c43c75 de4968 f1605d fa7f5e fe9f6d febf84 fddea0 fcfdbf"
      .split(" ")
      .map((colour) => [0, 2, 4].map((i) => parseInt(colour.slice(i, i + 2), 16)));

  const SHADES = Uint8ClampedArray.from({ length: 256 * 3 }, (_, i) => {
    const place = Math.min(0.9999, Math.floor(i / 3) / 255) * (MAGMA.length - 1), low = Math.floor(place);
    return MAGMA[low][i % 3] + (place - low) * (MAGMA[low + 1][i % 3] - MAGMA[low][i % 3]);
  });

  function element(name, className = "", text = "") {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = text;
    return made;
  }

  function drawing(name, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  /* Draws rows of numbers as a picture, a pixel each, the first row at the bottom. low and high: what is darkest and brightest. */
  function heat(canvas, rows, { low, high }) {
    const height = rows.length, width = rows[0].length;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    rows.forEach((row, y) => {
      for (let x = 0; x < width; x++) {
        const at = 4 * ((height - 1 - y) * width + x), place = 3 * Math.round(255 * Math.min(1, Math.max(0, (row[x] - low) / (high - low || 1))));
        image.data[at] = SHADES[place];
        image.data[at + 1] = SHADES[place + 1];
        image.data[at + 2] = SHADES[place + 2];
        image.data[at + 3] = 255;
      }
    });
    context.putImageData(image, 0, 0);
  }

  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)}\u00a0MB`;
  const percent = (value) => `${Math.round(100 * value)}\u00a0%`;

  /* What hears, asks and answers in `box`, one thing at a time. say(text, kind, place) tells the reader; shown(name, pressed)
     may write what a state is called. A page's state is idle, loading, asking, listening or thinking. */
  function desk(box, say, shown = () => {}) {
    const loading = box.querySelector(".say-loading"), bar = box.querySelector(".say-progress");
    let listening = null; // {by, stop}: the button whose recording it is, and what ends it

    function state(name, pressed = null) {
      box.dataset.state = name;
      box.setAttribute("aria-busy", String(name === "loading" || name === "thinking"));
      for (const one of box.querySelectorAll("button")) {
        one.setAttribute("aria-disabled", String(name !== "idle" && !(one === pressed && name === "listening")));
      }
      shown(name, pressed);
    }
    const free = () => box.dataset.state === "idle";

    /* Brings a model, with a bar. `place`: where the page says so; null if it need not. */
    async function loaded(name = "spotter", place = undefined) {
      if (!needed(name).length) return;
      state("loading");
      if (place !== null) say("Loading the model from this book.", "", place);
      loading.hidden = false;
      try {
        await load(name, (share) => {
          if (share === null) bar.removeAttribute("value");
          else bar.value = share;
          loading.querySelector("span").textContent = share === null ? "starting" : percent(share);
        });
        box.classList.add("loaded");
      } finally {
        loading.hidden = true;
      }
    }

    /* Runs `work`, and says in `place` what went wrong. */
    async function alone(work, place) {
      if (!free()) return;
      state("thinking");
      try {
        await work();
      } catch (error) {
        if (!(error instanceof Told)) console.error(error);
        say(error instanceof Told ? error.message : BROKEN, "problem", place);
      } finally {
        listening = null;
        state("idle");
        box.style.setProperty("--level", 0);
      }
    }

    /* Records, once the model is there, until a second of quiet or a second press. `look` is given what was said so far. */
    async function listen(pressed, text, look = () => {}, place = undefined) {
      const context = new AudioContext(); // made while the press still counts as the reader's own
      try {
        await loaded("spotter", place);
      } catch (error) {
        context.close();
        throw error;
      }
      state("asking");
      say("The browser asks whether this page may use the microphone. Please allow it.", "", place);
      try {
        return await microphone(
          context,
          (piece, sofar) => {
            const level = levels(piece, sofar.rate).reduce((a, b) => Math.max(a, b), SILENT);
            box.style.setProperty("--level", Math.max(0, Math.min(1, (level + 60) / 50)).toFixed(3));
            look(sofar);
          },
          (stop) => {
            listening = { by: pressed, stop };
            state("listening", pressed);
            say(text, "", place);
          },
        );
      } catch (error) {
        throw error instanceof Told ? new Told(`${error.message} Or try a sample, or choose a file.`) : error;
      } finally {
        listening = null;
      }
    }

    /* Ends the recording that this button began; false if it began none. */
    function stopped(pressed) {
      if (listening?.by !== pressed) return false;
      listening.stop();
      return true;
    }

    /* A look at what was said so far, for `listen`: hears each word once, by `read(audio, word)`, and hands all answers to `show`.
       The last word may still go on; those before it are not read again. */
    function looker(read, show) {
      const known = new Map();
      let next = 0, looking = false;
      async function look({ audio, rate, words }) {
        const began = performance.now();
        if (looking || began < next) return;
        looking = true;
        try {
          for (const word of words) {
            const place = `${word.start} ${word.end}`;
            if (known.has(place)) continue;
            const part = centred(audio.slice(Math.round(word.start * rate), Math.round(word.end * rate)));
            known.set(place, await read(resample(part, rate, BUILT.spotter.recipe.sample_rate), word));
          }
          if (listening) show(words.flatMap(({ start, end }) => known.get(`${start} ${end}`)));
        } finally {
          looking = false;
          const now = performance.now();
          next = now + Math.max(1000 * TURN, now - began); // a slow computer looks less often
        }
      }
      return (sofar) => look(sofar).catch(console.error);
    }

    return { alone, free, listen, loaded, looker, state, stopped };
  }

  /* A chooser of files, hidden behind a button. */
  function chooser(opener, input, chosen, free) {
    opener.addEventListener("click", () => free() && input.click());
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = ""; // the same file may be chosen again
      if (files.length) chosen(files);
    });
  }

  /* Files may be dropped anywhere: beside the box, the browser would leave the page and open them. `over` hears whether one hovers. */
  function drops(taken, over = () => {}) {
    const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    let depth = 0;
    const hover = (change) => over((depth = Math.max(0, change)) > 0);
    addEventListener("dragenter", (event) => holdsFile(event) && hover(depth + 1));
    addEventListener("dragleave", (event) => holdsFile(event) && hover(depth - 1));
    addEventListener("dragover", (event) => holdsFile(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!holdsFile(event)) return;
      event.preventDefault();
      hover(0);
      const files = [...event.dataTransfer.files];
      if (files.length) taken(files, event.target);
    });
  }

  /* Plays a sample of the build while the caller goes on, and gives its sound; whoever blocks sound still gets that. */
  async function sample(name, facts) {
    const bytes = await part(`sample-${name}`, facts);
    const player = new Audio(URL.createObjectURL(new Blob([bytes], { type: "audio/wav" })));
    player.onended = () => URL.revokeObjectURL(player.src);
    player.play().catch(() => {});
    return decode(bytes);
  }

  Object.assign(window.spoken, { DIGITS, LARGEST_FILE, chooser, desk, drawing, drops, element, heat, megabytes, percent, sample });
})();
