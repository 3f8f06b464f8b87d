/* From samples to pictures, as the course's Python does it, and what a figure needs to know of one moment of a sound.
   power and logMel are `spokendigits.frontend.LogMel`, envelope is `topics.sound.envelope`, pitch is `librosa.yin`, lowPass is
   scipy's `firwin`: a test compares each of them. All are pure: no page is touched here. */
(() => {
  "use strict";
  const spoken = (window.spoken ??= {}); // a test may run this file alone
  const LEAST = 1e-10; // power: nothing has no logarithm
  const decibels = (power) => 10 * Math.log10(Math.max(power, LEAST));

  /* ---- The Fourier transform, for powers of two ---- */

  const plans = new Map(); // by size: where each number goes first, and the turns of every step, one after the other
  function plan(size) {
    if (!plans.has(size)) {
      const order = new Uint32Array(size), cos = new Float64Array(size), sin = new Float64Array(size);
      for (let i = 1; i < size; i++) order[i] = (order[i >> 1] >> 1) | (i & 1 ? size / 2 : 0);
      for (let half = 1; half < size; half *= 2) {
        for (let i = 0; i < half; i++) [cos[half + i], sin[half + i]] = [Math.cos((Math.PI * i) / half), -Math.sin((Math.PI * i) / half)];
      }
      plans.set(size, { order, cos, sin });
    }
    return plans.get(size);
  }

  /* Of numbers that lie in the order of `plan`, at least four, in place: real parts, imaginary parts. */
  function transform(real, imag) {
    const size = real.length, { cos, sin } = plan(size);
    for (let i = 0; i < size; i += 4) {
      // The first two steps turn by quarters alone: nothing is multiplied.
      const a = real[i] + real[i + 1], b = real[i] - real[i + 1], c = real[i + 2] + real[i + 3], d = real[i + 2] - real[i + 3];
      const e = imag[i] + imag[i + 1], f = imag[i] - imag[i + 1], g = imag[i + 2] + imag[i + 3], h = imag[i + 2] - imag[i + 3];
      real[i] = a + c, real[i + 1] = b + h, real[i + 2] = a - c, real[i + 3] = b - h;
      imag[i] = e + g, imag[i + 1] = f - d, imag[i + 2] = e - g, imag[i + 3] = f + d;
    }
    for (let half = 4; half < size; half *= 2) {
      for (let start = 0; start < size; start += 2 * half) {
        for (let i = start, j = start + half, turn = half; turn < 2 * half; i++, j++, turn++) {
          const x = real[j] * cos[turn] - imag[j] * sin[turn], y = real[j] * sin[turn] + imag[j] * cos[turn];
          real[j] = real[i] - x;
          imag[j] = imag[i] - y;
          real[i] += x;
          imag[i] += y;
        }
      }
    }
  }

  /* The transform of numbers in their own order, in place. Backwards, but for a factor, with `real` and `imag` exchanged. */
  function fourier(real, imag) {
    const { order } = plan(real.length);
    order.forEach((j, i) => {
      if (i < j) [real[i], real[j], imag[i], imag[j]] = [real[j], real[i], imag[j], imag[i]];
    });
    transform(real, imag);
  }

  /* ---- Spectrogram, mel filters, decibels ---- */

  const hann = (size) => Float64Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));

  /* The power of each frequency in each frame: {frames, bins, values [frames * bins]}. Windows are Hann's and centred on
     every hop; around the sound are zeros. `window` is a power of two. */
  function power(audio, { window, hop }) {
    const frames = Math.floor(audio.length / hop) + 1, bins = window / 2 + 1;
    const values = new Float32Array(frames * bins), { order } = plan(window);
    const faded = hann(window);
    const real = new Float64Array(window), imag = new Float64Array(window);
    const padded = new Float64Array((frames + 1) * hop + 2 * window);
    padded.set(audio, window / 2);
    const fill = (into, start) => {
      for (let i = 0; i < window; i++) into[order[i]] = faded[i] * padded[start + i];
    };
    for (let frame = 0; frame < frames; frame += 2) {
      // Two frames in one go, one as the imaginary part of the other: a real sound's spectrum is even, and so they come apart.
      fill(real, frame * hop);
      fill(imag, (frame + 1) * hop);
      transform(real, imag);
      for (let k = 0; k < bins; k++) {
        const back = (window - k) % window;
        values[frame * bins + k] = ((real[k] + real[back]) ** 2 + (imag[k] - imag[back]) ** 2) / 4;
        if (frame + 1 < frames) values[(frame + 1) * bins + k] = ((imag[k] + imag[back]) ** 2 + (real[k] - real[back]) ** 2) / 4;
      }
    }
    return { frames, bins, values };
  }

  /* Two mel scales, each with its way back. */
  const STEP = Math.log(6.4) / 27;
  const SCALES = {
    slaney: {
      mel: (hertz) => (hertz < 1000 ? (3 * hertz) / 200 : 15 + Math.log(hertz / 1000) / STEP),
      hertz: (mel) => (mel < 15 ? (200 * mel) / 3 : 1000 * Math.exp(STEP * (mel - 15))),
    },
    htk: {
      mel: (hertz) => 2595 * Math.log10(1 + hertz / 700),
      hertz: (mel) => 700 * (10 ** (mel / 2595) - 1),
    },
  };

  /* Mel filters: of each the first frequency that it takes in, and the weights from there on. Slaney's have equal areas, HTK's equal heights. */
  function melFilters({ rate, window, mels, lowest, highest, scale }) {
    const { mel, hertz } = SCALES[scale], from = mel(lowest), to = mel(highest);
    const edges = Array.from({ length: mels + 2 }, (_, i) => hertz(from + ((to - from) * i) / (mels + 1)));
    return Array.from({ length: mels }, (_, i) => {
      const [left, middle, right] = edges.slice(i, i + 3);
      const height = scale === "slaney" ? 2 / (right - left) : 1;
      let first = 0;
      const weights = [];
      for (let k = 0; k <= window / 2; k++) {
        const tone = (k * Math.floor(rate / 2)) / (window / 2);
        const weight = height * Math.min((tone - left) / (middle - left), (right - tone) / (right - middle));
        if (weight <= 0) continue;
        if (!weights.length) first = k;
        weights.push(weight);
      }
      return { first, weights: Float64Array.from(weights) };
    });
  }

  /* A log-mel picture: rows of decibels, mel bin by mel bin from the lowest, as `LogMel` makes it of `power`. What is quieter than
     `range` decibels below the loudest point is raised to that. */
  function logMel({ frames, bins, values }, filters, range) {
    const rows = filters.map(({ first, weights }) =>
      Float64Array.from({ length: frames }, (_, frame) => {
        const start = frame * bins + first;
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * values[start + k];
        return decibels(sum);
      }),
    );
    const floor = rows.reduce((most, row) => row.reduce((a, b) => Math.max(a, b), most), -Infinity) - range;
    for (const row of rows) row.forEach((value, frame) => (row[frame] = Math.max(value, floor)));
    return rows;
  }

  /* ---- Sounds: a low pass, a vowel ---- */

  const TAPS = 401; // a cut 300 hertz wide, and 70 decibels deep, at the course's rate

  /* `audio` without what lies above `cut` hertz. */
  function lowPass(audio, rate, cut) {
    const half = (TAPS - 1) / 2, share = (2 * cut) / rate;
    const taps = Float64Array.from({ length: half + 1 }, (_, k) => {
      const x = Math.PI * share * k, turn = (Math.PI * (k + half)) / half;
      return (k ? Math.sin(x) / x : 1) * (0.42 - 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn)); // Blackman's window
    });
    const sum = taps.reduce((a, b) => a + 2 * b, -taps[0]);
    const padded = new Float64Array(audio.length + 2 * half), made = new Float32Array(audio.length);
    padded.set(audio, half);
    for (let i = 0; i < made.length; i++) {
      const middle = i + half;
      let value = taps[0] * padded[middle];
      for (let k = 1; k <= half; k++) value += taps[k] * (padded[middle - k] + padded[middle + k]);
      made[i] = value / sum;
    }
    return made;
  }

  /* The first three formants of men's vowels, in hertz (Peterson and Barney, 1952), and two above that hardly move. */
  const VOWELS = {
    see: [270, 2290, 3010],
    bed: [530, 1840, 2480],
    far: [730, 1090, 2440],
    saw: [570, 840, 2410],
    too: [300, 870, 2240],
  };
  const WIDTHS = [60, 90, 150, 200, 250], ABOVE = [3500, 4500]; // hertz

  /* A vowel [seconds * rate]: pulses of the vocal folds, softened, through one resonator a formant. The loudest sample is 0.5. */
  function vowel(name, pitch, rate, seconds) {
    let sound = new Float64Array(Math.round(seconds * rate));
    for (let place = 0; place < sound.length - 1; place += rate / pitch) {
      const share = place % 1; // a pulse between two samples is shared by them
      sound[Math.floor(place)] += 1 - share;
      sound[Math.floor(place) + 1] += share;
    }
    for (let i = 1; i < sound.length; i++) sound[i] += 0.97 * sound[i - 1]; // a voice is weaker at its high tones
    [...VOWELS[name], ...ABOVE].forEach((formant, number) => {
      const radius = Math.exp((-Math.PI * WIDTHS[number]) / rate);
      const near = 2 * radius * Math.cos((2 * Math.PI * formant) / rate), far = -radius * radius;
      for (let i = 0; i < sound.length; i++) {
        sound[i] = (1 - near - far) * sound[i] + near * (sound[i - 1] ?? 0) + far * (sound[i - 2] ?? 0);
      }
    });
    const fade = Math.round(0.03 * rate), last = sound.length - 1;
    sound = sound.map((value, i) => value * Math.min(1, i / fade, (last - i) / fade));
    const most = sound.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    return Float32Array.from(sound, (value) => (0.5 * value) / most);
  }

  /* ---- One moment: pitch and formants ---- */

  /* `samples` of a sound around the moment `seconds`; what lies outside is zero. */
  function around(audio, rate, seconds, samples) {
    const start = Math.round(seconds * rate) - samples / 2;
    return Float32Array.from({ length: samples }, (_, i) => audio[start + i] ?? 0);
  }

  /* The pitch of a short sound: {hertz, unlike}. `unlike`: how much a period differs from the next, 0 for a perfect repeat (YIN). */
  function pitch(frame, rate, { lowest = 60, highest = 500, trough = 0.1 } = {}) {
    const shortest = Math.floor(rate / highest), longest = Math.ceil(rate / lowest);
    const alike = (lag) => {
      let sum = 0;
      for (let i = lag; i < frame.length; i++) sum += frame[i] * frame[i - lag];
      return sum;
    };
    const whole = alike(0), unlike = [];
    for (let lag = 1, left = 0, total = 0; lag <= longest; lag++) {
      left += frame[lag - 1] ** 2;
      const differs = 2 * (whole - alike(lag)) - left;
      total += differs;
      if (lag >= shortest) unlike.push(differs / (total / lag + 1e-30));
    }
    const low = (i) => unlike[i] < trough && (i === 0 || unlike[i] < unlike[i - 1]) && i + 1 < unlike.length && unlike[i] <= unlike[i + 1];
    let best = unlike.findIndex((_, i) => low(i));
    if (best < 0) best = unlike.indexOf(unlike.reduce((a, b) => Math.min(a, b)));
    let shift = 0; // the bottom of a parabola through three lags
    if (best > 0 && best < unlike.length - 1) {
      const bend = unlike[best + 1] + unlike[best - 1] - 2 * unlike[best], slope = (unlike[best + 1] - unlike[best - 1]) / 2;
      if (Math.abs(slope) < Math.abs(bend)) shift = -slope / bend;
    }
    return { hertz: rate / (shortest + best + shift), unlike: unlike[best] };
  }

  /* Weights that foretell each sample from those before it (linear prediction, by Burg's method). */
  function prediction(sound, order) {
    let ahead = sound.slice(1), behind = sound.slice(0, -1), weights = [1];
    let energy = ahead.reduce((sum, one, i) => sum + one * one + behind[i] * behind[i], 0);
    for (let i = 0; i < order; i++) {
      const turn = (-2 * ahead.reduce((sum, one, j) => sum + one * behind[j], 0)) / (energy + 1e-30);
      weights = [...weights, 0].map((one, j, all) => one + turn * all[i + 1 - j]);
      const before = ahead;
      ahead = before.map((one, j) => one + turn * behind[j]);
      behind = behind.map((one, j) => one + turn * before[j]);
      energy = (1 - turn * turn) * energy - behind.at(-1) ** 2 - ahead[0] ** 2;
      ahead = ahead.slice(1);
      behind = behind.slice(0, -1);
    }
    return weights;
  }

  const LIMIT = 4500, POINTS = 512, ORDER = 12;
  /* What mouth and throat make of a short sound: [{hertz, decibels}], 512 of them up to 4,500 hertz. */
  function envelope(frame, rate) {
    const slow = Float64Array.from(spoken.resample(frame, rate, 2 * LIMIT)), last = slow.length - 1;
    const raised = slow.map((one, i) => (one - 0.97 * (i ? slow[i - 1] : (slow[1] - 2 * slow[0]) / 0.97)) * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / last)));
    const weights = prediction(raised, ORDER);
    return Array.from({ length: POINTS }, (_, i) => {
      let real = 0, imag = 0;
      weights.forEach((one, k) => {
        real += one * Math.cos((Math.PI * i * k) / POINTS);
        imag += one * Math.sin((Math.PI * i * k) / POINTS);
      });
      return { hertz: (i * LIMIT) / POINTS, decibels: -decibels(real * real + imag * imag) };
    });
  }

  /* The hills of an envelope, in hertz, from the lowest. */
  const hills = (curve) =>
    curve.filter((one, i) => i && i < curve.length - 1 && one.decibels > curve[i - 1].decibels && one.decibels >= curve[i + 1].decibels).map((one) => one.hertz);

  spoken.frontend = { SCALES, VOWELS, around, decibels, envelope, fourier, hann, hills, logMel, lowPass, melFilters, pitch, power, vowel };
})();
