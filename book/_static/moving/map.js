/* "The map of voices": every held-out clip of chapter 5 as a point to hear, and the reader's own voice among them. */
(() => {
  "use strict";
  if (!window.spoken?.figure) return; // a script of this book is missing
  const { BUILT, DIGITS: WORDS, bytesNeeded, choice, distance, element, explain, hear, load, megabytes, oneWord, percent, play, playPart, pool, press, read, record, status } = window.spoken;
  const EDGE = 16; // pixels around the map
  const REACH = 30; // pixels from the pointer to a point
  const NEAR = 5; // words that place the reader's voice
  const MOVES = 700; // milliseconds from one map to the other
  const STEP = 250; // milliseconds that the pointer rests before a point is heard
  const KEYS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const mid = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

  /* Directions of `wide` numbers each, packed in a byte a number. */
  function unpack({ scale, bytes }, count) {
    const numbers = Int8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)), wide = numbers.length / count;
    return Array.from({ length: count }, (_, i) => Array.from(numbers.subarray(i * wide, (i + 1) * wide), (one) => one * scale));
  }

  /* Where a new direction belongs: of the nearest clips, one for each word of each voice, [{clip, apart, weight}]. What is
     twice as far away weighs half as much. group[i] names word and voice of clip i. */
  function placed(point, directions, group) {
    const best = new Map();
    directions.forEach((other, clip) => {
      const apart = distance(point, other);
      if (!(best.get(group[clip])?.apart <= apart)) best.set(group[clip], { clip, apart });
    });
    const near = [...best.values()].sort((a, b) => a.apart - b.apart).slice(0, NEAR);
    const weights = near.map(({ apart }) => 1 / Math.max(apart, 1e-3)), whole = weights.reduce((sum, one) => sum + one);
    return near.map((one, i) => ({ ...one, weight: weights[i] / whole }));
  }

  window.spoken.figure("map", async (stage) => {
    const data = await read("map.json");
    const { digit, voice, read: answer, chance, bounds } = data.columns, count = digit.length, OWN = count;
    const directions = unpack(data.maps.spotter.directions, count);
    const group = digit.map((one, i) => `${one} ${voice[i]}`);
    const SAID = {
      chapter: "This is the chapter\u2019s own map.",
      spotter: "Tight heaps, a digit each; coloured by voice, each heap falls into a patch for each voice. So the model of the page \u201cSay a digit\u201d tells the words apart, and keeps the voice as well. Its map is of the mean of its embedding over the word. The rings are still the mistakes of this chapter\u2019s model.",
    };

    let map = "chapter", colour = "digit", current = null, own = null, sound = null;
    let shift = 1, from = null; // how far the points have moved from another map, and which

    /* ---- Controls ---- */

    const controls = element("div", "moving-controls");
    const lead = "Press a digit to hear it. Where do the rings stand, and what do the two maps keep: the word, or the voice?";
    stage.append(element("p", "", lead), controls);
    const mapChoice = choice(controls, { label: "Map of", options: [["chapter", "this chapter\u2019s model"], ["spotter", "that of \u201cSay a digit\u201d"]], value: map, on: show });
    const colourChoice = choice(controls, { label: "Colour", options: [["digit", "digit"], ["voice", "voice"], ["right", "right or wrong"]], value: colour, on: (to) => ((colour = to), draw()) });
    const told = element("p", "map-told"), legend = element("p", "map-legend");
    const canvas = element("canvas", "map-canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", `Map of ${count} clips, each the digit that was said; near means alike. Arrow keys go from point to point, Page Up and Page Down through all of them, Enter plays.`);
    const line = status(stage);
    stage.append(canvas, legend, told);
    const buttons = element("div", "moving-presses");
    stage.append(buttons);
    const size = megabytes(BUILT.runtime ? bytesNeeded("spotter") : 0);
    press(buttons, `Put your own voice on the map (${size})`, () => drop().catch((error) => explain(asked, error)));
    const also = element("label", "map-also"), sweep = element("input");
    sweep.type = "checkbox";
    also.append(sweep, element("span", "", "hear each clip that you come to"));
    buttons.append(also);
    press(buttons, "Reset", reset);
    const asked = status(stage, "moving-asked"); // beside the button: what to do, before there is something to see

    /* ---- Where points lie ---- */

    /* The places of all points, and of the reader's own, on a map of this name: steps of its side. */
    function places(name) {
      const { points } = data.maps[name];
      if (!own || name !== "spotter") return points;
      return [...points, [0, 1].map((axis) => own.near.reduce((sum, { clip, weight }) => sum + weight * points[clip][axis], 0))];
    }
    const bounding = (name) => {
      const all = data.maps[name].points;
      return [0, 1].map((axis) => [Math.min(...all.map((one) => one[axis])), Math.max(...all.map((one) => one[axis]))]);
    };
    const limits = { chapter: bounding("chapter"), spotter: bounding("spotter") };

    /* In pixels of the canvas, now. */
    function pixels() {
      const width = canvas.clientWidth - 2 * EDGE, height = canvas.clientHeight - 2 * EDGE;
      const on = (name) => {
        const [[left, right], [low, high]] = limits[name];
        return places(name).map(([x, y]) => [EDGE + (width * (x - left)) / (right - left), EDGE + (height * (high - y)) / (high - low)]);
      };
      const there = on(map);
      if (shift >= 1 || !from) return there;
      const start = on(from), part = shift * shift * (3 - 2 * shift);
      return there.map(([x, y], i) => (start[i] ? [start[i][0] + part * (x - start[i][0]), start[i][1] + part * (y - start[i][1])] : [x, y]));
    }

    /* ---- Drawing ---- */

    const shade = (name) => getComputedStyle(stage).getPropertyValue(`--pst-color-${name}`).trim();
    const kinds = { digit, voice, right: answer.map((one, i) => Number(one === digit[i])) };

    function colours() {
      if (colour === "right") return [shade("secondary"), shade("primary")];
      return document.documentElement.dataset.theme === "dark" ? window.d3.schemeSet3 : window.d3.schemeCategory10;
    }

    function draw() {
      const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
      if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
      if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
      const pen = canvas.getContext("2d"), spots = pixels(), shades = colours(), kind = kinds[colour], text = shade("text-base");
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      pen.clearRect(0, 0, width, height);
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.font = "bold 13px sans-serif";
      const looking = canvas.matches(":hover, :focus-visible");
      const chosen = !looking || current === null || current === OWN || colour === "right" ? null : kind[current];
      for (let i = 0; i < count; i++) {
        pen.globalAlpha = chosen === null || kind[i] === chosen ? 1 : 0.4; // what shares the colour of the chosen one stands out
        pen.fillStyle = shades[kind[i] % shades.length];
        pen.fillText(digit[i], ...spots[i]);
        if (answer[i] === digit[i]) continue;
        ring(pen, spots[i], 9, text, 1);
      }
      pen.globalAlpha = 1;
      if (own && map === "spotter") {
        pen.strokeStyle = text;
        own.near.forEach(({ clip, weight }) => {
          pen.lineWidth = 0.5 + 3 * weight;
          pen.beginPath();
          pen.moveTo(...spots[OWN]);
          pen.lineTo(...spots[clip]);
          pen.stroke();
        });
        pen.beginPath();
        pen.arc(...spots[OWN], 6, 0, 2 * Math.PI);
        pen.fillStyle = shade("accent");
        pen.fill();
        label(pen, "you", spots[OWN][0], spots[OWN][1] + 30, text);
      }
      if (current !== null && spots[current]) {
        ring(pen, spots[current], 13, shade("accent"), 3);
        if (current !== OWN) label(pen, brief(current), spots[current][0], spots[current][1] + (spots[current][1] < 50 ? 28 : -28), text);
      }
    }

    function ring(pen, [x, y], radius, stroke, width) {
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.strokeStyle = stroke;
      pen.lineWidth = width;
      pen.stroke();
    }

    function label(pen, text, x, y, stroke) {
      const wide = pen.measureText(text).width + 12, left = Math.min(Math.max(x - wide / 2, 2), canvas.clientWidth - wide - 2);
      pen.fillStyle = shade("background");
      pen.strokeStyle = stroke;
      pen.lineWidth = 1;
      pen.beginPath();
      pen.rect(left, y - 11, wide, 22);
      pen.fill();
      pen.stroke();
      pen.fillStyle = stroke;
      pen.fillText(text, left + wide / 2, y);
    }

    const brief = (i) => `${digit[i]} by ${data.voices[voice[i]]}${answer[i] === digit[i] ? "" : `, read ${answer[i]}`}`;

    function say(i) {
      if (i === OWN) return own.told;
      const wrong = answer[i] !== digit[i];
      return `${WORDS[digit[i]][0].toUpperCase()}${WORDS[digit[i]].slice(1)}, said by the synthetic voice ${data.voices[voice[i]]}; this chapter\u2019s model read ${wrong ? `${WORDS[answer[i]]}, wrong` : "it rightly"}, ${percent(chance[i])} sure.`;
    }

    function describe() {
      const { alike } = data.maps[map];
      told.textContent = `${SAID[map]} Counted in its embedding: the clip nearest to a clip is of the same digit in ${percent(alike.digit)} of all cases, and of the same voice in ${percent(alike.speaker)}; the nearest of another voice is of the same digit in ${percent(alike.across)}.`;
    }

    function drawLegend() {
      const shades = colours();
      const named = colour === "voice" ? data.voices : colour === "digit" ? [...WORDS.keys()].map(String) : ["misread", "read rightly"];
      legend.replaceChildren(
        ...named.map((name, i) => {
          const one = element("span", "", name), square = element("i");
          square.style.background = shades[i % shades.length];
          one.prepend(square);
          return one;
        }),
        element("span", "", "\u25ef misread by this chapter\u2019s model"),
      );
    }

    /* ---- What the reader does ---- */

    function show(name) {
      if (name === map) return;
      from = map;
      map = name;
      mapChoice.value = name;
      if (current === OWN && name !== "spotter") {
        current = null;
        line.textContent = "";
      }
      note.hidden = !own || name !== "spotter";
      describe();
      if (matchMedia("(prefers-reduced-motion: reduce)").matches) return draw();
      const began = performance.now();
      const move = (time) => {
        if (map !== name) return; // the reader has gone on
        shift = Math.min(1, Math.max(0, (time - began) / MOVES));
        draw();
        if (shift < 1) requestAnimationFrame(move);
      };
      shift = 0;
      requestAnimationFrame(move);
    }

    function choose(i) {
      if (i === current) return;
      current = i;
      line.textContent = say(i);
      draw();
      if (sweep.checked) {
        clearTimeout(later);
        later = setTimeout(() => sounded(i), STEP);
      }
    }
    let later = 0;

    async function sounded(i) {
      clearTimeout(later);
      try {
        if (i === OWN) return void play(own.audio, own.rate);
        if (!sound) line.textContent = `Loading the sound (${megabytes(BUILT.files["voices.mp3"].bytes)}).`;
        sound ??= await read("voices.mp3");
        if (current !== i) return; // the reader has gone on
        line.textContent = say(i);
        const [start, end] = bounds[i];
        void playPart(sound, start, end + data.gap);
      } catch (error) {
        explain(line, error);
      }
    }

    /* The point nearest to a place, if one is within reach. */
    function under({ offsetX, offsetY }) {
      const apart = pixels().map(([x, y]) => Math.hypot(x - offsetX, y - offsetY)), least = Math.min(...apart);
      return least <= REACH ? apart.indexOf(least) : null;
    }

    /* The point that an arrow leads to: near, and more ahead than aside. */
    function ahead([right, down]) {
      const spots = pixels(), [x, y] = spots[current];
      let best = null, least = Infinity;
      spots.forEach(([u, v], i) => {
        const along = (u - x) * right + (v - y) * down, aside = Math.abs((u - x) * down) + Math.abs((v - y) * right);
        if (along > 0.5 && aside <= along && along + 2 * aside < least) [best, least] = [i, along + 2 * aside];
      });
      return best;
    }

    canvas.addEventListener("pointermove", (event) => {
      const i = under(event);
      canvas.style.cursor = i === null ? "" : "pointer";
      if (i !== null) choose(i);
    });
    for (const gone of ["pointerleave", "blur"]) canvas.addEventListener(gone, draw);
    canvas.addEventListener("click", (event) => {
      const i = under(event);
      if (i === null) return;
      choose(i);
      void sounded(i);
    });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const all = pixels().length;
      let to = null;
      if (event.key in KEYS) to = current === null ? 0 : ahead(KEYS[event.key]);
      else if (event.key === "PageDown") to = current === null ? 0 : (current + 1) % all;
      else if (event.key === "PageUp") to = current === null ? 0 : (current + all - 1) % all;
      else if (event.key === "Enter" || event.key === " ") current === null || void sounded(current);
      else return;
      event.preventDefault();
      if (to !== null) choose(to);
    });

    /* Records a word, and puts it between those that the model that answers finds most alike. */
    async function drop() {
      const { audio, rate } = await record(asked);
      asked.textContent = "Asking the model.";
      await load("spotter", (part) => (asked.textContent = part === null ? "Starting the model." : `Loading the model: ${percent(part)}.`));
      const { embedding, logarithms } = await hear(audio);
      const near = placed(pool(embedding), directions, group), chances = oneWord(logarithms).slice(0, 10), most = Math.max(...chances);
      const names = near.map(({ clip, apart }) => `${WORDS[digit[clip]]} by ${data.voices[voice[clip]]} (${apart.toFixed(2)})`);
      const usual = mid(data.maps.spotter.apart);
      own = {
        audio,
        rate,
        near,
        told: `Your word, which this model reads as ${WORDS[chances.indexOf(most)]} (${percent(most)}). Nearest in its embedding: ${names.join(", ")}. For half of the clips here the nearest other voice is within ${usual.toFixed(2)}.`,
      };
      current = null;
      show("spotter");
      note.hidden = false;
      choose(OWN);
      asked.textContent = "";
      canvas.focus({ preventScroll: true });
      line.scrollIntoView({ block: "start" }); // the answer, and the map below it
    }
    const note = element("p", "map-note", "A finished map has no place for a new word. Yours stands at the mean of the five nearest in the embedding, one of each word and voice; the nearer, the more it counts. Lines lead to them, the thicker the nearer. A thick line that is long says: on this map there is no right place for your word.");
    note.hidden = true;
    stage.append(note);

    function reset() {
      clearTimeout(later);
      own = current = from = null;
      shift = 1;
      map = "chapter";
      colour = "digit";
      mapChoice.reset();
      colourChoice.reset();
      sweep.checked = false;
      asked.textContent = "";
      note.hidden = true;
      line.textContent = "";
      describe();
      drawLegend();
      draw();
    }

    colourChoice.box.addEventListener("change", drawLegend);
    new ResizeObserver(draw).observe(canvas);
    new MutationObserver(() => (drawLegend(), draw())).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    describe();
    drawLegend();
    draw();
  });
  Object.assign(window.spoken, { placed, unpack });
})();
