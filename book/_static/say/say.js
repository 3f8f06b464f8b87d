/* The page "Say a digit": shows what was heard in a recording, digit by digit. */
(() => {
  "use strict";
  if (!window.spoken?.desk) return; // a script of this book is missing
  const { BUILT, DIGITS, LARGEST_FILE, Told, answer, bytesNeeded, chooser, decode, desk, drawing, drops, element, hear, heardIn, heat, partOf, percent, playerOf, sample, second, tooSoft } =
    window.spoken;
  const LONGEST_FILE = 15; // seconds
  const CLICK = "There was only a short click. Say a digit, from zero to nine, then try again.";
  const NOT_A_DIGIT = "That was not a digit, as far as this model can tell. Say one from zero to nine, in English.";
  const minute = (seconds) =>
    `This recording lasts ${Math.round(seconds)} seconds, and this page reads at most ${LONGEST_FILE}. ` +
    "Cut out a part, or let `spokendigits predict FILE` read all of it.";
  const tooLarge = (bytes) =>
    `This file has ${Math.round(bytes / 1e6)} MB: too much for this page. Choose a recording of a few seconds.`;

  const seconds = (value) => `${value.toFixed(2)} s`;
  const spell = (label) => DIGITS[label] ?? label;

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
    heat(canvas, picture, { low, high });
    const brightest = all.indexOf(high);
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
    if (!heard.length) return tooSoft(peak) ?? CLICK;
    const [one] = heard;
    if (heard.every(({ kind }) => kind === "notDigit")) return NOT_A_DIGIT;
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
    const [speak, word, status, answers, signs, result, also, small, samples] =
      ["speak", "speak-word", "status", "answers", "signs", "result", "also", "small", "samples"].map(find);
    let last = null; // the sound that was answered

    function say(text, kind = "") {
      status.textContent = text;
      status.dataset.kind = kind;
    }
    const STATES = { loading: "Loading", asking: "Waiting", listening: "Listening", thinking: "Thinking", idle: "Say a digit" };
    const { alone, free, listen, loaded, looker, state, stopped } = desk(box, say, (name) => (word.textContent = STATES[name]));

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

    find("size").textContent = `${Math.ceil(bytesNeeded("spotter") / 1e6)} MB`;
    find("both").hidden = !BUILT.small;
    state("idle");

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
        await loaded("small", null); // what is said of the answer stays
        small.textContent = other(await second(last));
      } catch (error) {
        if (!(error instanceof Told)) throw error;
        small.textContent = error.message;
      }
    }

    /* Shows the answer to the sound that `work` gives. */
    const run = (work) =>
      alone(async () => {
        clear();
        last = await work();
        state("thinking");
        const found = await answer(last);
        showSigns(signs, found.heard);
        say(sentence(found), found.heard.some(({ kind }) => kind !== "notDigit") ? "answer" : "problem");
        result.scrollIntoView({ block: "nearest" });
        if (found.heard.length) answers.append(await cardOf(found));
        answers.append(waveOf(found));
        await askBoth();
      });

    const hearNumber = () =>
      listen(speak, "Listening. Say a digit, or several. Press again to stop.", looker(heardIn, (heard) => showSigns(signs, heard)));

    async function read(chosen) {
      if (chosen.size > LARGEST_FILE) throw new Told(tooLarge(chosen.size));
      const sound = await decode(await chosen.arrayBuffer());
      const length = sound.audio.length / sound.rate;
      if (length > LONGEST_FILE) throw new Told(minute(length));
      await loaded();
      return sound;
    }

    speak.addEventListener("click", () => stopped(speak) || run(hearNumber));
    also.addEventListener("change", () => alone(askBoth));
    chooser(find("choose"), find("file"), ([chosen]) => run(() => read(chosen)), free);
    for (const one of BUILT.samples) {
      const button = element("button", "say-sample", one.name);
      button.type = "button";
      button.addEventListener("click", () => run(async () => (await loaded(), sample(one.name, one))));
      samples.append(button);
    }
    drops(([dropped]) => run(() => read(dropped)), (hovers) => box.classList.toggle("over", hovers));
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
