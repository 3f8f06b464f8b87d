/* Sound in the browser: reads files, listens, resamples, finds the words. findWords is vad.find_words, fit is clips.fit, resample
   stands for soxr; a test compares them. All scripts of the book that compute share one object, `spoken`: a page that is
   read from a disk may not import modules. built.js, written with the book, has the models' recipes and all constants. */
(() => {
  "use strict";
  const BUILT = window.SPOKEN_BUILT;
  const LONGEST_RECORDING = 12; // seconds
  const PAUSE = 1.0; // seconds of quiet that end a recording
  const SILENT = -100; // dB
  const SAID = {
    denied: "The browser did not let this page listen. Allow the microphone beside the page's address, then press the button again.",
    noMicrophone: "No microphone was found. Connect one, then press the button again.",
    busyMicrophone: "Another program holds the microphone. Close it, then press the button again.",
    insecure: "This browser gives no page the microphone at this kind of address. Open the book from a disk or over https.",
    silence: "There is no sound in it at all. Is the microphone, or the recording, muted? Switch it on, then try again.",
    quiet: "That was too quiet. Come closer to the microphone, or speak up, then try again.",
    oddWav: "This WAV file holds sound in a form that browsers cannot read. Save it as WAV with 16 bits (PCM), then try again.",
    notAudio: "This file holds no recording that the browser can read. Choose a WAV, FLAC, MP3 or Ogg file.",
  };

  /* An error whose message is meant for the reader. */
  class Told extends Error {}

  /* ---- Decode, resample, find the words, fit one to a clip ---- */

  /* The sample rate that a frame of an MP3 names in its second and third byte: of MPEG 1, or half or a quarter of it. 0 if none. */
  function mp3Rate(second, third) {
    const rate = [44100, 48000, 32000, 0][(third >> 2) & 3], version = (second >> 3) & 3;
    return [rate / 4, 0, rate / 2, rate][version];
  }

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
    } else if (bytes.byteLength > 4 && bytes.getUint16(0) >= 0xffe0) {
      rate = mp3Rate(bytes.getUint8(1), bytes.getUint8(2));
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
  /* A player for samples [n]. */
  function playerOf(clip, rate, label) {
    const bytes = new DataView(new ArrayBuffer(44 + 2 * clip.length));
    const text = (at, letters) => [...letters].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF"), bytes.setUint32(4, 36 + 2 * clip.length, true), text(8, "WAVEfmt ");
    bytes.setUint32(16, 16, true), bytes.setUint16(20, 1, true), bytes.setUint16(22, 1, true);
    bytes.setUint32(24, rate, true), bytes.setUint32(28, 2 * rate, true);
    bytes.setUint16(32, 2, true), bytes.setUint16(34, 16, true), text(36, "data"), bytes.setUint32(40, 2 * clip.length, true);
    clip.forEach((value, i) => bytes.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, value))), true));
    const player = document.createElement("audio");
    player.controls = true;
    player.src = URL.createObjectURL(new Blob([bytes], { type: "audio/wav" }));
    player.setAttribute("aria-label", label);
    return player;
  }

  /* No sound at all, too little of it, or null if it was loud enough. */
  const tooSoft = (peak) => (peak < SILENT + 5 ? SAID.silence : peak < BUILT.words.quiet ? SAID.quiet : null);

  window.spoken = { BUILT, Told, SILENT, centred, decode, filter, findWords, fit, levels, mean, microphone, playerOf, resample, tooSoft };
})();
