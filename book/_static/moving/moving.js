/* What all figures that move share: their place on the page, controls, charts, and the sounds of the book and of the reader. */
(() => {
  "use strict";
  if (!window.spoken?.desk) return; // a script of this book is missing
  const { BUILT, Told, centred, decode, element, findWords, levels, microphone, part, playerOf, resample, tooSoft } = window.spoken;
  let playing = null;

  /* Builds figure `name` into every place of the page that asks for it: its script is deferred, so all of the page is there. build(stage) gets an empty box; what stood there for
     readers without scripts goes once it is built, and stays if the figure cannot be built. charts: whether it needs Plot. */
  function figure(name, build, { charts = true } = {}) {
    if (charts && !window.Plot) return; // this copy of the book was built without what draws
    for (const place of document.querySelectorAll(`.moving[data-moving="${name}"]`)) fill(place, name, build);
  }

  async function fill(place, name, build) {
    const stage = element("div", `moving-stage ${name}-stage`), instead = [...place.children];
    place.append(stage);
    try {
      await build(stage);
    } catch (error) {
      console.error(error);
      stage.remove();
      return;
    }
    for (const one of instead) {
      if (one.matches("img, :has(img)")) one.classList.add("moving-still"); // a picture is what is printed
      else one.remove();
    }
    if (place.dataset.twin === "above") place.previousElementSibling?.querySelector(".cell_output")?.classList.add("moving-still");
    place.dataset.ready = "yes";
  }

  /* ---- Controls ---- */

  let made = 0;
  /* A slider with its label and what its value means. `on` hears each change. */
  function slider(place, { label, min, max, step = 1, value, show = String, on }) {
    const row = element("label", "moving-slider"), input = element("input"), said = element("output");
    const first = value;
    Object.assign(input, { type: "range", min, max, step });
    const tell = () => {
      said.textContent = show(Number(input.value));
      input.setAttribute("aria-valuetext", said.textContent);
    };
    input.addEventListener("input", () => (tell(), on(Number(input.value))));
    row.append(element("span", "", label), input, said);
    place.append(row);
    const control = {
      row,
      input,
      get value() {
        return Number(input.value);
      },
      /* Sets it as a reader would not hear: `on` is not called. */
      set value(to) {
        input.value = to;
        tell();
      },
      reset: () => (control.value = first),
    };
    control.value = first;
    return control;
  }

  /* One of a few. options: [[value, text], ...]. `on` hears each change. */
  function choice(place, { label, options, value, on }) {
    const box = element("fieldset", "moving-choice"), name = `moving-${++made}`;
    box.append(element("legend", "", label));
    const inputs = options.map(([one, text]) => {
      const row = element("label"), input = element("input");
      Object.assign(input, { type: "radio", name, value: String(one), checked: one === value });
      input.addEventListener("change", () => on(one));
      row.append(input, element("span", "", text));
      box.append(row);
      return input;
    });
    place.append(box);
    const control = {
      box,
      get value() {
        return options[inputs.findIndex((one) => one.checked)][0];
      },
      set value(to) {
        inputs[options.findIndex(([one]) => one === to)].checked = true;
      },
      reset: () => (control.value = value),
    };
    return control;
  }

  /* A live region: what is written into it is read aloud. One called moving-asked stands beside the button that asks for the microphone. */
  function status(place, name = "moving-status") {
    const line = element("p", name);
    line.setAttribute("role", "status");
    place.append(line);
    return line;
  }

  /* Says in a status line what went wrong: what is meant for the reader, or that something did. */
  function explain(line, error) {
    if (!(error instanceof Told)) console.error(error);
    line.textContent = error instanceof Told ? error.message : "Something went wrong in this figure. Load the page again.";
  }

  /* A button. While `on` works the others of its figure wait; an error for the reader is shown in the figure's status line. */
  function press(place, text, on) {
    const button = element("button", "moving-press", text);
    button.type = "button";
    button.addEventListener("click", async () => {
      const stage = button.closest(".moving-stage");
      if (stage.getAttribute("aria-busy") === "true") return;
      stage.setAttribute("aria-busy", "true");
      try {
        await on();
      } catch (error) {
        explain(stage.querySelector(".moving-asked, .moving-status") ?? status(stage), error);
      } finally {
        stage.setAttribute("aria-busy", "false");
      }
    });
    place.append(button);
    return button;
  }

  /* ---- Charts ---- */

  /* Draws a chart of Observable Plot in `place`, as wide as it is, and again when that changes. options(width): Plot's
     options; text: what it shows, for whoever does not see it. Called anew, it draws anew. */
  const drawn = new WeakMap(); // place: {options, text, width}
  const resized = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const known = drawn.get(target), width = Math.floor(contentRect.width);
      if (known && width && width !== known.width) plot(target, known.options, known.text);
    }
  });
  function plot(place, options, text) {
    const width = Math.floor(place.clientWidth) || 640;
    if (!drawn.has(place)) resized.observe(place);
    drawn.set(place, { options, text, width });
    const chart = window.Plot.plot({ width, marginTop: 8, marginBottom: 36, style: { background: "none", fontSize: "12px" }, ...options(width) });
    for (const mark of chart.querySelectorAll("g[aria-label]")) {
      mark.dataset.mark = mark.getAttribute("aria-label"); // Plot's own labels may not stand on groups, and the whole has a text
      mark.removeAttribute("aria-label");
    }
    chart.setAttribute("role", "img");
    chart.setAttribute("aria-label", text);
    place.replaceChildren(chart);
    return chart;
  }

  /* ---- Sounds and data ---- */

  const files = new Map();
  /* A file that the build has packed: a .json as what it holds, a sound as {audio, rate}. */
  function read(name) {
    if (!files.has(name)) {
      const facts = BUILT?.files?.[name];
      const come = facts ? part(facts.part, facts) : Promise.reject(new Told(`This copy of the book was built without ${name}.`));
      files.set(name, come.then((bytes) => (name.endsWith(".json") ? JSON.parse(new TextDecoder().decode(bytes)) : decode(bytes))));
      files.get(name).catch(() => files.delete(name)); // it may be there the next time
    }
    return files.get(name);
  }

  /* Plays samples; what plays already stops. Resolves when it ends: true if it was heard to its end. */
  function play(audio, rate) {
    playing?.pause();
    const player = (playing = playerOf(audio, rate, ""));
    return new Promise((ended) => {
      player.onended = player.onerror = player.onpause = () => (URL.revokeObjectURL(player.src), ended(player.ended));
      player.play().catch(() => ended(false)); // whoever blocks sound goes on without it
    });
  }

  /* Plays a part of a sound {audio, rate}, bounds in seconds. */
  const playPart = ({ audio, rate }, start, end) => play(audio.slice(Math.round(start * rate), Math.round(end * rate)), rate);

  /* Records one word from the microphone; the status line says what to do, and below it are how loud it is and a way to end it.
     Gives {audio, rate} of the word alone, as the models take it. */
  async function record(line) {
    const context = new AudioContext(); // made while the press still counts as the reader's own
    line.textContent = "The browser asks whether this page may use the microphone. Please allow it.";
    const hearing = element("div", "moving-presses"), loudness = element("meter"), enough = element("button", "moving-press moving-stop", "Stop");
    enough.type = "button";
    loudness.setAttribute("aria-label", "How loud it is");
    const started = (stop) => {
      line.textContent = "Listening. Say one word.";
      enough.addEventListener("click", stop);
      hearing.append(loudness, enough);
      line.after(hearing);
    };
    const heard = (piece, { rate }) => (loudness.value = Math.max(0, Math.min(1, (Math.max(...levels(piece, rate)) + 60) / 50)));
    const sound = await microphone(context, heard, started).finally(() => hearing.remove());
    const rate = BUILT.spotter?.recipe.sample_rate ?? 16000;
    const audio = resample(centred(sound.audio), sound.rate, rate), { words, peak } = findWords(audio, rate);
    if (!words.length) throw new Told(tooSoft(peak) ?? "There was only a short click. Say a word, then try again.");
    const [word] = words;
    return { audio: audio.slice(Math.round(word.start * rate), Math.round(word.end * rate)), rate };
  }

  Object.assign(window.spoken, { choice, explain, figure, play, playPart, plot, press, read, record, slider, status });
})();
