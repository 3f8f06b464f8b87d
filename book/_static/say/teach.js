/* The page "Teach it your own words": learns words from a few recordings of each, and answers. All of it on this computer.
   A word is the mean of the speech embedding over its time: 96
   numbers, each on its usual scale (built.js has them), as a direction. What is learned of a word is the middle of its
   examples' directions, and how far apart two of them are is one minus the cosine of the angle between them. */
(() => {
  "use strict";
  if (!window.spoken?.desk) return; // a script of this book is missing
  const { BUILT, LARGEST_FILE, Told, centred, chooser, decode, desk, distance, dot, drawing, drops, element, findWords, hear, mean, part, partOf, percent, playerOf, pool, resample, sample, tooSoft, unit } =
    window.spoken;
  const NEED = 3, MOST = 10, WORDS = 10; // examples that a word needs, and may have; words
  const LONGEST = 3, LONGEST_FILE = 30; // seconds of a word, and of a file
  const FAINT = 0.01; // what has less than this share of the strongest part's power is no word
  const LIMIT = 0.6; // of the way from the own word to the nearest other: beyond this it is none of the words
  const LETTERS = 40; // of a word

  const TOLD = {
    click: "There was only a short click. Say a word, then try again.",
    long: `That was longer than ${LONGEST} seconds without a pause. Say one word, or a few, then try again.`,
    longFile: `This recording is longer than ${LONGEST_FILE} seconds. Choose one with a few words.`,
    largeFile: "This file is too large for this page. Choose a recording of a few seconds.",
    full: (name) => `${name} has ${MOST} examples, and that is the most. Delete one first.`,
    notReady: `Give at least two words ${NEED} examples each, then try it.`,
    twins: (name) => `Two rows are called ${name}. Give each word a name of its own.`,
    foreign: "This file was not saved by this page. Choose one that was.",
    damaged: "This file is damaged. Nothing was loaded from it.",
    newer: "This file was saved by another version of this page. Nothing was loaded from it.",
    empty: "There is nothing to save yet. Record an example first.",
  };

  /* ---- What is learned: without the page ---- */

  const middleOf = (points) => unit(points[0].map((_, i) => points.reduce((sum, point) => sum + point[i], 0)));
  const least = (numbers) => numbers.reduce((best, one, i) => (one < numbers[best] ? i : best), 0);

  /* Every example asked as if it had never been heard: [{word, said, own, other}], two places among `words` and two distances.
     words: [{points: [[96], ...]}], each with two points or more. */
  function leaveOneOut(words) {
    const middles = words.map(({ points }) => middleOf(points));
    return words.flatMap(({ points }, word) =>
      points.map((point, left) => {
        const own = distance(middleOf(points.filter((_, i) => i !== left)), point);
        const distances = middles.map((middle, i) => (i === word ? own : distance(middle, point)));
        return { word, said: least(distances), own, other: Math.min(...distances.filter((_, i) => i !== word)) };
      }),
    );
  }

  /* What is known after all examples: {middles, limit, tested}. */
  function learn(words) {
    const tested = leaveOneOut(words);
    const own = mean(tested.map((one) => one.own)), other = mean(tested.map((one) => one.other));
    return { middles: words.map(({ points }) => middleOf(points)), limit: own + LIMIT * (other - own), tested };
  }

  /* Which word a point is: {word, nearest, distances}; word is null if even the nearest is too far away. */
  function answer({ middles, limit }, point) {
    const distances = middles.map((middle) => distance(middle, point)), nearest = least(distances);
    return { word: distances[nearest] <= limit ? nearest : null, nearest, distances };
  }

  /* The two words that were taken for each other most often, or lie nearest to each other: {pair, times, of}. */
  function mixedUp({ middles, tested }) {
    let found = null;
    for (let b = 1; b < middles.length; b++) {
      for (let a = 0; a < b; a++) {
        const times = tested.filter(({ word, said }) => (word === a && said === b) || (word === b && said === a)).length;
        const of = tested.filter(({ word }) => word === a || word === b).length;
        const apart = distance(middles[a], middles[b]);
        if (!found || times > found.times || (times === found.times && apart < found.apart)) found = { pair: [a, b], times, of, apart };
      }
    }
    return found;
  }

  /* Two directions in which points [n][96] differ most, by power iteration: a function from a point to its two coordinates. */
  function map(points) {
    const centre = points[0].map((_, i) => mean(points.map((point) => point[i])));
    const away = (point) => point.map((one, i) => one - centre[i]);
    const rest = points.map(away), directions = [];
    for (let number = 0; number < 2; number++) {
      let direction = unit(rest.reduce((a, b) => (dot(b, b) > dot(a, a) ? b : a)));
      for (let turn = 0; turn < 200; turn++) {
        const shares = rest.map((point) => dot(point, direction));
        direction = unit(direction.map((_, i) => rest.reduce((sum, point, k) => sum + shares[k] * point[i], 0)));
      }
      directions.push(direction);
      rest.forEach((point, k) => {
        const share = dot(point, direction);
        rest[k] = point.map((one, i) => one - share * direction[i]);
      });
    }
    return (point) => directions.map((direction) => dot(away(point), direction));
  }

  /* ---- The file that keeps the examples: `kept` in say_a_digit.py writes the same ---- */

  function crc32(bytes) {
    let crc = -1;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
    }
    return (crc ^ -1) >>> 0;
  }
  const sum = (words) => crc32(new TextEncoder().encode(words.flatMap(({ word, examples }) => [word, ...examples]).join("\n")));

  /* Samples [n] as text: 16 bits each, the lower eight first. */
  function toText(audio) {
    const bytes = new DataView(new ArrayBuffer(2 * audio.length));
    audio.forEach((value, i) => bytes.setInt16(2 * i, Math.round(32767 * Math.max(-1, Math.min(1, value))), true));
    let text = "";
    for (let i = 0; i < bytes.byteLength; i++) text += String.fromCharCode(bytes.getUint8(i));
    return btoa(text);
  }
  function fromText(text) {
    const bytes = new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
    return Float32Array.from({ length: bytes.byteLength / 2 }, (_, i) => bytes.getInt16(2 * i, true) / 32767);
  }

  /* words: [{word, examples: [Float32Array, ...]}]. */
  function pack(words) {
    const kept = words.map(({ word, examples }) => ({ word, examples: examples.map(toText) }));
    return JSON.stringify({ format: BUILT.teach.format, rate: BUILT.teach.rate, crc32: sum(kept), words: kept }, null, 1);
  }

  /* What `pack` packed. Throws Told for what is no such file, and for a damaged one. */
  function unpack(text) {
    const { format, rate } = BUILT.teach, mark = format.split(",")[0];
    let kept;
    try {
      kept = JSON.parse(text);
    } catch {
      throw new Told(text.slice(0, 200).includes(mark) ? TOLD.damaged : TOLD.foreign);
    }
    if (typeof kept?.format !== "string" || !kept.format.startsWith(mark)) throw new Told(TOLD.foreign);
    if (kept.format !== format) throw new Told(TOLD.newer);
    const isWord = ({ word, examples }) =>
      typeof word === "string" && word.length <= LETTERS && Array.isArray(examples) && examples.length <= MOST &&
      examples.every((one) => typeof one === "string" && /^[A-Za-z0-9+/]+={0,2}$/.test(one));
    try {
      const { words } = kept;
      if (kept.rate !== rate || words.length > WORDS || !words.every(isWord) || sum(words) !== kept.crc32) throw new Told(TOLD.damaged);
      const read = words.map(({ word, examples }) => ({ word, examples: examples.map(fromText) }));
      const isSound = ({ length }) => length > 0.05 * rate && length <= (LONGEST + 1) * rate;
      if (!read.every(({ examples }) => examples.every(isSound))) throw new Told(TOLD.damaged);
      return read;
    } catch {
      throw new Told(TOLD.damaged);
    }
  }

  window.teachIt = { answer, distance, learn, leaveOneOut, map, mixedUp, pack, pool, unpack };

  /* ---- From sound to words ---- */

  /* The words of a recording: [{start, end, audio}], in seconds and samples. Throws Told if there is none. */
  function wordsOf(sound) {
    const { rate } = BUILT.teach;
    const audio = resample(centred(sound.audio), sound.rate, rate);
    const { words, peak } = findWords(audio, rate);
    if (!words.length) throw new Told(tooSoft(peak) ?? TOLD.click);
    const cut = words.map(({ start, end }) => ({ start, end, audio: partOf(audio, { start, end }) }));
    const powers = cut.map((one) => mean([...one.audio].map((value) => value * value)));
    const loud = cut.filter((_, i) => powers[i] >= FAINT * Math.max(...powers));
    const short = loud.filter(({ start, end }) => end - start <= LONGEST);
    if (!short.length) throw new Told(TOLD.long);
    return short;
  }

  const pointOf = async (audio) => pool((await hear(audio)).embedding);

  /* ---- The page ---- */

  const count = (number, name) => `${number} ${name}${number === 1 ? "" : "s"}`;
  const list = (names) => (names.length < 2 ? names.join() : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);

  function button(className, text, label = "") {
    const made = element("button", className, text);
    made.type = "button";
    if (label) made.setAttribute("aria-label", label);
    return made;
  }

  function start() {
    const box = document.getElementById("teach");
    if (!box) return;
    const find = (name) => box.querySelector(`.${name}`);
    const rowsPlace = find("teach-words"), add = find("teach-add");
    const speak = find("say-speak"), word = find("say-speak-word"), status = find("say-status");
    const signs = find("say-signs"), near = find("teach-near"), learnedPlace = find("teach-learned");
    const save = find("teach-save"), file = find("say-file"), kept = find("teach-kept");
    const rows = []; // [{place, field, note, list, record, examples: [{audio, point}]}]
    let known = null; // what `learn` learned, with `rows`: those that it learned from
    let last = null; // the point that was answered last
    let saved = true;

    function say(text, kind = "", place = status) {
      if (place.textContent !== text) place.textContent = text; // what is said already need not be read aloud again
      place.dataset.kind = kind;
    }
    const { alone, free, listen, loaded, looker, state, stopped } = desk(box, say, (name, pressed) => {
      word.textContent = pressed === speak && name === "listening" ? "Listening" : "Try it";
    });

    if (!BUILT || !BUILT.runtime || !BUILT.spotter) {
      box.dataset.state = "missing";
      say(
        !BUILT
          ? "This copy of the page was not built with the book. Run `make book`, and open the page in the built book."
          : "This copy of the book was built without the model or what runs it, so the page cannot answer. The page “Say a digit” says what to do.",
        "problem",
      );
      for (const one of box.querySelectorAll("button")) one.disabled = true;
      return;
    }

    async function read(chosen) {
      if (chosen.size > LARGEST_FILE) throw new Told(TOLD.largeFile);
      const sound = await decode(await chosen.arrayBuffer());
      if (sound.audio.length > LONGEST_FILE * sound.rate) throw new Told(TOLD.longFile);
      return sound;
    }

    /* ---- The words ---- */

    const nameOf = (row) => row.field.value.trim() || `word ${rows.indexOf(row) + 1}`;

    function addRow(name = "") {
      const row = { examples: [] };
      row.place = element("li", "teach-word");
      row.field = element("input", "teach-name");
      Object.assign(row.field, { type: "text", maxLength: LETTERS, value: name, autocomplete: "off", spellcheck: false });
      row.record = button("teach-record", "Record");
      row.files = button("teach-files", "Files");
      row.remove = button("teach-remove", "×");
      const input = element("input", "teach-input");
      Object.assign(input, { type: "file", accept: file.dataset.sounds, multiple: true, hidden: true, tabIndex: -1 });
      row.list = element("ul", "teach-examples");
      row.list.setAttribute("role", "list");
      row.note = element("p", "teach-note");
      row.note.setAttribute("role", "status");
      row.place.append(row.field, row.record, row.files, row.remove, input, row.list, row.note);
      row.input = input;
      rows.push(row);
      rowsPlace.append(row.place);

      row.field.addEventListener("input", () => {
        saved &&= !row.examples.length;
        label();
      });
      row.field.addEventListener("change", change);
      row.record.addEventListener("click", () => {
        if (stopped(row.record)) return;
        alone(async () => {
          if (row.examples.length >= MOST) throw new Told(TOLD.full(nameOf(row)));
          row.place.classList.add("listening");
          try {
            const text = `Listening. Say “${nameOf(row)}”, as often as you like, with a short pause after each. Press again to stop.`;
            await take(row, await listen(row.record, text, undefined, row.note));
          } finally {
            row.place.classList.remove("listening");
          }
        }, row.note);
      });
      chooser(row.files, input, (files) => alone(() => takeFiles(row, files), row.note), free);
      row.remove.addEventListener("click", () => {
        if (!free()) return;
        if (row.examples.length && !confirm(`Remove ${nameOf(row)}, and its ${count(row.examples.length, "example")}?`)) return;
        const place = rows.indexOf(row);
        saved &&= !row.examples.length;
        rows.splice(place, 1);
        row.place.remove();
        if (!rows.length) addRow();
        change();
        rows[Math.min(place, rows.length - 1)].field.focus();
      });
      label();
      return row;
    }

    /* Labels that name the word. */
    function label() {
      for (const row of rows) {
        const name = nameOf(row);
        row.field.placeholder = `word ${rows.indexOf(row) + 1}`;
        row.field.setAttribute("aria-label", `Word ${rows.indexOf(row) + 1}, in any language`);
        row.record.setAttribute("aria-label", `Record ${name}`);
        row.files.setAttribute("aria-label", `Files: choose recordings of ${name}`);
        row.input.setAttribute("aria-label", `Recordings of ${name}`);
        row.remove.setAttribute("aria-label", `Remove ${name}`);
        row.list.setAttribute("aria-label", `Examples of ${name}`);
        row.list.querySelectorAll("li").forEach((one, i) => {
          one.firstChild.setAttribute("aria-label", `Play example ${i + 1} of ${name}`);
          one.lastChild.setAttribute("aria-label", `Delete example ${i + 1} of ${name}`);
        });
      }
      add.hidden = rows.length >= WORDS;
    }

    function showExamples(row) {
      row.list.replaceChildren(
        ...row.examples.map((example, i) => {
          const one = element("li"), play = button("teach-play", String(i + 1)), gone = button("teach-delete", "×");
          play.addEventListener("click", () => {
            const player = playerOf(example.audio, BUILT.teach.rate, "");
            player.onended = player.onerror = () => URL.revokeObjectURL(player.src);
            player.play().catch(() => {}); // somebody blocks sound
          });
          gone.addEventListener("click", () => {
            if (!free()) return;
            row.examples.splice(i, 1);
            saved = false;
            showExamples(row);
            change();
            say(`Example ${i + 1} of ${nameOf(row)} is deleted. ${missing(row)}`, "", row.note);
            (row.list.querySelectorAll(".teach-delete")[Math.min(i, row.examples.length - 1)] ?? row.record).focus();
          });
          one.append(play, gone);
          return one;
        }),
      );
    }

    function missing({ examples }) {
      if (examples.length < NEED) return `${NEED - examples.length} more to go.`;
      return examples.length < MOST ? "Enough to learn from; more help." : "That is the most.";
    }

    /* Takes the words of a sound as examples of a row. Returns how many. */
    async function take(row, sound) {
      const found = wordsOf(sound).slice(0, MOST - row.examples.length);
      for (const { audio } of found) row.examples.push({ audio, point: await pointOf(audio) });
      saved = false;
      showExamples(row);
      change();
      say(`${count(row.examples.length, "example")}. ${missing(row)}`, "", row.note);
    }

    async function takeFiles(row, files) {
      await loaded("spotter", row.note);
      state("thinking");
      const problems = [];
      for (const one of files) {
        if (row.examples.length >= MOST) {
          problems.push(TOLD.full(nameOf(row)));
          break;
        }
        try {
          await take(row, await read(one));
        } catch (error) {
          if (!(error instanceof Told)) throw error;
          problems.push(files.length > 1 ? `${one.name}: ${error.message}` : error.message);
        }
      }
      if (problems.length) say(problems[0] + (problems.length > 1 ? ` And ${count(problems.length - 1, "more file")} could not be taken.` : ""), "problem", row.note);
    }

    /* ---- What it has learned ---- */

    /* Learns anew from all examples. */
    function change() {
      const full = rows.filter(({ examples }) => examples.length >= NEED);
      known = full.length < 2 ? null : { ...learn(full.map(({ examples }) => ({ points: examples.map(({ point }) => point) }))), rows: full };
      last = null;
      signs.replaceChildren();
      near.replaceChildren();
      label();
      show();
      say(known ? `It knows ${list(known.rows.map(nameOf))}. Press the button, and say one of them.` : TOLD.notReady);
    }

    function show() {
      learnedPlace.hidden = !known;
      if (!known) return;
      const names = known.rows.map(nameOf);
      const right = known.tested.filter(({ word, said }) => word === said).length, all = known.tested.length;
      const { pair, times, of } = mixedUp(known);
      const [a, b] = pair.map((one) => names[one]);
      find("teach-score").textContent =
        `Left out one by one, ${right} of ${all} of your own examples are still taken for the right word. ` +
        "They are one voice on one day: for another voice, expect less.";
      find("teach-pair").textContent = times
        ? `It mixes up ${a} and ${b}: ${times} of their ${of} examples were taken for the other word.`
        : `It mixes up no two of them. The most alike are ${a} and ${b}.`;
      find("teach-map").replaceChildren(mapOf(names, pair));
    }

    /* The map of the examples, as a drawing with a text. */
    function mapOf(names, pair) {
      const width = 320, height = 220, edge = 26;
      const points = known.rows.map(({ examples }) => examples.map(({ point }) => point));
      const place = map(points.flat());
      const spots = points.map((one) => one.map(place)), asked = last && place(last);
      const xs = [...spots.flat(), ...(asked ? [asked] : [])].map(([x]) => x), ys = [...spots.flat(), ...(asked ? [asked] : [])].map(([, y]) => y);
      const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
      const scale = Math.min((width - 2 * edge) / (right - left || 1), (height - 2 * edge) / (high - low || 1)); // the same both ways
      const at = ([x, y]) => [width / 2 + scale * (x - (left + right) / 2), height / 2 - scale * (y - (low + high) / 2)];
      const text = `Map of ${count(points.flat().length, "example")}, one group for each of ${list(names)}. The nearest groups are ${names[pair[0]]} and ${names[pair[1]]}.`;
      const said = asked ? ` What you said last lies nearest to ${names[answer(known, last).nearest]}.` : "";
      const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": text + said });
      const labels = [];
      spots.forEach((one, word) => {
        const dots = one.map(at), [x, y] = [mean(dots.map(([x]) => x)), mean(dots.map(([, y]) => y))];
        const group = drawing("g", { style: `--word: ${word}` });
        for (const [dotX, dotY] of dots) group.append(drawing("line", { x1: x, y1: y, x2: dotX, y2: dotY }));
        for (const [dotX, dotY] of dots) group.append(drawing("circle", { cx: dotX, cy: dotY, r: 4.5 }));
        svg.append(group);
        labels.push({ text: names[word], x, y: Math.min(...dots.map(([, y]) => y)) - 8 });
      });
      if (asked) {
        const [x, y] = at(asked);
        svg.append(drawing("path", { class: "teach-asked", d: `M${x - 7} ${y}H${x + 7}M${x} ${y - 7}V${y + 7}` }));
      }
      // Labels that would stand on one another move up, and none leaves the map.
      const wide = (one) => 7 * Math.min(one.text.length, 24);
      labels.sort((a, b) => b.y - a.y);
      labels.forEach((one, i) => {
        one.x = Math.max(wide(one) / 2 + 2, Math.min(width - wide(one) / 2 - 2, one.x));
        for (let turn = 0; turn < i; turn++) {
          const hit = labels.slice(0, i).find((other) => Math.abs(other.y - one.y) < 13 && Math.abs(other.x - one.x) < (wide(one) + wide(other)) / 2);
          if (hit) one.y = hit.y - 13;
        }
        one.y = Math.max(12, one.y);
        const made = drawing("text", { x: one.x, y: one.y });
        made.textContent = one.text.length > 24 ? `${one.text.slice(0, 23)}…` : one.text;
        svg.append(made);
      });
      return svg;
    }

    /* ---- Answers ---- */

    async function answersTo(sound) {
      const answers = [];
      for (const { audio } of wordsOf(sound)) {
        const point = await pointOf(audio);
        answers.push({ ...answer(known, point), point });
      }
      return answers;
    }

    function showSigns(answers) {
      const names = known.rows.map(nameOf);
      signs.replaceChildren(...answers.map((one) => element("b", one.word === null ? "notDigit" : "", one.word === null ? "?" : names[one.word])));
    }

    function showAnswers(answers) {
      const names = known.rows.map(nameOf), one = answers.at(-1);
      showSigns(answers);
      const inWords = ({ word }) => (word === null ? "none of your words" : names[word]);
      say(
        answers.length > 1
          ? `I heard ${answers.map(inWords).join(", then ")}.`
          : one.word === null
            ? `None of your words, as far as I can tell. The nearest is ${names[one.nearest]}.`
            : `I heard ${names[one.word]}.`,
        answers.some(({ word }) => word !== null) ? "answer" : "problem",
      );
      last = one.point;
      const bars = element("ol", "say-bars");
      bars.setAttribute("role", "list");
      bars.setAttribute("aria-label", "How near it came to each word");
      names.forEach((name, i) => {
        const row = element("li", i === one.word ? "best" : ""), line = element("span", "say-bar");
        const nearness = Math.max(0, 1 - one.distances[i]);
        line.append(element("span"), element("i"));
        line.firstChild.style.width = percent(nearness).replace("\u00a0", "");
        line.lastChild.style.left = `${100 * Math.max(0, 1 - known.limit)}%`;
        line.setAttribute("aria-hidden", "true");
        row.append(element("span", "say-label", name), line, element("span", "say-value", nearness.toFixed(2)));
        bars.append(row);
      });
      near.replaceChildren(bars, element("p", "teach-caption", `How near it came to each word: 1 is the middle of its examples. The mark at ${(1 - known.limit).toFixed(2)} is the limit, and below it is none of your words.`));
      show();
    }

    function ready() {
      const names = rows.filter(({ examples }) => examples.length).map(nameOf);
      const twin = names.find((name, i) => names.indexOf(name) !== i);
      if (twin) throw new Told(TOLD.twins(twin));
      if (!known) throw new Told(TOLD.notReady);
    }

    /* Answers the sound that `work` gives. */
    const ask = (work) =>
      alone(async () => {
        ready();
        signs.replaceChildren();
        near.replaceChildren();
        const sound = await work();
        state("thinking");
        showAnswers(await answersTo(sound));
      });

    const live = () =>
      listen(
        speak,
        "Listening. Say one of your words, or several. Press again to stop.",
        looker(async (audio) => answer(known, await pointOf(audio)), showSigns),
      );

    speak.addEventListener("click", () => stopped(speak) || ask(live));
    chooser(find("say-choose"), file, ([chosen]) => ask(async () => (await loaded(), read(chosen))), free);
    add.addEventListener("click", () => free() && addRow().field.focus());

    /* ---- Save and load ---- */

    save.addEventListener("click", () =>
      alone(async () => {
        const full = rows.filter(({ examples }) => examples.length);
        if (!full.length) throw new Told(TOLD.empty);
        const text = pack(full.map((row) => ({ word: nameOf(row), examples: row.examples.map(({ audio }) => audio) })));
        const link = element("a");
        link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
        link.download = "my-words.json";
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
        saved = true;
        say("Your words and their recordings are saved as my-words.json.", "done");
      }),
    );

    async function takeAll(text) {
      const read = unpack(text);
      if (!saved && !confirm("Replace the words on this page? They are not saved.")) return;
      await loaded();
      state("thinking");
      const learned = [];
      for (const { word, examples } of read) {
        const points = [];
        for (const audio of examples) points.push({ audio, point: await pointOf(audio) });
        learned.push({ word, points });
      }
      rows.splice(0).forEach((row) => row.place.remove());
      for (const { word, points } of learned) {
        const row = addRow(word);
        row.examples = points;
        showExamples(row);
      }
      if (!rows.length) addRow();
      saved = true;
      change();
    }
    chooser(find("teach-load"), kept, ([chosen]) => alone(async () => {
      if (chosen.size > LARGEST_FILE) throw new Told(TOLD.foreign);
      await takeAll(await chosen.text());
    }), free);
    addEventListener("beforeunload", (event) => saved || event.preventDefault());

    /* ---- Synthetic voices, for whoever has no microphone ---- */

    const asked = find("teach-asked-of");
    find("teach-sample").addEventListener("click", () =>
      alone(async () => {
        const { words } = BUILT.teach;
        await takeAll(new TextDecoder().decode(await part(`sample-${words.name}`, words)));
        asked.hidden = false;
      }),
    );
    for (const one of BUILT.teach.asked) {
      const ready = button("say-sample", one.name);
      ready.addEventListener("click", () => ask(async () => (await loaded(), sample(one.name, one))));
      asked.lastElementChild.append(ready);
    }

    // Files that are dropped on a word are its examples; elsewhere the browser would leave the page and open them.
    drops((files, place) => {
      const row = rows.find((one) => one.place.contains(place));
      if (row) alone(() => takeFiles(row, files), row.note);
      else ask(async () => (await loaded(), read(files[0])));
    });

    for (let i = 0; i < NEED; i++) addRow();
    state("idle");
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
