/* The models in the browser: brought and started when they are first needed, asked, and what they say turned into words.
   oneWord and wordsIn are those of decoding.py; picture and chances come from the models themselves. */
(() => {
  "use strict";
  const HERE = new URL(".", document.currentScript.src).href;
  const { BUILT, Told, centred, findWords, fit, mean, resample } = window.spoken;
  const lost = (name) => `The file ${name} of this book is missing or damaged. Copy the whole folder of the book again.`;

  /* ---- The model: scripts with its parts, put together when they are first needed ---- */

  const arrived = new Map(); // name of a script: what it carries
  window.spokenPart = (name, number, text) => arrived.set(`${name}-${number}`, text);

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

  const bytesNeeded = (name) => needed(name).reduce((sum, one) => sum + BUILT.parts[one].bytes, 0);

  /* Loads the runtime once, and a model once: "spotter", or "small". `show` hears the share that has come, and null while they start. */
  function load(name = "spotter", show = () => {}) {
    const mine = turn.then(() => sessions.get(name) ?? bring(name, show));
    turn = mine.catch(() => {});
    return mine;
  }

  async function bring(name, show) {
    if (typeof WebAssembly !== "object" || typeof DecompressionStream !== "function") throw new Told("This browser is too old to run the model. Take a newer one: Firefox, Chrome, Edge or Safari of 2023 or later.");
    const all = bytesNeeded(name);
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
      throw new Told("The model could not be started in this browser. Load the page again; if that does not help, try another browser.");
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

  const { other: OTHER, blank: BLANK, step: STEP, first: FIRST, sure: SURE } = BUILT?.decoding ?? {};
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
    const kind = threshold !== null && score < threshold ? "notDigit" : digits[best] < SURE ? "unsure" : "digit";
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

  /* ---- Embeddings as directions, and how far apart two of them are: one minus the cosine of the angle ---- */

  const dot = (a, b) => a.reduce((sum, one, i) => sum + one * b[i], 0);
  function unit(numbers) {
    const length = Math.sqrt(dot(numbers, numbers)) || 1;
    return numbers.map((one) => one / length);
  }
  const distance = (a, b) => 1 - dot(a, b);

  /* The embedding of a word, rows of 96 numbers, as one direction: [96]. */
  function pool(embedding, scales = BUILT.spotter.scales) {
    return unit(scales.mean.map((usual, i) => (mean(embedding.map((step) => step[i])) - usual) / scales.spread[i]));
  }

  Object.assign(window.spoken, { answer, ask, bytesNeeded, distance, dot, hear, heardIn, load, needed, oneWord, part, partOf, pool, second, unit, wordsIn });
})();
