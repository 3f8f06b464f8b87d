/* "Break it": disturbs a word until the model gives up, and until the reader does; then both points stand side by side. */
(() => {
  "use strict";
  if (!window.spoken?.disturber) return; // a script of this book is missing
  const { BUILT, DIGITS: WORDS, bytesNeeded, choice, clipOf, disturber, element, explain, hear, load, mean, megabytes, needed, noiseOf, noiseSlider, oneWord, percent, pictureIn, play, plot, press, quieter, read, record, signed, slider, status } =
    window.spoken;
  const CLIPS = [["seven-s01.flac", 7], ["five-s12.flac", 5], ["nine-s12.flac", 9]];
  const VOICE = "voice";
  const ECHOES = [0, 0.2, 0.4, 0.6, 0.8, 1, 2]; // seconds, as in break-rooms.json
  const NOISIEST = -18, CLEAREST = 30, LESS = 3; // dB, from where the noise falls until a hidden word is understood

  /* The chances of ten digits, and that of none of them. */
  async function chancesOf(audio) {
    const chances = oneWord((await hear(audio)).logarithms);
    return [...chances.slice(0, 10), chances[10] + chances[11]];
  }
  const best = (chances) => chances.indexOf(Math.max(...chances));

  window.spoken.figure("break", async (stage) => {
    const rate = BUILT.spotter.recipe.sample_rate;
    const size = megabytes(bytesNeeded("spotter"));

    /* ---- The word, and what disturbs it ---- */

    const clips = new Map(); // name: {audio, length, digit}
    const spokenBy = async (name, digit) => clips.get(name) ?? clips.set(name, { ...(await clipOf(await read(name))), digit }).get(name);
    let clip = await spokenBy(...CLIPS[0]);
    const words = element("div", "break-words");
    const lead = "Disturb a word, play it, and ask the model what it hears. Begin with the noise: at which strength does the model give up, and when do you? Decibels say how far the voice lies above it.";
    stage.append(element("p", "", lead), words);
    const recorded = status(stage, "moving-asked");
    const options = CLIPS.map(([name, digit]) => [name, WORDS[digit]]);
    const word = choice(words, {
      label: "The word",
      options: [...options, [VOICE, "your voice"]],
      value: CLIPS[0][0],
      on: async (name) => {
        const chosen = await spokenBy(name, CLIPS.find(([one]) => one === name)?.[1]);
        if (name !== word.value) return; // another was chosen meanwhile
        clip = chosen;
        recorded.textContent = "";
        change();
      },
    });
    const own = word.box.lastElementChild; // until there is one, nobody can choose it
    own.hidden = true;
    press(words, "Say it yourself", async () => {
      clip = { ...(await clipOf(await record(recorded))), digit: null };
      clips.set(VOICE, clip);
      own.hidden = false;
      word.value = VOICE;
      recorded.textContent = "This is your word. Disturb it.";
      change();
    });

    const controls = element("div", "moving-controls");
    stage.append(controls);
    const noise = noiseSlider(controls, { label: "Noise", show: (decibels) => (decibels === Infinity ? "none" : `${noiseOf(decibels)}, ${signed(decibels)}`), on: change });
    const kind = choice(controls, { label: "Kind", options: [["white", "white"], ["babble", "eight voices"]], value: "white", on: change });
    const echoed = slider(controls, { label: "Echo, until it is gone", min: 0, max: ECHOES.length - 1, value: 0, show: (i) => (i ? `${ECHOES[i]} s` : "none"), on: change });
    const phone = choice(controls, { label: "Telephone", options: [["", "off"], ["telephone", "300 to 3,400 Hz"]], value: "", on: change });
    const pitch = slider(controls, {
      label: "Pitch",
      min: -12,
      max: 12,
      value: 0,
      show: (n) => (n ? `${Math.abs(n)} semitone${Math.abs(n) > 1 ? "s" : ""} ${n > 0 ? "higher" : "lower"}` : "as spoken"),
      on: change,
    });
    const all = [noise, echoed, pitch, kind, phone];
    const settings = () => ({ pitch: pitch.value, t60: ECHOES[echoed.value], kind: kind.value, decibels: noise.decibels, line: phone.value });

    const presses = element("div", "moving-presses");
    stage.append(presses);
    press(presses, "Play", async () => void play(quieter(heard, clip), rate));
    press(presses, "Undisturbed", async () => {
      for (const one of all) one.reset();
      change();
    });
    const also = element("label", "break-also"), box = element("input");
    box.type = "checkbox";
    also.append(box, element("span", "", "play after each change"));
    presses.append(also);

    const bar = element("progress", "break-bar");
    bar.max = 1;
    bar.hidden = true;
    bar.setAttribute("aria-label", "Loading the model");
    stage.append(bar);
    async function bringModel() {
      bar.hidden = false;
      try {
        await load("spotter", (share) => (share === null ? bar.removeAttribute("value") : (bar.value = share)));
        asking.remove();
        if (document.activeElement === document.body) presses.firstElementChild.focus({ preventScroll: true });
      } finally {
        bar.hidden = true;
      }
    }

    /* ---- What comes of it: picture, chances, sound ---- */

    const shown = element("div", "break-shown"), left = element("div"), right = element("div", "break-chances");
    shown.append(left, right);
    stage.append(shown);
    const paint = await pictureIn(left);
    const asking = element("div", "break-asking");
    right.append(asking);
    asking.append(element("p", "", "How sure will the model be? It is the one of the page \u201cSay a digit\u201d."));
    press(asking, `Ask the model (${size})`, async () => {
      await bringModel();
      await change();
    });
    const line = status(stage);
    const disturbed = disturber();
    let heard = clip.audio, busy = false, again = false, later = 0;

    /* Follows the controls; of many changes at once, the last one. */
    async function change() {
      again = true;
      if (busy) return;
      busy = true;
      try {
        while (again) {
          again = false;
          const now = clip;
          heard = await disturbed(now, settings());
          paint(heard, `Log-mel picture of ${now.digit === null ? "your word" : WORDS[now.digit]}: ${told()}.`);
          if (box.checked) {
            clearTimeout(later);
            later = setTimeout(() => play(quieter(heard, clip), rate), 250);
          }
          if (!asking.isConnected) tell(await chancesOf(heard), now);
        }
      } catch (error) {
        explain(line, error);
      } finally {
        busy = false;
      }
    }
    const told = () => {
      const { t60, decibels, line: over } = settings();
      const parts = [decibels === Infinity ? "" : `${kind.value === "babble" ? "eight voices" : "white noise"} at ${signed(decibels)}`, t60 ? `an echo of ${t60} s` : "", pitch.value ? pitch.input.getAttribute("aria-valuetext") : "", over];
      return parts.filter(Boolean).join(", ") || "undisturbed";
    };

    function tell(chances, { digit }) {
      const most = best(chances), names = [...WORDS.keys(), "\u2013"].map(String);
      const answer = most === 10 ? "no digit" : WORDS[most], unsure = chances[most] < BUILT.decoding.sure;
      line.textContent = `The model ${unsure ? "is not sure: perhaps" : "hears"} ${answer}, ${percent(chances[most])}.`;
      const colour = (i) => (digit === null || i === 10 ? "var(--pst-color-text-muted)" : i === digit ? "var(--pst-color-primary)" : "var(--pst-color-secondary)");
      plot(
        right,
        () => ({
          height: 200,
          marginTop: 24,
          x: { domain: names, label: "what the model hears; \u2013 is no digit", padding: 0.2 },
          y: { domain: [0, 100], label: "chance, per cent", ticks: [0, 50, 100], grid: true },
          marks: [window.Plot.barY(chances, { x: (_, i) => names[i], y: (one) => 100 * one, fill: (_, i) => colour(i) }), window.Plot.ruleY([0])],
        }),
        `Chances: ${chances.map((one, i) => `${i < 10 ? i : "no digit"} ${percent(one)}`).join(", ")}.`,
      );
    }

    /* ---- Who gives up first? Nobody knows the word, and the noise falls until it is understood. ---- */

    const test = element("div", "break-test");
    stage.append(test);
    test.append(element("p", "break-title", "Who gives up first?"));
    const rule = `A digit hides in noise, disturbed as set above. The noise falls by ${LESS} dB at a time until you name it. The model hears the same sounds, and its answer counts once it is at least half sure. It has learned from voices of this kind.`;
    test.append(element("p", "", rule));
    const asked = element("div", "break-asked"), keys = element("div", "break-keys"), begins = element("div", "moving-presses");
    asked.hidden = true;
    test.append(asked, begins);
    const question = status(asked);
    asked.append(keys);
    WORDS.forEach((_, digit) => press(keys, String(digit), () => answered(digit)));
    press(keys, "No idea: less noise", () => answered(null));
    press(keys, "Again", sound);
    const next = press(begins, "Hear a hidden word", begin);
    const compare = press(begins, `Now the model (${size})`, async () => {
      await bringModel();
      await finish();
    });
    compare.hidden = true;
    const result = status(test), chart = element("div", "break-chart");
    test.append(chart);
    const rounds = []; // [{digit, clip, how, decibels, you, model, wrong}]
    let round = null;

    const at = (decibels) => round.disturbed(round.clip, { ...round.how, decibels });

    async function begin() {
      const last = rounds.at(-1)?.digit, others = [...WORDS.keys()].filter((one) => one !== last);
      const digit = others[Math.floor(Math.random() * others.length)];
      const hidden = await clipOf(await read(`break-${WORDS[digit]}.flac`));
      round = { digit, clip: hidden, how: settings(), disturbed: disturber(), decibels: NOISIEST, wrong: 0 };
      rounds.push(round);
      asked.hidden = false;
      begins.hidden = true;
      shown.style.visibility = "hidden"; // it shows another word
      line.textContent = result.textContent = "";
      await sound();
      keys.firstElementChild.focus({ preventScroll: true });
    }

    async function sound(before = "") {
      question.textContent = `${before}Noise at ${signed(round.decibels)}. Which digit is it?`;
      const audio = await at(round.decibels);
      void play(quieter(audio, round.clip), rate);
    }

    async function answered(digit) {
      const right = digit === round.digit;
      if (!right && round.decibels < CLEAREST) {
        round.wrong += digit !== null;
        round.decibels += LESS;
        return sound(digit === null ? "" : "Not that one. ");
      }
      round.you = right ? round.decibels : null;
      asked.hidden = true;
      begins.hidden = false;
      shown.style.visibility = "";
      next.textContent = "Another word";
      next.focus({ preventScroll: true });
      await finish();
    }

    /* Asks the model about what it has not heard yet, if it is there, and says where both stand. */
    async function finish() {
      const ready = needed("spotter").length === 0;
      compare.hidden = ready;
      for (const one of ready ? rounds.filter((one) => one.model === undefined) : []) {
        round = one;
        one.model = null;
        for (let decibels = NOISIEST; decibels <= CLEAREST && one.model === null; decibels += LESS) {
          const chances = await chancesOf(await at(decibels));
          if (best(chances) === one.digit && chances[one.digit] >= BUILT.decoding.sure) one.model = decibels;
        }
      }
      result.textContent = verdict();
      drawPoints();
    }

    function verdict() {
      const last = rounds.at(-1), down = (decibels) => (decibels === null ? "at none of these strengths" : `down to ${signed(decibels)}`);
      const said = [`It was ${WORDS[last.digit]}. You followed ${down(last.you)}${last.model === undefined ? "" : `, the model ${down(last.model)}`}.`];
      const both = rounds.filter(({ you, model }) => you != null && model != null);
      if (both.length > 1) said.push(`Over ${both.length} words, on average: you ${down(Math.round(mean(both.map((one) => one.you))))}, the model ${down(Math.round(mean(both.map((one) => one.model))))}.`);
      if (both.length) {
        const apart = mean(both.map(({ you, model }) => model - you)), times = (10 ** (Math.abs(apart) / 10)).toPrecision(2);
        said.push(Math.abs(apart) < 1 ? "You give up together." : `${apart > 0 ? "You bear" : "The model bears"} ${Number(times)} times as much noise.`);
      }
      return said.join(" ");
    }

    function drawPoints() {
      const points = rounds.flatMap(({ digit, you, model }) => [
        { who: "you", digit, decibels: you },
        { who: "the model", digit, decibels: model },
      ]).filter(({ decibels }) => decibels != null);
      const place = () => window.Plot.dodgeY("middle", { x: "decibels", fy: "who", r: 10, padding: 0 });
      plot(
        chart,
        () => ({
          height: 180,
          marginLeft: 12,
          marginRight: 70,
          marginBottom: 40,
          x: { domain: [CLEAREST + 2, NOISIEST - 2], label: "noise in dB; to the right there is more", labelAnchor: "center", labelArrow: "none", grid: true },
          fy: { domain: ["you", "the model"], label: null, padding: 0.1 },
          marks: [
            window.Plot.dot(points, { ...place(), fill: "var(--pst-color-surface)", stroke: ({ who }) => (who === "you" ? "var(--pst-color-text-base)" : "var(--pst-color-primary)"), strokeWidth: 2 }),
            window.Plot.text(points, { ...place(), text: ({ digit }) => String(digit), fill: "currentColor" }),
            window.Plot.axisFy({ anchor: "right", label: null }),
          ],
        }),
        `Down to which noise each hidden word was understood. ${points.map(({ who, digit, decibels }) => `${digit} by ${who}: ${signed(decibels)}`).join("; ")}.`,
      );
    }

    await change();
  });

  Object.assign(window.spoken, { chancesOf });
})();
