/* Sound disturbed as topics/robustness.py does it; a test compares each disturbance with Python.
   All take and give samples [n] at one rate; `length` are the samples of the word, without what follows it. */
(() => {
  "use strict";
  if (!window.spoken?.read || !window.spoken.frontend) return; // a script of this book is missing
  const { BUILT, centred, fit, mean, read, resample } = window.spoken;
  const { SCALES, fourier, hann, logMel, melFilters, power } = window.spoken.frontend;

  /* The spectra of windows around every `hop` samples, zeros beyond either end: [{re, im}]. */
  function spectra(audio, size, hop) {
    const window = hann(size), padded = new Float64Array(audio.length + size);
    padded.set(audio, size / 2);
    return Array.from({ length: 1 + Math.floor(audio.length / hop) }, (_, frame) => {
      const re = padded.slice(frame * hop, frame * hop + size), im = new Float64Array(size);
      for (let i = 0; i < size; i++) re[i] *= window[i];
      fourier(re, im);
      return { re, im };
    });
  }

  /* The log-mel picture of a recipe, in decibels: a row for each mel bin. */
  function pictureOf(audio, { sample_rate, window, hop, n_mels, f_min, f_max, top_db }) {
    const filters = melFilters({ rate: sample_rate, window, mels: n_mels, lowest: f_min, highest: f_max, scale: "slaney" });
    return logMel(power(audio, { window, hop }), filters, top_db);
  }

  /* ---- Disturbances: robustness.py ---- */

  /* As loud as it is, unless it would leave -1..1: then the whole of it is made quieter. */
  function unclipped(audio) {
    const peak = audio.reduce((most, one) => Math.max(most, Math.abs(one)), 1);
    return Float32Array.from(audio, (one) => one / peak);
  }

  /* White noise [samples] of power 1, the same for the same number (mulberry32, then Box and Muller's way to a normal distribution). */
  function white(samples, number) {
    let state = number >>> 0;
    const draw = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return (((mixed ^ (mixed >>> 14)) >>> 0) + 1) / 4294967297;
    };
    return Float32Array.from({ length: samples }, () => Math.sqrt(-2 * Math.log(draw())) * Math.cos(2 * Math.PI * draw()));
  }

  /* Noise added so that the word's power stands `decibels` above it; the noise goes on after the word. */
  function addNoise(audio, noise, decibels, length) {
    let voice = 0, loud = 0;
    for (let i = 0; i < length; i++) {
      voice += audio[i] ** 2;
      loud += noise[i] ** 2;
    }
    const gain = voice > 0 ? Math.sqrt(voice / loud) * 10 ** (-decibels / 20) : 0;
    return unclipped(audio.map((one, i) => one + gain * noise[i]));
  }

  /* What a room makes of it, given the room's impulse response. */
  function echo(audio, response) {
    const size = 2 ** Math.ceil(Math.log2(audio.length + response.length));
    const re = new Float64Array(size), im = new Float64Array(size);
    re.set(audio);
    im.set(response); // two real transforms in one: the sum of z(k) and its mirror is the first, the difference the second
    fourier(re, im);
    const outRe = new Float64Array(size), outIm = new Float64Array(size);
    for (let k = 0; k < size; k++) {
      const mirror = (size - k) % size;
      const a = (re[k] + re[mirror]) / 2, b = (im[k] - im[mirror]) / 2, c = (im[k] + im[mirror]) / 2, d = (re[mirror] - re[k]) / 2;
      outRe[k] = a * c - b * d;
      outIm[k] = a * d + b * c;
    }
    fourier(outIm, outRe);
    return unclipped(outRe.subarray(0, audio.length).map((one) => one / size));
  }

  const WIDTH = 6, ROLLOFF = 0.99;
  /* `audio` of rate `from` at rate `to`, both small whole numbers, by torchaudio's own resampler: blunter than spoken.resample, and that can be heard on a telephone. */
  function bluntly(audio, from, to) {
    const base = Math.min(from, to) * ROLLOFF, width = Math.ceil((WIDTH * from) / base);
    const kernels = Array.from({ length: to }, (_, phase) =>
      Float64Array.from({ length: 2 * width + from }, (_, i) => {
        const t = Math.max(-WIDTH, Math.min(WIDTH, base * ((i - width) / from - phase / to)));
        return ((t ? Math.sin(Math.PI * t) / (Math.PI * t) : 1) * Math.cos((Math.PI * t) / (2 * WIDTH)) ** 2 * base) / from;
      }),
    );
    const padded = new Float64Array(audio.length + 2 * (width + from)), made = new Float32Array(Math.ceil((audio.length * to) / from));
    padded.set(audio, width);
    for (let i = 0; i < made.length; i++) {
      const kernel = kernels[i % to], start = from * Math.floor(i / to);
      let sum = 0;
      for (let k = 0; k < kernel.length; k++) sum += kernel[k] * padded[start + k];
      made[i] = sum;
    }
    return made;
  }

  /* A telephone's band and its coding. sections: scipy's second-order sections of the band; line: the telephone's sample rate; steps: of its mu-law. */
  function telephone(audio, rate, { sections, line, steps }) {
    let narrow = Float64Array.from(bluntly(audio, rate / line, 1));
    for (const [b0, b1, b2, , a1, a2] of sections) {
      let z1 = 0, z2 = 0;
      narrow = narrow.map((one) => {
        const out = b0 * one + z1;
        z1 = b1 * one - a1 * out + z2;
        z2 = b2 * one - a2 * out;
        return out;
      });
    }
    const mu = steps - 1;
    const coded = narrow.map((one) => {
      const short = (Math.sign(one) * Math.log1p(mu * Math.min(1, Math.abs(one)))) / Math.log1p(mu);
      const step = (2 * Math.floor(((short + 1) / 2) * mu + 0.5)) / mu - 1;
      return (Math.sign(step) * Math.expm1(Math.abs(step) * Math.log1p(mu))) / mu;
    });
    const back = new Float32Array(audio.length);
    back.set(bluntly(coded, 1, rate / line).subarray(0, audio.length));
    return unclipped(back);
  }

  /* The fraction nearest to a number, its denominator 100 at most: [numerator, denominator]. */
  function fraction(number) {
    let best = [Math.round(number), 1];
    for (let below = 2; below <= 100; below++) {
      const above = Math.round(number * below);
      if (Math.abs(above / below - number) < Math.abs(best[0] / best[1] - number)) best = [above, below];
    }
    return best;
  }

  /* Higher by so many semitones, as long as before; the formants move along. Faster first, then slower by a phase vocoder. */
  function higher(audio, rate, semitones, length) {
    const [above, below] = fraction(2 ** (semitones / 12)), ratio = above / below;
    const size = 2 ** Math.round(Math.log2(0.04 * rate)), hop = size / 4, half = size / 2;
    const short = Math.ceil((length * below) / above), faster = new Float32Array(short + size);
    faster.set(bluntly(audio, above, below).subarray(0, short));
    const known = spectra(faster, size, hop).map(({ re, im }) => ({
      loud: Float64Array.from({ length: half + 1 }, (_, k) => Math.sqrt(re[k] * re[k] + im[k] * im[k])),
      angle: Float64Array.from({ length: half + 1 }, (_, k) => Math.atan2(im[k], re[k])),
    }));
    const silence = { loud: new Float64Array(half + 1), angle: new Float64Array(half + 1) };
    const frames = Math.ceil(known.length * ratio), window = hann(size);
    const made = new Float64Array(frames * hop + size), weight = new Float64Array(made.length);
    const phase = known[0].angle.slice();
    for (let frame = 0; frame < frames; frame++) {
      const place = frame / ratio, at = Math.floor(place), between = place - at;
      const one = known[at], next = known[at + 1] ?? silence;
      const re = new Float64Array(size), im = new Float64Array(size);
      for (let k = 0; k <= half; k++) {
        const loud = between * next.loud[k] + (1 - between) * one.loud[k];
        re[k] = loud * Math.cos(phase[k]);
        if (k % half) {
          im[k] = loud * Math.sin(phase[k]);
          re[size - k] = re[k];
          im[size - k] = -im[k];
        }
        const advance = (Math.PI * hop * k) / half, off = next.angle[k] - one.angle[k] - advance;
        phase[k] += advance + off - 2 * Math.PI * Math.round(off / (2 * Math.PI));
      }
      fourier(im, re);
      for (let i = 0; i < size; i++) {
        made[frame * hop + i] += (window[i] * re[i]) / size;
        weight[frame * hop + i] += window[i] * window[i];
      }
    }
    const out = new Float32Array(audio.length);
    for (let i = 0; i < length && i + half < made.length; i++) out[i] = made[i + half] / Math.max(weight[i + half], 1e-11);
    return unclipped(out);
  }

  /* ---- All of them, one after another ---- */

  /* What is disturbed with, each part brought when it is first needed. */
  const brought = new Map();
  const bring = (name, make) => brought.get(name) ?? brought.set(name, make()).get(name);
  const facts = () => read("break.json");
  const babble = async () => (await read("break-babble.flac")).audio;
  const rooms = () =>
    bring("rooms", async () => {
      const packed = Object.entries(await read("break-rooms.json"));
      return new Map(
        packed.map(([t60, text]) => {
          const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
          return [Number(t60), Float32Array.from(new Int16Array(bytes.buffer), (one) => one / 32767)];
        }),
      );
    });

  /* A sound as such a clip, at the models' sample rate: {audio [samples], length}. */
  async function clipOf({ audio, rate }) {
    const { samples } = await facts(), sound = resample(centred(audio), rate, BUILT.spotter.recipe.sample_rate);
    return { audio: fit(sound, samples), length: Math.min(sound.length, samples) };
  }

  /* Gives what disturbs clips with all that is set: a voice in a room, beside a noise, over a line. What did not change is not computed again.
     pitch: semitones; t60: seconds, or 0; kind: "white" or "babble", at so many decibels or Infinity; line: "telephone", or "". */
  function disturber() {
    let known = [];
    return async (clip, { pitch = 0, t60 = 0, kind = "white", decibels = Infinity, line = "" }) => {
      const rate = BUILT.spotter.recipe.sample_rate, samples = clip.audio.length;
      const noise = decibels === Infinity ? null : kind === "babble" ? await babble() : bring("white", () => white(samples, 1));
      const response = t60 ? (await rooms()).get(t60) : null, phone = line ? (await facts()).telephone : null;
      const steps = [
        [pitch, (audio) => (pitch ? higher(audio, rate, pitch, clip.length) : audio)],
        [t60, (audio) => (response ? echo(audio, response) : audio)],
        [`${kind} ${decibels}`, (audio) => (noise ? addNoise(audio, noise, decibels, clip.length) : audio)],
        [line, (audio) => (phone ? telephone(audio, rate, phone) : audio)],
      ];
      let audio = clip.audio;
      known = steps.map(([setting, change], place) => {
        const before = known[place];
        const now = before?.given === audio && before.setting === setting ? before : { given: audio, setting, made: change(audio) };
        audio = now.made;
        return now;
      });
      return audio;
    };
  }

  /* As it is played: no louder than the clip itself. */
  function quieter(audio, clip) {
    const loud = (sound) => mean(sound.map((one) => one * one));
    const gain = Math.min(1, Math.sqrt(loud(clip.audio) / Math.max(loud(audio), 1e-12)));
    return audio.map((one) => gain * one);
  }

  const signed = (decibels) => (decibels === Infinity ? "none" : `${decibels < 0 ? "\u2212" : ""}${Math.abs(decibels)}\u00a0dB`);

  /* A slider for noise: 0 is none, at 1 the voice lies 30 dB above it, and each step is 3 dB more of it. `on` hears these decibels. */
  const LEAST = 30, STEP = 3, STEPS = 17;
  const decibelsOf = (steps) => (steps ? LEAST - STEP * (steps - 1) : Infinity);
  function noiseOf(decibels) {
    if (decibels === Infinity) return "none";
    return decibels ? `${Number((10 ** (-decibels / 10)).toPrecision(2))} times the voice` : "as strong as the voice";
  }
  function noiseSlider(place, { label, decibels = Infinity, show = noiseOf, on }) {
    const value = decibels === Infinity ? 0 : (LEAST - decibels) / STEP + 1;
    const control = window.spoken.slider(place, { label, min: 0, max: STEPS, value, show: (steps) => show(decibelsOf(steps)), on: (steps) => on(decibelsOf(steps)) });
    return { input: control.input, reset: control.reset, get decibels() { return decibelsOf(control.value); } };
  }

  /* Where in the picture's height a tone lies, 0 at the bottom. */
  const heightOf = (hertz, { f_min, f_max }) => {
    const [place, low, high] = [hertz, f_min, f_max].map(SCALES.slaney.mel);
    return (place - low) / (high - low);
  };

  /* A place for log-mel pictures of clips: gives what draws one, with the text that says what it shows. The line is the highest tone that the model listens to. */
  async function pictureIn(place, line = true) {
    const { picture } = await facts(), { element, heat } = window.spoken, { sample_rate, f_max } = BUILT.spotter.recipe;
    const box = element("div", "break-picture"), canvas = element("canvas"), axis = element("div", "break-axis");
    canvas.setAttribute("role", "img");
    box.append(canvas);
    if (line) {
      const mark = element("div", "break-mark");
      mark.style.bottom = `${100 * heightOf(f_max, picture)}%`;
      mark.append(element("span", "", "the model hears nothing above this line"));
      box.append(mark);
    }
    place.append(box, axis);
    axis.append(element("span", "", "0 s"), element("span", "", "time"), element("span"));
    return (audio, text) => {
      const rows = pictureOf(audio, picture), high = rows.reduce((most, row) => Math.max(most, ...row), -Infinity);
      heat(canvas, rows, { low: high - 60, high });
      canvas.setAttribute("aria-label", text);
      axis.lastChild.textContent = `${audio.length / sample_rate} s`;
    };
  }

  Object.assign(window.spoken, { addNoise, clipOf, disturber, echo, higher, noiseOf, noiseSlider, pictureIn, pictureOf, quieter, signed, telephone, white });
})();
