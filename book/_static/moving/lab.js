/* "Sound lab": a clip, a vowel or the reader's own word as waveform, spectrogram, log-mel picture and one frame's spectrum, with the
   settings of chapter 2 as sliders. What is computed is in frontend.js. */
(() => {
  "use strict";
  if (!window.spoken?.figure || !window.spoken.frontend) return;
  const { choice, element, explain, figure, fit, heat, play, plot, press, read, record, resample, slider, status } = window.spoken;
  const { SCALES, VOWELS, around, decibels, envelope, hills, logMel, lowPass, melFilters, pitch, power, vowel } = window.spoken.frontend;
  const RATE = 22050, NYQUIST = RATE / 2; // hertz: as the course's recipe
  const LOWEST = 50; // hertz, the recipe's f_min
  const RANGE = 80; // decibels, the recipe's top_db
  const CLIPS = { seven: "seven-s01.flac", five: "five-s12.flac", nine: "nine-s12.flac" };
  const LEFT = 56, RIGHT = 10, TOP = 18, TICKS = 28; // pixels around each picture
  const ROWS = 180; // of the spectrogram, about one a pixel
  const PIECE = 1024, VOICED = 0.5, FAINT = 1e-6; // samples that pitch is read from; above these, what is heard has none
  const ENOUGH = 3000; // hertz: of what ends below, the curve of the mouth would only show where it ends
  const BELOW = 0.93; // of an axis: a number further up would stand on the axis's name
  const OFF = 21; // where the low pass lets everything through
  const cutAt = (place) => Math.round(25 * 2 ** (place / 4)) * 10; // hertz: four steps double it
  const hertz = (value) => `${Math.round(value).toLocaleString("en")} Hz`;
  const length = (exponent) => `${2 ** exponent} (${Math.round((1000 * 2 ** exponent) / RATE)} ms)`; // of so many samples

  const TASKS = [
    [
      "Choose “five” and play it, then “nine”. Then lower “cut tones above” step by step. Where can you no longer tell them apart?",
      "There is no one right number. The <em>f</em> is faint and far above the vowel, so it goes first, and “five” becomes “ive”. The vowel is the same in both words, so only their ends tell them apart: “nine” hums there at 130 hertz, and “five” fades. Under some 400 hertz both are a murmur of one pitch. The eye goes on longer than the ear: in the picture, the hum of “nine” still fills the whole word.",
    ],
    [
      "Take “seven”, the shortest hop, and 2,000 hertz as the highest tone. At which window do the harmonics of the pitch become visible, and what is lost?",
      "From 1,024 samples on: a tone then spreads over 86 hertz, and the harmonics lie 98 apart. At 2,048 each stands alone. What is lost is time: such a window sees 93 milliseconds at once, and every beginning is smeared over them. Now go down to 128. The harmonics melt into formants, and upright stripes appear: each is one opening of the vocal folds.",
    ],
    [
      "Choose the vowel, and raise its pitch. What moves, and what stays? Then listen to “bed” and “saw” at 100 and at 400 hertz. Why are they harder to tell apart?",
      "The teeth of the spectrum move apart, and the hills of the orange curve stay. But a formant can only be seen, and heard, where a tooth is there to be let through. At 400 hertz there is one at 400, at 800, at 1,200: too few to draw the hills, and the formants that the cursor names go astray. High voices, as those of children, are harder to read for this reason.",
    ],
  ];

  /* The spectrogram up to `highest`: rows of decibels, each the loudest of the frequencies that fall on it. */
  function rowsOf({ frames, bins, values }, highest) {
    const step = NYQUIST / (bins - 1), rows = Array.from({ length: ROWS }, () => new Float64Array(frames));
    const tone = (row) => ((row / ROWS) * highest) / step;
    const ends = rows.map((_, row) => {
      const first = Math.ceil(tone(row)), last = Math.ceil(tone(row + 1));
      return first < last ? [first, last] : [Math.round(tone(row + 0.5)), Math.round(tone(row + 0.5)) + 1]; // between two frequencies
    });
    for (let frame = 0; frame < frames; frame++) {
      const start = frame * bins;
      for (let row = 0; row < ROWS; row++) {
        let most = 0;
        for (let k = ends[row][0]; k < ends[row][1] && k < bins; k++) if (values[start + k] > most) most = values[start + k];
        rows[row][frame] = decibels(most);
      }
    }
    return rows;
  }

  /* Lowest and highest of each of `count` pieces of a sound. */
  function outline(audio, count) {
    return Array.from({ length: count }, (_, i) => {
      let low = 0, high = 0;
      for (let j = Math.floor((i * audio.length) / count); j < ((i + 1) * audio.length) / count; j++) {
        low = Math.min(low, audio[j]);
        high = Math.max(high, audio[j]);
      }
      return { seconds: ((i + 0.5) * audio.length) / count / RATE, low, high };
    });
  }

  /* The middle of the loudest 23 milliseconds, in seconds. */
  function loudest(audio) {
    const size = 512;
    let best = 0, most = -1;
    for (let start = 0; start + size <= audio.length; start += size / 4) {
      const energy = audio.subarray(start, start + size).reduce((sum, one) => sum + one * one, 0);
      if (energy > most) [best, most] = [start + size / 2, energy];
    }
    return best / RATE;
  }

  /* A picture with axes around it and the cursor's lines over it. */
  function pane(place, name, height, below) {
    const root = element("div", `lab-pane lab-${name}`), chart = element("div"), inner = element("div", "lab-inner");
    const canvas = element("canvas"), across = element("div", "lab-across"), up = element("div", "lab-up");
    Object.assign(inner.style, { left: `${LEFT}px`, right: `${RIGHT}px`, top: `${TOP}px`, height: `${height}px` });
    canvas.setAttribute("aria-hidden", "true"); // the chart around it says what it shows
    inner.append(canvas, across, up);
    root.append(chart, inner);
    place.append(root);
    const frame = { height: TOP + height + below, marginLeft: LEFT, marginRight: RIGHT, marginTop: TOP, marginBottom: below };
    return { root, chart, inner, canvas, across, up, frame };
  }

  figure("lab", async (stage) => {
    let source = null, heard = null; // a second of sound, and the same behind the low pass
    let spectra = null, filters = [], loud = 0; // of the sound as it is now; `loud` is the power of its loudest tone
    let own = null; // the reader's word, fitted to a second
    let played = false; // sound comes by itself only after the reader has asked for it once
    let axes = ""; // what the axes were drawn for
    const cursor = { seconds: 0, hertz: 500 };

    const sources = element("div", "lab-sources"), presses = element("div", "moving-presses"), controls = element("div", "moving-controls lab-controls");
    const lead = "Change a setting, and see and hear what it does. Point into a picture, or press the arrow keys in it, to read one moment. Begin with one of these questions; each opens its answer.";
    const tasks = element("div", "lab-tasks");
    stage.append(element("p", "", lead), tasks, sources, presses);
    const asked = status(stage, "moving-asked");
    stage.append(controls);
    const sound = choice(sources, {
      label: "sound:",
      options: [...Object.keys(CLIPS).map((name) => [name, name]), ["vowel", "a vowel"], ["own", "my word"]],
      value: "seven",
      on: () => alone(take),
    });
    const ownLabel = sound.box.querySelector("label:last-of-type");
    ownLabel.hidden = true; // until there is one
    const singing = element("div", "lab-singing");
    sources.append(singing);
    const mouth = choice(singing, { label: "as in:", options: Object.keys(VOWELS).map((name) => [name, name]), value: "far", on: () => (sing(), again()) });
    const height = slider(singing, { label: "its pitch", min: 80, max: 400, step: 10, value: 100, show: hertz, on: sing });
    press(presses, "Play", () => {
      played = true;
      play(heard, RATE);
    });
    press(presses, "Record my word", async () => {
      const { audio, rate } = await record(asked);
      own = fit(resample(audio, rate, RATE), RATE);
      ownLabel.hidden = false;
      sound.value = "own";
      await take();
    });
    press(presses, "Start again", async () => {
      for (const one of [sound, mouth, height, windows, hop, mels, highest, scale, cut]) one.reset();
      await take();
    });
    const windows = slider(controls, { label: "window", min: 7, max: 12, value: 11, show: length, on: see });
    const hop = slider(controls, { label: "hop", min: 6, max: 10, value: 9, show: length, on: see });
    const mels = slider(controls, { label: "mel bins", min: 8, max: 128, step: 4, value: 64, on: see });
    const highest = slider(controls, { label: "highest tone", min: 1000, max: 16000, step: 25, value: NYQUIST, show: hertz, on: see });
    const cut = slider(controls, { label: "cut tones above", min: 0, max: OFF, value: OFF, show: (at) => (at === OFF ? "none" : hertz(cutAt(at))), on: hear });
    const scale = choice(controls, { label: "mel scale:", options: [["slaney", "Slaney"], ["htk", "HTK"]], value: "slaney", on: see });
    for (const one of [cut, height]) one.input.addEventListener("change", again);

    const panes = element("div", "lab-panes");
    panes.tabIndex = 0;
    panes.setAttribute("role", "application"); // so that a screen reader leaves the arrow keys to the cursor
    panes.setAttribute("aria-label", "Cursor in the pictures. Left and right arrow: time. Up and down: frequency. With Shift: larger steps.");
    const wave = pane(panes, "wave", 70, 6), tones = pane(panes, "tones", ROWS, 6), picture = pane(panes, "picture", 160, TICKS + 8);
    wave.canvas.remove();
    const span = element("div", "lab-span");
    wave.inner.append(span);
    const spectrum = element("div", "lab-spectrum");
    stage.append(panes);
    const said = status(stage);
    const key = "Orange in the waveform is the window around the cursor. In the spectrum the blue teeth are harmonics; the orange curve is what the mouth lets pass, up to 4,500 hertz, and its dots are formants.";
    stage.append(spectrum, element("p", "", key));
    for (const [asked, answer] of TASKS) {
      const task = element("details"), text = element("p");
      task.append(element("summary", "", asked), text);
      text.innerHTML = answer;
      tasks.append(task);
    }

    const mel = (tone) => SCALES[scale.value].mel(tone), back = (place) => SCALES[scale.value].hertz(place);
    const row = (tone) => ((mel(tone) - mel(LOWEST)) / (mel(highest.value) - mel(LOWEST))) * (mels.value + 1) - 0.5; // 0: the lower edge of the lowest bin
    // The cursor's place in each picture with a frequency axis, as a share of its height, and the way back.
    const heights = [
      [tones, (tone) => tone / highest.value, (share) => share * highest.value],
      [picture, (tone) => row(tone) / mels.value, (share) => back(mel(LOWEST) + ((share * mels.value + 0.5) / (mels.value + 1)) * (mel(highest.value) - mel(LOWEST)))],
    ];

    /* Shows what may fail in the status line, as `press` does. */
    function alone(work) {
      work().catch((error) => explain(said, error));
    }

    async function take() {
      asked.textContent = "";
      const name = sound.value;
      singing.hidden = name !== "vowel";
      const taken = name === "vowel" ? vowel(mouth.value, height.value, RATE, 1) : name === "own" ? own : fit((await read(CLIPS[name])).audio, RATE);
      if (name !== sound.value) return; // another was chosen meanwhile
      source = taken;
      begin();
    }

    function sing() {
      source = vowel(mouth.value, height.value, RATE, 1);
      hear();
    }

    /* A new sound: the cursor goes to its loudest moment, and to the first formant there. */
    function begin() {
      cursor.seconds = sound.value === "vowel" ? 0.5 : loudest(source);
      [cursor.hertz = 500] = hills(envelope(around(source, RATE, cursor.seconds, 2 * PIECE), RATE));
      hear();
    }

    function again() {
      if (played) play(heard, RATE);
    }

    function hear() {
      heard = cut.value === OFF ? source : lowPass(source, RATE, cutAt(cut.value));
      const most = Math.max(0.01, heard.reduce((a, b) => Math.max(a, Math.abs(b)), 0));
      plot(
        wave.chart,
        (width) => ({
          ...wave.frame,
          width,
          x: { domain: [0, 1], axis: null },
          y: { domain: [-most, most], ticks: [], label: "waveform" },
          marks: [Plot.areaY(outline(heard, 350), { x: "seconds", y1: "low", y2: "high", fill: "var(--pst-color-primary)", stroke: "var(--pst-color-primary)", strokeWidth: 0.5 })],
        }),
        "Waveform of the sound, one second long.",
      );
      see();
    }

    function see() {
      const [size, step] = [2 ** windows.value, 2 ** hop.value];
      spectra = power(heard, { window: size, hop: step });
      filters = melFilters({ rate: RATE, window: size, mels: mels.value, lowest: LOWEST, highest: highest.value, scale: scale.value });
      const shown = rowsOf(spectra, highest.value), bands = logMel(spectra, filters, RANGE);
      loud = 0;
      for (const one of spectra.values) if (one > loud) loud = one;
      const top = bands.reduce((most, one) => one.reduce((a, b) => Math.max(a, b), most), -Infinity);
      heat(tones.canvas, shown, { low: decibels(loud) - RANGE, high: decibels(loud) });
      heat(picture.canvas, bands, { low: top - RANGE, high: top });
      for (const { canvas } of [tones, picture]) {
        // A frame is centred on its hop, so the first begins half a hop before the sound.
        Object.assign(canvas.style, { left: `${(-50 * step) / RATE}%`, width: `${(100 * spectra.frames * step) / RATE}%` });
      }
      Object.assign(span.style, { width: `${(100 * size) / RATE}%` });
      frames();
      point();
    }

    /* The axes of both pictures, if they are others than before. */
    function frames() {
      const now = [highest.value, mels.value, scale.value].join();
      if (now === axes) return;
      axes = now;
      const ends = { x: { domain: [0, 1] }, y: { domain: [0, highest.value / 1000], label: "spectrogram, kHz", ticks: window.d3.ticks(0, highest.value / 1000, 5).filter((one) => one < (BELOW * highest.value) / 1000) } };
      plot(tones.chart, (width) => ({ ...tones.frame, width, x: { ...ends.x, axis: null }, y: ends.y, marks: [] }), `Spectrogram up to ${hertz(highest.value)}: time to the right, frequency upwards, bright is loud.`);
      const marked = [100, 500, 1000, 2000, 4000, 8000, 16000].filter((tone) => row(tone) >= 0 && row(tone) < BELOW * mels.value);
      plot(
        picture.chart,
        (width) => ({
          ...picture.frame,
          width,
          x: { ...ends.x, label: "seconds", ticks: 5 },
          y: { domain: [0, mels.value], label: "log-mel picture, kHz", ticks: marked.map(row), tickFormat: (_, i) => String(marked[i] / 1000) },
          marks: [],
        }),
        `Log-mel picture of ${mels.value} mel bins up to ${hertz(highest.value)}: time to the right, the mel scale upwards, bright is loud.`,
      );
    }

    /* The cursor: its lines, what it says, and the spectrum of its frame. */
    function point() {
      cursor.seconds = Math.min(1, Math.max(0, cursor.seconds));
      cursor.hertz = Math.min(highest.value, Math.max(LOWEST, cursor.hertz));
      for (const { up } of [wave, tones, picture]) up.style.left = `${100 * cursor.seconds}%`;
      for (const [one, share] of heights) one.across.style.bottom = `${100 * Math.min(1, Math.max(0, share(cursor.hertz)))}%`;
      const size = 2 ** windows.value, frame = Math.min(spectra.frames - 1, Math.round((cursor.seconds * RATE) / 2 ** hop.value));
      span.style.left = `${100 * cursor.seconds - (50 * size) / RATE}%`;
      const level = (k) => decibels(spectra.values[frame * spectra.bins + k]) - decibels(loud);
      const piece = around(heard, RATE, cursor.seconds, PIECE), found = pitch(piece, RATE);
      const sounds = piece.reduce((sum, one) => sum + one * one, 0) / PIECE > FAINT, voiced = sounds && found.unlike < VOICED;
      const whole = cut.value === OFF || cutAt(cut.value) > ENOUGH;
      const curve = voiced && whole ? envelope(around(heard, RATE, cursor.seconds, 2 * PIECE), RATE) : [];
      const formants = hills(curve).slice(0, 2);
      draw(level, curve, formants);
      const at = Math.round(cursor.hertz / (NYQUIST / (spectra.bins - 1))), bin = Math.min(mels.value, Math.max(1, Math.floor(row(cursor.hertz)) + 1));
      const empty = filters.filter(({ weights }) => !weights.length).length;
      said.textContent = [
        `${cursor.seconds.toFixed(2)} s, ${hertz(cursor.hertz)} (mel ${mel(cursor.hertz).toFixed(scale.value === "htk" ? 0 : 1)}, bin ${bin} of ${mels.value}): `,
        at < spectra.bins ? `${Math.round(level(at))} dB below the loudest. `.replace("-", "") : "nothing, this is above the Nyquist frequency. ",
        voiced ? `Pitch ${hertz(found.hertz)}` : sounds ? "No pitch: noise" : "No pitch: silence",
        voiced ? (whole ? `, formants ${formants.map(hertz).join(" and ")}.` : ", formants are cut off.") : ".",
        empty ? ` ${empty} of ${mels.value} mel bins are empty.` : "",
      ].join("");
    }

    function draw(level, curve, formants) {
      const step = NYQUIST / (spectra.bins - 1), line = [];
      for (let k = 0; k < spectra.bins && k * step <= highest.value; k++) line.push([k * step, Math.max(-RANGE, level(k))]);
      // The curve knows no level of its own: its highest hill is put on the spectrum's highest tooth.
      const lift = curve.length ? line.reduce((most, [, one]) => Math.max(most, one), -RANGE) - Math.max(...curve.map((one) => one.decibels)) : 0;
      const hill = curve.filter((one) => one.hertz <= highest.value).map((one) => [one.hertz, one.decibels + lift]);
      const named = hill.filter(([tone]) => formants.includes(tone));
      plot(
        spectrum,
        (width) => ({
          width,
          height: 190,
          marginLeft: LEFT,
          marginRight: 24, // half of the last number
          x: { domain: [0, highest.value], label: "hertz" },
          y: { domain: [-RANGE, 8], label: "spectrum at the cursor, dB" },
          clip: true,
          marks: [
            Plot.ruleX([cursor.hertz], { stroke: "var(--pst-color-text-muted)" }),
            Plot.line(line, { stroke: "var(--pst-color-primary)", strokeWidth: 1 }),
            Plot.line(hill, { stroke: "var(--pst-color-secondary)", strokeWidth: 2.5 }),
            Plot.dot(named, { fill: "var(--pst-color-secondary)", r: 5 }),
          ],
        }),
        formants.length
          ? `Spectrum of the frame at the cursor. The curve of the mouth over it has its first hills at ${formants.map(hertz).join(" and ")}.`
          : "Spectrum of the frame at the cursor.",
      );
    }

    /* ---- The cursor follows mouse, finger and arrow keys ---- */

    function follow(one, share, event) {
      const box = one.inner.getBoundingClientRect();
      cursor.seconds = (event.clientX - box.left) / box.width;
      if (share) cursor.hertz = share(Math.min(1, Math.max(0, (box.bottom - event.clientY) / box.height)));
      point();
    }
    for (const [one, , share] of [[wave, null, null], ...heights]) {
      one.inner.addEventListener("pointerdown", (event) => {
        one.inner.setPointerCapture(event.pointerId);
        follow(one, share, event);
      });
      one.inner.addEventListener("pointermove", (event) => one.inner.hasPointerCapture(event.pointerId) && follow(one, share, event));
    }
    panes.addEventListener("keydown", (event) => {
      const [right, up] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
      if (!right && !up) return;
      event.preventDefault();
      const steps = event.shiftKey ? 5 : 1;
      cursor.seconds += 0.01 * steps * right;
      cursor.hertz = back(mel(cursor.hertz) + ((steps * up) / 128) * (mel(highest.value) - mel(LOWEST)));
      point();
    });

    await take();
  });
})();
