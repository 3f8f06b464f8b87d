/* The page "Say a digit": listens, finds the words, asks the model, shows its answer. All of it on this computer.
   What is computed here has a twin in Python, and a test compares the two: findWords is vad.find_words, fit is clips.fit,
   oneWord and wordsIn are those of decoding, resample stands for soxr. Picture and chances come from the models themselves.
   built.js, written with the book, says what is there: the models' recipes and thresholds, the constants of findWords. */
(() => {
  "use strict";
  const HERE = new URL(".", document.currentScript.src).href;
  const BUILT = window.SAY_BUILT;
  const LONGEST_RECORDING = 12; // seconds
  const PAUSE = 1.0; // seconds of quiet that end a recording
  const TURN = 0.15; // seconds between two looks at what has been said so far
  const LONGEST_FILE = 15; // seconds
  const LARGEST_FILE = 50e6; // bytes; decoded, it takes many times that
  const SILENT = -100; // dB
  const NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
  const ELSE = "Or try a sample, or choose a file.";
  const SAID = {
    denied: `The browser did not let this page listen. Allow the microphone beside the page's address, then press the button again. ${ELSE}`,
    noMicrophone: `No microphone was found. Connect one, then press the button again. ${ELSE}`,
    busyMicrophone: `Another program holds the microphone. Close it, then press the button again. ${ELSE}`,
    insecure: `This browser gives no page the microphone at this kind of address. Open the book from a disk or over https. ${ELSE}`,
    silence: "There is no sound in it at all. Is the microphone, or the recording, muted? Switch it on, then try again.",
    quiet: "That was too quiet. Come closer to the microphone, or speak up, then try again.",
    click: "There was only a short click. Say a digit, from zero to nine, then try again.",
    notDigit: "That was not a digit, as far as this model can tell. Say one from zero to nine, in English.",
    oddWav: "This WAV file holds sound in a form that browsers cannot read. Save it as WAV with 16 bits (PCM), then try again.",
    notAudio: "This file holds no recording that the browser can read. Choose a WAV, FLAC, MP3 or Ogg file.",
    oldBrowser: "This browser is too old to run the model. Take a newer one: Firefox, Chrome, Edge or Safari of 2023 or later.",
    broken: "Something went wrong in this page. Load it again; if that does not help, try another browser.",
    failed: "The model could not be started in this browser. Load the page again; if that does not help, try another browser.",
  };
  const minute = (seconds) =>
    `This recording lasts ${Math.round(seconds)} seconds, and this page reads at most ${LONGEST_FILE}. ` +
    "Cut out a part, or let `spokendigits predict FILE` read all of it.";
  const tooLarge = (bytes) =>
    `This file has ${Math.round(bytes / 1e6)} MB: too much for this page. Choose a recording of a few seconds.`;
  const lost = (name) => `The file ${name} of this book is missing or damaged. Copy the whole folder of the book again.`;

  /* An error whose message is meant for the reader. */
  class Told extends Error {}

  /* ---- Sound: decode, resample, find the word, fit it to one clip ---- */

  /* The sample rate that a file names, for the browser resamples all that it decodes to a rate that it is given; and
     whether it is a WAV of a rare form, which browsers misread or refuse. */
  function header(buffer) {
    const bytes = new DataView(buffer);
    const text = (start) => (start + 4 <= bytes.byteLength ? String.fromCharCode(...new Uint8Array(buffer, start, 4)) : "");
    let rate = 0, odd = false;
    if (text(0) === "RIFF" && text(8) === "WAVE") {
      for (let at = 12; at + 16 <= bytes.byteLength; at += 8 + bytes.getUint32(at + 4, true) + (bytes.getUint32(at + 4, true) % 2)) {
        if (text(at) === "fmt ") {
          rate = bytes.getUint32(at + 12, true);
          odd = ![1, 3, 6, 7, 0xfffe].includes(bytes.getUint16(at + 8, true)) || (at + 24 <= bytes.byteLength && bytes.getUint16(at + 22, true) > 32);
          break;
        }
      }
    } else if (text(0) === "fLaC" && bytes.byteLength > 21) {
      rate = bytes.getUint32(18) >>> 12;
    }
    const usual = rate >= 3000 && rate <= 192000 && rate % 25 === 0; // of other rates, `resample` would need too many phases
    return { rate: usual ? rate : 48000, odd, reversed: text(0) === "RIFX" };
  }

  /* The bytes of an audio file: {audio: Float32Array, mono, rate}. */
  async function decode(buffer) {
    const { rate, odd, reversed } = header(buffer);
    let sound;
    if (reversed) throw new Told(SAID.oddWav);
    try {
      try {
        sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(buffer.slice(0));
      } catch (error) {
        if (error.name !== "NotSupportedError") throw error; // a rate that this browser does not take
        sound = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(buffer.slice(0));
      }
    } catch {
      throw new Told(odd ? SAID.oddWav : SAID.notAudio);
    }
    if (!sound.length) throw new Told(SAID.notAudio);
    const channels = Array.from({ length: sound.numberOfChannels }, (_, channel) => centred(sound.getChannelData(channel)));
    return { audio: mono(channels), rate: sound.sampleRate };
  }

  const mean = (numbers) => numbers.reduce((sum, one) => sum + one, 0) / numbers.length;

  /* Around zero: without a sound card's constant, on which mean and median agree. */
  function centred(audio) {
    const sorted = audio.slice().sort(), half = (audio.length - 1) / 2;
    const median = (sorted[Math.floor(half)] + sorted[Math.ceil(half)]) / 2, average = mean(audio);
    const middle = Math.abs(median) < Math.abs(average) ? median : average;
    return audio.map((one) => one - middle);
  }

  /* The channels' average; of channels that cancel each other, the loudest. */
  function mono(channels) {
    const audio = channels[0].map((_, i) => channels.reduce((sum, one) => sum + one[i], 0) / channels.length);
    if (!audio.every(Number.isFinite)) throw new Told(SAID.notAudio);
    const power = (one) => one.reduce((sum, value) => sum + value * value, 0) / one.length;
    const powers = channels.map(power);
    const cancel = channels.length > 1 && power(audio) < (BUILT.words.cancel * mean(powers)) / channels.length;
    return cancel ? channels[powers.indexOf(Math.max(...powers))] : audio;
  }

  /* Kaiser's window at x, -1..1. */
  const BETA = 11.5; // leaves nothing above -115 dB
  function bessel(x) {
    let sum = 1, term = 1;
    for (let k = 1; term > 1e-12 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
    return sum;
  }
  const WHOLE = bessel(BETA);
  const kaiser = (x) => bessel(BETA * Math.sqrt(Math.max(0, 1 - x * x))) / WHOLE;

  /* What takes sound of rate `from` to rate `to`: a windowed sinc. As soxr's HQ: flat up to 0.913 of the lower Nyquist frequency. */
  const filters = new Map(); // as making one takes longer than using it
  function filter(from, to) {
    const name = `${from} ${to}`;
    if (filters.has(name)) return filters.get(name);
    const gcd = (a, b) => (b ? gcd(b, a % b) : a);
    const up = to / gcd(from, to), down = from / gcd(from, to);
    const lower = Math.min(1, to / from);
    const cut = 0.9565 * lower; // between 0.913 and 1
    const reach = Math.ceil(86 / lower); // samples to either side
    const phases = Array.from({ length: up }, (_, phase) => {
      const taps = new Float64Array(2 * reach);
      for (let k = 0; k < taps.length; k++) {
        const t = k - reach + 1 - phase / up;
        const x = Math.PI * cut * t;
        taps[k] = cut * (Math.abs(x) < 1e-9 ? 1 : Math.sin(x) / x) * kaiser(t / reach);
      }
      return taps;
    });
    filters.set(name, { up, down, reach, phases });
    return filters.get(name);
  }

  /* `audio` of rate `from` at rate `to`. */
  function resample(audio, from, to) {
    if (from === to) return audio;
    const { up, down, reach, phases } = filter(from, to);
    const made = new Float32Array(Math.floor((audio.length * to) / from + 0.5));
    for (let i = 0; i < made.length; i++) {
      const place = i * down, phase = place % up;
      const start = (place - phase) / up - reach + 1;
      const taps = phases[phase];
      const first = Math.max(0, -start), last = Math.min(taps.length, audio.length - start);
      let sum = 0;
      for (let k = first; k < last; k++) sum += taps[k] * audio[start + k];
      made[i] = sum;
    }
    return made;
  }

  /* The level of every hundredth of a second, in dB of full scale. */
  function levels(audio, rate) {
    const { frames, faintest } = BUILT.words;
    const size = Math.floor(rate / frames);
    return Float64Array.from({ length: Math.floor(audio.length / size) }, (_, frame) => {
      let sum = 0;
      for (let i = frame * size; i < (frame + 1) * size; i++) sum += audio[i] * audio[i];
      return 10 * Math.log10(sum / size + faintest);
    });
  }

  /* numpy's percentile of sorted values, linear between two of them. */
  function percentile(sorted, share) {
    const place = share * (sorted.length - 1), low = Math.floor(place);
    return sorted[low] + (place - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
  }

  /* The spoken parts of a recording: [{start, end}] in seconds, and its loudest level in dB. */
  const findWords = (audio, rate) => wordsOf(levels(centred(audio), rate), rate, audio.length);

  /* findWords for a recording of so many samples whose levels are known. */
  function wordsOf(found, rate, samples) {
    const { frames, quiet, floor, above_floor, below_peak, least, headroom, gap, shortest, margin } = BUILT.words;
    const peak = found.length ? found.reduce((a, b) => Math.max(a, b)) : SILENT;
    if (peak < quiet) return { words: [], peak };
    const background = percentile(found.slice().sort(), floor / 100);
    const threshold = Math.min(Math.max(background + above_floor, peak - below_peak, least), peak - headroom);
    const runs = [];
    found.forEach((level, frame) => {
      if (level <= threshold) return;
      const run = runs.at(-1);
      if (run && frame - run.end < Math.round(gap * frames)) run.end = frame + 1;
      else runs.push({ start: frame, end: frame + 1 });
    });
    const size = Math.floor(rate / frames) / rate;
    const words = runs
      .filter((run) => run.end - run.start >= Math.round(shortest * frames))
      .map((run) => ({
        start: Math.max(0, run.start * size - margin),
        end: Math.min(samples / rate, run.end * size + margin),
      }));
    return { words, peak };
  }

  /* Exactly `samples` long: zeros on the right, or the loudest stretch of what is longer. */
  function fit(audio, samples) {
    if (audio.length <= samples) {
      const clip = new Float32Array(samples);
      clip.set(audio);
      return clip;
    }
    let energy = 0;
    for (let i = 0; i < samples; i++) energy += audio[i] ** 2;
    let best = energy, start = 0;
    for (let i = samples; i < audio.length; i++) {
      energy += audio[i] ** 2 - audio[i - samples] ** 2;
      if (energy > best) [best, start] = [energy, i - samples + 1];
    }
    return audio.slice(start, start + samples);
  }

  /* ---- The model: scripts with its parts, put together when they are first needed ---- */

  const arrived = new Map(); // name of a script: what it carries
  window.sayPart = (name, number, text) => arrived.set(`${name}-${number}`, text);

  function runScript(file) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = HERE + file;
      script.onload = () => resolve(script.remove());
      script.onerror = () => reject(new Told(lost(file), script.remove()));
      document.head.append(script);
    });
  }

  /* The bytes of one part of the build, from its scripts. `moved` hears how many characters have come. */
  async function part(name, { scripts, bytes }, moved = () => {}) {
    const texts = [];
    for (let number = 0; number < scripts; number++) {
      const key = `${name}-${number}`;
      if (!arrived.has(key)) await runScript(`${key}.js`);
      if (!arrived.has(key)) throw new Told(lost(`${key}.js`)); // cut short, so it did not run
      texts.push(arrived.get(key));
      moved(texts.at(-1).length);
    }
    if (texts.reduce((sum, text) => sum + text.length, 0) !== bytes) throw new Told(lost(`${name}-0.js`));
    try {
      const packed = Uint8Array.from(atob(texts.join("")), (letter) => letter.charCodeAt(0));
      return await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
    } catch {
      for (let number = 0; number < scripts; number++) arrived.delete(`${name}-${number}`);
      throw new Told(lost(`${name}-0.js`)); // gzip checks what it unpacks
    }
  }

  const sessions = new Map(); // by the name of the model
  let runtime = null; // the bytes of what runs them
  let turn = Promise.resolve(); // one load at a time: each finds what the one before it brought

  /* The parts that a model still needs. */
  const needed = (name) => [...(runtime ? [] : ["loader", "runtime"]), ...(sessions.has(name) ? [] : [name])];

  /* Loads the runtime once, and a model once: "spotter", or "small". `show` hears the share that has come, and null while they start. */
  function load(name = "spotter", show = () => {}) {
    const mine = turn.then(() => sessions.get(name) ?? bring(name, show));
    turn = mine.catch(() => {});
    return mine;
  }

  async function bring(name, show) {
    if (typeof WebAssembly !== "object" || typeof DecompressionStream !== "function") throw new Told(SAID.oldBrowser);
    const all = needed(name).reduce((sum, one) => sum + BUILT.parts[one].bytes, 0);
    let come = 0;
    const moved = (characters) => show((come += characters) / all);
    show(0);
    if (!window.ort) await runScript("ort.wasm.min.js");
    if (!window.ort) throw new Told(lost("ort.wasm.min.js"));
    const { env, InferenceSession } = window.ort;
    const bytes = {};
    for (const one of needed(name)) bytes[one] = await part(one, BUILT.parts[one], moved);
    show(null);
    await new Promise((resolve) => setTimeout(resolve, 30)); // so that the page shows it
    if (!runtime) {
      runtime = bytes.runtime;
      env.wasm.numThreads = 1; // more would need headers that a disk and most servers do not send
      env.wasm.wasmBinary = runtime;
      env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([bytes.loader], { type: "text/javascript" })) };
      env.logLevel = "error";
    }
    try {
      const model = await InferenceSession.create(new Uint8Array(bytes[name]), { executionProviders: ["wasm"] });
      await model.run(waveform(new Float32Array(BUILT[name].recipe.samples))); // the first time is slow
      sessions.set(name, model);
    } catch (error) {
      console.error(error);
      throw new Told(SAID.failed);
    }
    arrived.clear();
    return sessions.get(name);
  }

  const waveform = (audio, clips = 1) => ({ waveform: new window.ort.Tensor("float32", audio, [clips, audio.length / clips]) });

  /* What the spotter makes of sound at its rate, of any length: {logarithms, embedding, picture}, rows of numbers as in Python. */
  async function hear(audio) {
    const model = await load();
    const found = await model.run(waveform(audio));
    const rows = ({ data, dims }) => Array.from({ length: dims.at(-2) }, (_, i) => data.slice(i * dims.at(-1), (i + 1) * dims.at(-1)));
    return { logarithms: rows(found.log_probabilities), embedding: rows(found.embedding), picture: rows(found.picture) };
  }

  /* What the small network says of some clips, each Float32Array [samples]. */
  async function ask(clips) {
    const { samples } = BUILT.small.recipe;
    const batch = new Float32Array(clips.length * samples);
    clips.forEach((clip, i) => batch.set(clip, i * samples));
    const model = await load("small");
    const found = await model.run(waveform(batch, clips.length));
    const size = found.picture.data.length / clips.length;
    return clips.map((clip, i) => ({
      clip,
      logProbabilities: found.log_probabilities.data.slice(i * 10, (i + 1) * 10),
      score: found.score.data[i],
      picture: found.picture.data.slice(i * size, (i + 1) * size),
    }));
  }

  /* ---- From the symbols' chances over time to words: decoding.py ---- */

  const OTHER = 10, BLANK = 11;
  const STEP = 0.08, FIRST = -0.06; // seconds
  const most = (numbers) => numbers.reduce((best, one, i, all) => (one > all[best] ? i : best), 0);

  function sumOfLogarithms(a, b) {
    const high = Math.max(a, b);
    return high === -Infinity ? high : high + Math.log(Math.exp(a - high) + Math.exp(b - high));
  }

  /* The chances [12] of one word at most: each digit, another word, nothing. */
  function oneWord(logarithms) {
    const during = new Array(BLANK).fill(-Infinity), after = new Array(BLANK).fill(-Infinity);
    let before = 0;
    for (const step of logarithms) {
      for (let symbol = 0; symbol < BLANK; symbol++) {
        after[symbol] = sumOfLogarithms(after[symbol], during[symbol]) + step[BLANK];
        during[symbol] = sumOfLogarithms(during[symbol], before) + step[symbol];
      }
      before += step[BLANK];
    }
    const sums = [...during.map((one, symbol) => sumOfLogarithms(one, after[symbol])), before];
    const high = Math.max(...sums), whole = sums.reduce((sum, one) => sum + Math.exp(one - high), 0);
    return sums.map((one) => Math.exp(one - high) / whole);
  }

  /* The words in their order: [{start, end, chances}], in seconds. */
  function wordsIn(logarithms) {
    const runs = [];
    let last = BLANK;
    logarithms.forEach((step, i) => {
      const symbol = most(step);
      if (symbol !== BLANK && symbol !== last) runs.push({ first: i, end: i + 1 });
      else if (symbol !== BLANK) runs.at(-1).end = i + 1;
      last = symbol;
    });
    const cuts = runs.map((run, i) => (i ? Math.floor((runs[i - 1].end + run.first + 1) / 2) : 0)).concat(logarithms.length);
    return runs.map((_, i) => ({
      start: Math.max(0, FIRST + STEP * (cuts[i] - 0.5)),
      end: Math.max(0, FIRST + STEP * (cuts[i + 1] - 0.5)),
      chances: oneWord(logarithms.slice(cuts[i], cuts[i + 1])),
    }));
  }

  /* What a word's chances mean: {kind, label, chance, chances}. */
  function judged(chances) {
    const digits = chances.slice(0, OTHER), best = most(digits);
    const score = Math.log(digits.reduce((sum, one) => sum + one) + 1e-12);
    const { threshold, labels } = BUILT.spotter;
    const kind = threshold !== null && score < threshold ? "notDigit" : digits[best] < BUILT.sure ? "unsure" : "digit";
    return { kind, label: labels[best], chance: digits[best], chances };
  }

  /* From a recording to what was heard in it, word by word: {audio, words, peak, heard}. */
  async function answer(sound) {
    const { sample_rate } = BUILT.spotter.recipe;
    const audio = resample(centred(sound.audio), sound.rate, sample_rate);
    const { words, peak } = findWords(audio, sample_rate);
    const heard = [];
    for (const word of words) heard.push(...(await heardIn(partOf(audio, word), word)));
    return { audio, words, peak, heard };
  }

  /* What was heard in one spoken part, whose sound is `audio`: one word, or several. */
  async function heardIn(audio, { start, end }) {
    const { logarithms } = await hear(audio);
    let parts = wordsIn(logarithms);
    if (parts.length < 2 && (!parts.length || end - start <= BUILT.words.longest)) {
      parts = [{ start: 0, end: end - start, chances: oneWord(logarithms) }];
    }
    return parts.map((one) => ({ start: start + one.start, end: Math.min(end, start + one.end), ...judged(one.chances) }));
  }

  function partOf(audio, { start, end }) {
    const { sample_rate } = BUILT.spotter.recipe;
    return audio.slice(Math.round(start * sample_rate), Math.round(end * sample_rate));
  }

  /* What the small network makes of a recording's first word: {kind, label, probability}. */
  async function second(sound) {
    const { recipe, labels, threshold } = BUILT.small;
    const audio = resample(centred(sound.audio), sound.rate, recipe.sample_rate);
    const [word] = findWords(audio, recipe.sample_rate).words;
    if (!word) return null;
    const end = Math.min(word.end, word.start + BUILT.words.longest);
    const cut = audio.slice(Math.round(word.start * recipe.sample_rate), Math.round(end * recipe.sample_rate));
    const [found] = await ask([fit(cut, recipe.samples)]);
    const best = most(found.logProbabilities);
    const isDigit = (threshold === null || found.score >= threshold) && word.end === end;
    return { word, kind: isDigit ? "digit" : "notDigit", label: labels[best], probability: Math.exp(found.logProbabilities[best]), ...found };
  }

  /* ---- The microphone ---- */

  const KEEP = `registerProcessor("say-keep", class extends AudioWorkletProcessor {
    process([channels]) {
      if (channels.length) this.port.postMessage(channels[0].map((_, i) => channels.reduce((sum, one) => sum + one[i], 0) / channels.length));
      return true;
    }
  });`;

  /* A node that gives away what it hears, piece by piece. */
  async function listener(context, hear) {
    try {
      // Not for a page from a disk, where no address of a worklet is allowed.
      await context.audioWorklet.addModule(URL.createObjectURL(new Blob([KEEP], { type: "text/javascript" })));
      const keep = new AudioWorkletNode(context, "say-keep");
      keep.port.onmessage = ({ data }) => hear(data);
      return keep;
    } catch {
      const keep = context.createScriptProcessor(4096, 1, 1); // older, and every browser still has it
      keep.onaudioprocess = ({ inputBuffer }) => hear(inputBuffer.getChannelData(0).slice());
      return keep;
    }
  }

  function microphoneProblem(error) {
    const problems = {
      NotAllowedError: SAID.denied,
      SecurityError: SAID.denied,
      NotFoundError: SAID.noMicrophone,
      OverconstrainedError: SAID.noMicrophone,
      NotReadableError: SAID.busyMicrophone,
      AbortError: SAID.busyMicrophone,
    };
    return new Told(problems[error.name] ?? SAID.noMicrophone);
  }

  /* Records until nothing is said any more, until `stop` is called, or for LONGEST_RECORDING: once it hears, {promise of {audio, rate}, stop}.
     `heard` is given each new piece, and all so far: {audio, rate, words}. Levels are measured once, piece by piece: where
     a page is busy for long, what listens loses sound. */
  async function record(context, stream, heard) {
    let stop;
    const done = new Promise((resolve) => (stop = resolve));
    const rate = context.sampleRate;
    const audio = new Float32Array(LONGEST_RECORDING * rate);
    const size = Math.floor(rate / BUILT.words.frames), known = [];
    let length = 0;
    const keep = await listener(context, (data) => {
      const piece = data.subarray(0, audio.length - length);
      audio.set(piece, length);
      length += piece.length;
      if (length === audio.length) stop();
      const looked = known.length * size;
      if (length - looked < rate / 20) return;
      const fresh = audio.subarray(looked, length - ((length - looked) % size));
      known.push(...levels(centred(fresh), rate));
      const { words } = wordsOf(Float64Array.from(known), rate, length);
      heard(fresh, { audio: audio.subarray(0, length), rate, words });
      const word = words.at(-1);
      if (word && length / rate - word.end > PAUSE) stop();
    });
    const source = context.createMediaStreamSource(stream);
    source.connect(keep).connect(context.destination); // it plays nothing, but some browsers run only what leads there
    const finish = async () => {
      await done;
      source.disconnect();
      keep.disconnect();
      return { audio: audio.slice(0, length), rate };
    };
    return { promise: finish(), stop };
  }

  /* Asks for the microphone, and switches it off again: what `record` gives. `started` is given what stops it.
     context: an AudioContext, made while the press still counted as the reader's own; it is closed. */
  async function microphone(context, heard, started) {
    let stream = null;
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw new Told(SAID.insecure);
      filter(context.sampleRate, BUILT.spotter.recipe.sample_rate); // made now, as no sound is lost yet
      const plain = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      try {
        stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
      } catch (error) {
        throw microphoneProblem(error);
      }
      await context.resume();
      const { promise, stop } = await record(context, stream, heard);
      started(stop);
      return await promise;
    } finally {
      stream?.getTracks().forEach((track) => track.stop());
      context.close();
    }
  }

  // Those of the second line are for teach.js alone.
  window.sayADigit = {
    BUILT, SAID, Told, answer, ask, decode, findWords, fit, hear, load, microphone, needed, oneWord, partOf, resample, second, wordsIn,
    SILENT, centred, drawing, element, levels, part, playerOf,
  };

  /* ---- The page ---- */

  const MAGMA = // as in all figures of the course
    "000004 0b0924 20114b 3b0f70 57157e 721f81 8c2981 a8327d c43c75 de4968 f1605d fa7f5e fe9f6d febf84 fddea0 fcfdbf"
      .split(" ")
      .map((colour) => [0, 2, 4].map((i) => parseInt(colour.slice(i, i + 2), 16)));

  function colour(value) {
    const place = Math.min(0.9999, Math.max(0, value)) * (MAGMA.length - 1), low = Math.floor(place);
    return MAGMA[low].map((one, i) => one + (place - low) * (MAGMA[low + 1][i] - one));
  }

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

  const seconds = (value) => `${value.toFixed(2)} s`;
  const percent = (value) => `${Math.round(100 * value)}\u00a0%`;
  const spell = (label) => NAMES[label] ?? label;

  /* A frequency's place on the mel scale of the model's recipe. */
  function mel(frequency) {
    if (BUILT.spotter.recipe.mel_scale === "htk") return 2595 * Math.log10(1 + frequency / 700);
    return frequency < 1000 ? (3 * frequency) / 200 : 15 + (27 * Math.log(frequency / 1000)) / Math.log(6.4);
  }

  /* Where a frequency lies in the picture, from 0 at its lower edge to 1. */
  function height(frequency) {
    const { f_min, f_max, n_mels } = BUILT.spotter.recipe;
    const bin = ((mel(frequency) - mel(f_min)) / (mel(f_max) - mel(f_min))) * (n_mels + 1) - 1;
    return (bin + 0.5) / n_mels;
  }

  /* The picture, rows of one mel bin each, of the part of a recording that begins at `start` seconds. */
  function pictureOf(picture, heard, start) {
    const { n_mels, hop, sample_rate, f_max } = BUILT.spotter.recipe;
    const frames = picture[0].length, all = picture.flatMap((row) => [...row]);
    const high = all.reduce((a, b) => Math.max(a, b)), low = Math.max(high - 80, all.reduce((a, b) => Math.min(a, b)));
    const canvas = element("canvas");
    [canvas.width, canvas.height] = [frames, n_mels];
    const context = canvas.getContext("2d");
    const image = context.createImageData(frames, n_mels);
    let brightest = 0;
    all.forEach((value, i) => {
      const row = Math.floor(i / frames), column = i % frames;
      image.data.set([...colour((value - low) / (high - low || 1)), 255], 4 * ((n_mels - 1 - row) * frames + column));
      if (value > all[brightest]) brightest = i;
    });
    context.putImageData(image, 0, 0);
    const share = (Math.floor(brightest / frames) + 0.5) / n_mels;
    const nearest = [100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 4000, 6000, 8000]
      .filter((one) => one <= f_max)
      .reduce((a, b) => (Math.abs(height(b) - share) < Math.abs(height(a) - share) ? b : a));
    const whole = (frames * hop) / sample_rate;
    canvas.setAttribute("role", "img");
    canvas.setAttribute(
      "aria-label",
      `Log-mel picture of what was said, ${seconds(whole)} long: ${heard.map(inWords).join(", ")}. ` +
        `The brightest place is at ${seconds(((brightest % frames) * hop) / sample_rate)}, near ${nearest} hertz.`,
    );
    const box = element("div", "say-picture");
    const frequencies = element("div", "say-frequencies"), times = element("div", "say-times");
    const tick = (text, side, place) => {
      const made = element("span", "", text);
      made.style[side] = `${100 * place}%`;
      return made;
    };
    for (const one of [200, 500, 1000, 2000, 4000, 8000]) {
      if (height(one) < 0.99) frequencies.append(tick(one < 1000 ? `${one} Hz` : `${one / 1000} kHz`, "bottom", height(one)));
    }
    const step = whole > 6 ? 2 : whole > 3 ? 1 : whole > 1.5 ? 0.5 : 0.25;
    for (let time = 0; time < whole - 0.05; time += step) times.append(tick(time ? `${time} s`: "0", "left", time / whole));
    for (const axis of [frequencies, times]) axis.setAttribute("aria-hidden", "true");
    box.append(frequencies, canvas, times);
    if (heard.length > 1) {
      const signs = element("div", "say-signs");
      for (const one of heard) signs.append(tick(sign(one), "left", ((one.start + one.end) / 2 - start) / whole));
      signs.setAttribute("aria-hidden", "true");
      box.append(signs);
    }
    const figure = element("figure", "say-seen");
    figure.append(box, element("figcaption", "", "What the network sees: time runs to the right, low tones lie at the bottom, bright is loud."));
    return figure;
  }

  function barsOf({ chances, kind, label }) {
    const list = element("ol", "say-bars");
    list.setAttribute("role", "list"); // some browsers take a list without numbers for none
    list.setAttribute("aria-label", "How likely each answer is");
    [...BUILT.spotter.labels, "another word", "no word"].forEach((one, i) => {
      const row = element("li", kind !== "notDigit" && one === label ? "best" : "");
      const bar = element("span", "say-bar");
      bar.append(element("span"));
      bar.firstChild.style.width = `${(100 * chances[i]).toFixed(2)}%`;
      bar.setAttribute("aria-hidden", "true");
      row.append(element("span", "say-label", one), bar, element("span", "say-value", percent(chances[i])));
      list.append(row);
    });
    return list;
  }

  /* A player for samples [n]. */
  function playerOf(clip, rate, label) {
    const bytes = new DataView(new ArrayBuffer(44 + 2 * clip.length));
    const text = (at, letters) => [...letters].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF"), bytes.setUint32(4, 36 + 2 * clip.length, true), text(8, "WAVEfmt ");
    bytes.setUint32(16, 16, true), bytes.setUint16(20, 1, true), bytes.setUint16(22, 1, true);
    bytes.setUint32(24, rate, true), bytes.setUint32(28, 2 * rate, true);
    bytes.setUint16(32, 2, true), bytes.setUint16(34, 16, true), text(36, "data"), bytes.setUint32(40, 2 * clip.length, true);
    clip.forEach((value, i) => bytes.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, value))), true));
    const player = element("audio");
    player.controls = true;
    player.src = URL.createObjectURL(new Blob([bytes], { type: "audio/wav" }));
    player.setAttribute("aria-label", label);
    return player;
  }

  /* The whole recording as a line, the words in it marked. */
  function waveOf({ audio, words }) {
    const { sample_rate } = BUILT.spotter.recipe;
    const columns = 300, size = audio.length / columns;
    const peak = audio.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-4);
    const whole = audio.length / sample_rate;
    const marked = words.map((word) => `from ${seconds(word.start)} to ${seconds(word.end)}`);
    const wave = drawing("svg", {
      viewBox: "0 0 300 40",
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `The recording, ${seconds(whole)} long. ${marked.length ? `Something was said ${marked.join(", ")}.` : "No word was found in it."}`,
    });
    for (const { start, end } of words) {
      wave.append(drawing("rect", { x: (300 * start) / whole, width: (300 * (end - start)) / whole, y: 0, height: 40 }));
    }
    const line = Array.from({ length: columns }, (_, i) => {
      let loud = 0;
      for (let k = Math.floor(i * size); k < (i + 1) * size && k < audio.length; k++) loud = Math.max(loud, Math.abs(audio[k]));
      const half = 0.4 + (19 * loud) / peak;
      return `M${i + 0.5} ${(20 - half).toFixed(1)}V${(20 + half).toFixed(1)}`;
    });
    wave.append(drawing("path", { d: line.join("") }));
    const figure = element("figure", "say-wave");
    const caption = words.length ? "The recording. The coloured part is what was taken for speech." : "The recording.";
    figure.append(wave, element("figcaption", "", caption));
    return figure;
  }

  /* What was heard, as one sign: a digit, with a question mark if it is a guess; a dot for what is no digit. */
  const sign = ({ kind, label }) => ({ digit: label, unsure: `${label}?`, notDigit: "·" })[kind];
  const inWords = ({ kind, label }) => ({ digit: spell(label), unsure: `perhaps ${spell(label)}`, notDigit: "no digit" })[kind];

  /* The signs in a row, large. */
  function showSigns(place, heard) {
    place.replaceChildren(
      ...heard.map((one) => element("b", `say-digit ${one.kind}`, heard.length === 1 && one.kind === "notDigit" ? "?" : sign(one))),
    );
    place.classList.toggle("several", heard.length > 4);
  }

  /* Bars of one word, the picture of all that was said, and how it sounds. */
  async function cardOf({ audio, words, heard }) {
    const said = { start: words[0].start, end: words.at(-1).end };
    const clip = partOf(audio, said), { picture } = await hear(clip);
    const card = element("div", "say-card");
    const left = element("div", "say-left");
    if (heard.length === 1) left.append(barsOf(heard[0]));
    else {
      const list = element("ol", "say-list");
      for (const one of heard) list.append(element("li", "", `${inWords(one)}, ${percent(one.chance)}, from ${one.start.toFixed(2)} to ${seconds(one.end)}`));
      left.append(list);
    }
    const right = pictureOf(picture, heard, said.start);
    right.append(playerOf(clip, BUILT.spotter.recipe.sample_rate, "What the network heard"));
    card.append(left, right);
    return card;
  }

  /* One sentence for the status line, or two: what was heard, or what to do. */
  function sentence({ peak, heard }) {
    if (!heard.length) return peak < SILENT + 5 ? SAID.silence : peak < BUILT.words.quiet ? SAID.quiet : SAID.click;
    const [one] = heard;
    if (heard.every(({ kind }) => kind === "notDigit")) return SAID.notDigit;
    if (heard.length > 1) return `I heard ${heard.map(inWords).join(", ")}.`;
    if (one.kind === "unsure") return `I am not sure. Perhaps ${spell(one.label)}: ${percent(one.chance)}.`;
    return `I heard ${spell(one.label)}, and I am ${percent(one.chance)} sure.`;
  }

  function other(found) {
    if (!found) return "";
    const read = found.kind === "digit" ? `${spell(found.label)}, ${percent(found.probability)}` : "no digit";
    return `The small network of chapter 7 reads the first word as: ${read}.`;
  }

  function start() {
    const box = document.getElementById("say");
    if (!box) return;
    const find = (name) => box.querySelector(`.say-${name}`);
    const [speak, word, status, meter, loading, bar, answers, signs, result, also, small] =
      ["speak", "speak-word", "status", "meter", "loading", "progress", "answers", "signs", "result", "also", "small"].map(find);
    const file = find("file"), choose = find("choose"), samples = find("samples");
    let stop = null; // ends the recording
    let last = null; // the sound that was answered

    function say(text, kind = "") {
      status.textContent = text;
      status.dataset.kind = kind;
    }

    function state(name, label) {
      box.dataset.state = name;
      box.setAttribute("aria-busy", String(name === "loading" || name === "thinking"));
      for (const button of box.querySelectorAll("button")) {
        button.setAttribute("aria-disabled", String(name !== "idle" && !(button === speak && name === "listening")));
      }
      word.textContent = label;
    }

    if (!BUILT || !BUILT.runtime || !BUILT.spotter) {
      const missing = !BUILT
        ? "This copy of the page was not built with the book. Run `make book`, and open the page in the built book."
        : !BUILT.runtime
          ? "This copy of the book was built without the runtime, so the page cannot answer. With Node.js and a network, `make book` fetches it and builds the book again."
          : "This copy of the book was built without the model, so the page cannot answer. `make strangers` trains it, and `make book` builds the book again.";
      box.dataset.state = "missing";
      say(missing, "problem");
      for (const button of box.querySelectorAll("button")) button.disabled = true;
      return;
    }

    const parts = needed("spotter").reduce((sum, one) => sum + BUILT.parts[one].bytes, 0);
    find("size").textContent = `${Math.ceil(parts / 1e6)} MB`;
    find("both").hidden = !BUILT.small;
    state("idle", "Say a digit");

    async function loaded(name = "spotter") {
      if (!needed(name).length) return;
      state("loading", "Loading");
      if (name === "spotter") say("Loading the model from this book."); // the other is asked below an answer, which stays
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

    function clear() {
      for (const link of answers.querySelectorAll("audio")) URL.revokeObjectURL(link.src);
      for (const place of [answers, signs]) place.replaceChildren();
      small.textContent = "";
      last = null;
    }

    /* What the small network reads of the last sound, if it is asked too. */
    async function askBoth() {
      small.textContent = "";
      if (!also.checked || !last) return;
      try {
        await loaded("small");
        small.textContent = other(await second(last));
      } catch (error) {
        if (!(error instanceof Told)) throw error;
        small.textContent = error.message;
      }
    }

    /* One thing at a time: runs `work`, shows what went wrong. */
    async function alone(work) {
      if (box.dataset.state !== "idle") return;
      state("thinking", "Thinking");
      try {
        await work();
      } catch (error) {
        if (!(error instanceof Told)) console.error(error);
        say(error instanceof Told ? error.message : SAID.broken, "problem");
      } finally {
        state("idle", "Say a digit");
        meter.style.setProperty("--level", 0);
      }
    }

    /* Shows the answer to the sound that `work` gives. */
    const run = (work) =>
      alone(async () => {
        clear();
        last = await work();
        state("thinking", "Thinking");
        const found = await answer(last);
        showSigns(signs, found.heard);
        say(sentence(found), found.heard.some(({ kind }) => kind !== "notDigit") ? "answer" : "problem");
        result.scrollIntoView({ block: "nearest" });
        if (found.heard.length) answers.append(await cardOf(found));
        answers.append(waveOf(found));
        await askBoth();
      });

    async function listen() {
      const context = new AudioContext(); // made while the press still counts as the reader's own
      await loaded();
      state("asking", "Waiting");
      say("The browser asks whether this page may use the microphone. Please allow it.");
      const read = new Map(); // what was heard, by the part that it was heard in
      let next = 0, looking = false;
      /* Shows the digits that were said so far. The last word may still go on; those before it are not read again. */
      async function look({ audio, rate, words }) {
        const began = performance.now();
        if (looking || began < next) return;
        looking = true;
        try {
          for (const word of words) {
            const place = `${word.start} ${word.end}`;
            if (read.has(place)) continue;
            const part = centred(audio.slice(Math.round(word.start * rate), Math.round(word.end * rate)));
            read.set(place, await heardIn(resample(part, rate, BUILT.spotter.recipe.sample_rate), word));
          }
          if (stop) showSigns(signs, words.flatMap(({ start, end }) => read.get(`${start} ${end}`)));
        } finally {
          looking = false;
          const now = performance.now();
          next = now + Math.max(1000 * TURN, now - began); // a slow computer looks less often
        }
      }
      try {
        return await microphone(
          context,
          (piece, sofar) => {
            const level = levels(piece, sofar.rate).reduce((a, b) => Math.max(a, b), SILENT);
            meter.style.setProperty("--level", Math.max(0, Math.min(1, (level + 60) / 50)).toFixed(3));
            look(sofar).catch(console.error);
          },
          (end) => {
            stop = end;
            state("listening", "Listening");
            say("Listening. Say a digit, or several. Press again to stop.");
          },
        );
      } finally {
        stop = null;
      }
    }

    async function read(chosen) {
      if (chosen.size > LARGEST_FILE) throw new Told(tooLarge(chosen.size));
      const sound = await decode(await chosen.arrayBuffer());
      const length = sound.audio.length / sound.rate;
      if (length > LONGEST_FILE) throw new Told(minute(length));
      await loaded();
      return sound;
    }

    speak.addEventListener("click", () => {
      if (stop) stop();
      else run(listen);
    });
    also.addEventListener("change", () => alone(askBoth));
    choose.addEventListener("click", () => box.dataset.state === "idle" && file.click());
    file.addEventListener("change", () => {
      const [chosen] = file.files;
      if (chosen) run(() => read(chosen));
      file.value = ""; // the same file may be chosen again
    });
    for (const one of BUILT.samples) {
      const button = element("button", "say-sample", one.name);
      button.type = "button";
      button.addEventListener("click", () =>
        run(async () => {
          await loaded();
          const bytes = await part(`sample-${one.name}`, one);
          const address = URL.createObjectURL(new Blob([bytes], { type: "audio/wav" }));
          const player = new Audio(address);
          player.onended = () => URL.revokeObjectURL(address);
          player.play().catch(() => {}); // whoever blocks sound still gets the answer
          return decode(bytes);
        }),
      );
      samples.append(button);
    }

    // A file may be dropped anywhere: beside the box, the browser would leave the page and open it.
    const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    let depth = 0;
    const over = (change) => box.classList.toggle("over", (depth = Math.max(0, change)) > 0);
    addEventListener("dragenter", (event) => holdsFile(event) && over(depth + 1));
    addEventListener("dragleave", (event) => holdsFile(event) && over(depth - 1));
    addEventListener("dragover", (event) => holdsFile(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!holdsFile(event)) return;
      event.preventDefault();
      over(0);
      const [dropped] = event.dataTransfer.files;
      if (dropped) run(() => read(dropped));
    });
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
