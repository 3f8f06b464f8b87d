/* "Who was in the sample": tests of a model whose accuracy is known, each with other speakers, and whether two intervals hold it. */
(() => {
  "use strict";
  if (!window.spoken?.figure) return;
  const { choice, element, figure, plot, press, slider, speakerInterval, status, wilson } = window.spoken;
  const MEAN = 0.95; // the truth: the mean accuracy of all people
  const SPREADS = [[0, "alike"], [0.7, "unlike"], [1.2, "very unlike"]]; // as `spread` of topics.coverage
  const MANY = 1000, SHOWN = 40, SEED = 6;
  const FEWER = 0.93; // chance alone leaves a thousand tests above it
  const WAYS = ["respects speakers", "counts clips"];

  /* A test: speakers with their own accuracies from a Beta distribution, some clips of each, and both intervals. */
  function draw(random, { speakers, clips, spread }) {
    const rate = 1 - MEAN, both = spread ? MEAN / (rate * spread ** 2) - 1 : 0;
    const wrong = spread ? window.d3.randomBeta.source(random)(rate * both, MEAN * both) : () => rate;
    const binomial = window.d3.randomBinomial.source(random);
    const right = Array.from({ length: speakers }, () => binomial(clips, 1 - wrong())());
    const all = right.reduce((a, b) => a + b), sizes = right.map(() => clips);
    const intervals = [speakerInterval(right, sizes), wilson(all, clips * speakers)];
    return {
      shares: right.map((one) => one / clips),
      share: all / (clips * speakers),
      intervals: intervals.map((one) => ({ ...one, holds: one.low <= MEAN && MEAN <= one.high })),
    };
  }

  figure("sample", (stage) => {
    let random, drawn, lowest; // all tests since the last change, the newest last, and the lowest number among them
    const controls = element("div", "moving-controls"), presses = element("div", "moving-presses");
    const people = element("div", "sample-people"), tests = element("div", "sample-tests");
    const lead = element("p", "", "Here the truth is known: of all that people say, a model names 95 % rightly. Each test asks a few of them, and puts two intervals around what it finds. Draw a thousand: how often does each interval hold the truth? Then ask for more clips of each speaker. Then ask more speakers.");
    stage.append(lead, controls);
    const set = {
      speakers: slider(controls, { label: "speakers in a test", min: 2, max: 40, value: 6, on: reset }),
      clips: slider(controls, { label: "clips of each", min: 5, max: 200, step: 5, value: 50, on: reset }),
    };
    const spread = choice(controls, { label: "they are read", options: SPREADS, value: 0.7, on: reset });
    stage.append(presses);
    press(presses, "Draw a test", () => more(1));
    press(presses, "Draw a thousand", () => more(MANY));
    press(presses, "Start again", () => {
      for (const one of [set.speakers, set.clips, spread]) one.reset();
      reset();
    });
    const said = status(stage);
    said.classList.add("sample-status");
    const key = `The dashed line is the truth. Below, a dot is what a test found. Thick and orange: the interval misses the truth. Of many tests the last ${SHOWN} are drawn.`;
    stage.append(people, tests, element("p", "", key));

    function reset() {
      random = window.d3.randomLcg(SEED / 10);
      drawn = [];
      lowest = 1;
      more(1);
    }
    function more(number) {
      const plan = { speakers: set.speakers.value, clips: set.clips.value, spread: spread.value };
      for (let i = 0; i < number; i++) {
        const test = draw(random, plan);
        lowest = Math.min(lowest, ...test.shares, ...test.intervals.map((one) => one.low));
        drawn.push(test);
      }
      show();
    }

    function show() {
      const last = drawn.at(-1), percent = (value) => `${(100 * value).toFixed(1)} %`;
      const held = WAYS.map((_, way) => drawn.filter(({ intervals }) => intervals[way].holds).length);
      const [ours, naive] = last.intervals;
      said.textContent =
        drawn.length === 1
          ? `This test found ${percent(last.share)}. The interval that respects speakers goes from ${percent(ours.low)} to ${percent(ours.high)}, the one that counts clips from ${percent(naive.low)} to ${percent(naive.high)}. The truth is 95 %.`
          : `Of ${drawn.length.toLocaleString("en")} tests, the interval that respects speakers held the truth in ${percent(held[0] / drawn.length)}, the one that counts clips in ${percent(held[1] / drawn.length)}. Both promise 95 %.${drawn.length > MANY / 2 && held[0] < FEWER * drawn.length ? " So few speakers, so unlike: here even the first promises a little too much." : ""}`;
      const from = lowest < 0.6 ? 0 : 0.6, every = (1 - from) / 4;
      const axis = { domain: [from, 1], ticks: [1, 2, 3, 4].map((i) => from + i * every), tickFormat: (value) => `${Math.round(100 * value)} %`, label: null };
      const alike = new Map(); // how many dots stand at each share
      const dots = last.shares.map((share) => ({ share, place: alike.set(share, (alike.get(share) ?? -1) + 1).get(share) }));
      const truth = window.Plot.ruleX([MEAN], { stroke: "currentColor", strokeDasharray: "4 3" });
      plot(
        people,
        () => ({
          height: 110,
          marginLeft: 16,
          marginRight: 22,
          x: { ...axis, label: "accuracy of each speaker in the newest test" },
          y: { axis: null, domain: [-0.5, Math.max(8, ...alike.values())] },
          marks: [truth, window.Plot.dot(dots, { x: "share", y: "place", r: 4, fill: "var(--pst-color-text-muted)", stroke: "var(--pst-color-background)", strokeWidth: 0.5 })],
        }),
        `The newest test: ${last.shares.length} speakers, the worst read at ${percent(Math.min(...last.shares))}, the best at ${percent(Math.max(...last.shares))}.`,
      );
      const rows = drawn.slice(-SHOWN).flatMap(({ intervals, share }, test) => intervals.map((one, way) => ({ ...one, share, test, way: WAYS[way] })));
      const colour = (one) => (one.holds ? "var(--pst-color-primary)" : "var(--pst-color-secondary)");
      plot(
        tests,
        (width) => {
          const facet = width < 500 ? "fy" : "fx"; // below each other on a phone
          return {
            height: width < 500 ? 460 : 270,
            marginLeft: 16,
            marginRight: 22,
            x: { ...axis, label: "accuracy that a test found, and its interval" },
            y: { axis: null, domain: [-5, Math.max(9, Math.min(SHOWN, drawn.length))], reverse: true },
            [facet]: { domain: WAYS, axis: null, padding: 0.12 },
            marks: [
              truth,
              window.Plot.text(WAYS, { [facet]: (way) => way, frameAnchor: "top-left", text: (way) => `an interval that ${way}`, fontWeight: 600 }),
              window.Plot.ruleY(rows, { [facet]: "way", y: "test", x1: "low", x2: "high", stroke: colour, strokeWidth: (one) => (one.holds ? 1.5 : 3) }),
              window.Plot.dot(rows, { [facet]: "way", y: "test", x: "share", r: 2, fill: colour }),
            ],
          };
        },
        `The last ${Math.min(SHOWN, drawn.length)} tests with both intervals. Thick lines miss the truth: ${WAYS.map((way) => `${rows.filter((one) => one.way === way && !one.holds).length} of those that ${way === WAYS[0] ? "respect speakers" : "count clips"}`).join(", ")}.`,
      );
    }
    reset();
  });

  window.spoken.drawTest = draw;
})();
