/* "The price of a mistake": a threshold through the scores of what strangers said, what it lets pass and turns away, and what that costs.
   The scores are those of book/results/strangers.json: nobody who is asked was in the training that answers. */
(() => {
  "use strict";
  if (!window.spoken?.figure) return;
  const { choice, element, figure, plot, press, read, slider, status } = window.spoken;
  const END = 7; // logits at either end of the axis: 0.1 and 99.9 %
  const TICKS = [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999];
  // What a mistake costs, in questions asked again. A wrong digit, and a sound that is none and is taken for one.
  const USES = [
    ["game", "a game", { wrong: 1, taken: 0.2 }],
    ["menu", "a telephone menu", { wrong: 3, taken: 2 }],
    ["bank", "a bank", { wrong: 30, taken: 10 }],
  ];

  /* The chance that a digit was said, on an axis that gives its ends room. score: the chance's logarithm, as `digit_score`. */
  function logit(score) {
    const chance = Math.exp(Math.min(score, 0));
    return Math.max(-END, Math.min(END, Math.log(chance / Math.max(1 - chance, 1e-12))));
  }

  /* What a threshold does with the scores: counts of digits read rightly, wrongly and turned away, of words and noises taken. */
  function count({ digits, "other words": words, noises }, threshold) {
    const kept = digits.filter(([score]) => score >= threshold), right = kept.filter(([, one]) => one).length;
    const taken = (scores) => scores.filter((score) => score >= threshold).length;
    return { right, wrong: kept.length - right, away: digits.length - kept.length, words: taken(words), noises: taken(noises) };
  }

  /* The cost of a hundred sounds, of which `share` are digits and the others words, in questions asked again. */
  function cost(scores, threshold, { wrong, taken }, share) {
    const found = count(scores, threshold), digits = scores.digits.length, words = scores["other words"].length;
    return 100 * (share * ((found.away + wrong * found.wrong) / digits) + (1 - share) * taken * (found.words / words));
  }

  figure("price", async (stage) => {
    const { scores, threshold: pages, strangers } = await read("strangers.json");
    const STEP = 0.05, steps = Array.from({ length: Math.round((2 * END) / STEP) + 1 }, (_, i) => -END + STEP * i); // where the slider can stand
    const back = (place) => -Math.log(1 + Math.exp(-place)); // from a place on the axis to a score
    const lead = element("p", "", `${strangers.digits.speakers} strangers said ${scores.digits.length} digits, and ${strangers.words.taken.speakers} said ${scores["other words"].length} other words. The model of \u201cSay a digit\u201d gives each sound a chance that it is a digit. Drag the threshold: what lies left of it gets no answer. Which threshold would you choose for a game, and which for a bank?`);
    const controls = element("div", "moving-controls"), presses = element("div", "moving-presses");
    const charts = element("div", "price-scores"), costs = element("div", "price-costs");
    stage.append(lead, controls, presses);
    const limit = slider(controls, { label: "threshold", min: -END, max: END, step: STEP, value: STEP * Math.round(logit(pages) / STEP), show: (place) => percent(back(place)), on: show });
    const share = slider(controls, { label: "digits among a hundred words", min: 5, max: 95, step: 5, value: 50, on: show });
    const use = choice(controls, { label: "what for:", options: USES.map(([name, text]) => [name, text]), value: "menu", on: show });
    press(presses, "Go to the cheapest", () => {
      limit.value = best();
      show();
    });
    press(presses, "Start again", () => {
      for (const one of [limit, share, use]) one.reset();
      show();
    });
    const said = status(stage), priced = element("p");
    const key = "Heights are square roots of shares, so that a few mistakes can be seen beside hundreds. Noises are counted, and not in the cost.";
    stage.append(priced, charts, costs, element("p", "", key));

    function percent(score) {
      const value = 100 * Math.exp(score);
      return `${value < 1 || value > 99 ? value.toFixed(1) : Math.round(value)} %`;
    }
    const prices = () => USES.find(([name]) => name === use.value)[2];
    const costAt = (place) => cost(scores, back(place), prices(), share.value / 100);
    const best = () => steps.reduce((a, b) => (costAt(b) < costAt(a) ? b : a));

    /* Bars of one kind of sound: how many of a hundred lie where, and what becomes of them. */
    function bars(kind, values, fate) {
      const bins = new Map(), width = 0.35;
      for (const value of values) {
        const place = logit(value[0]), bin = Math.min(END - width, -END + width * Math.floor((place + END) / width)), what = fate(value);
        bins.set(`${bin} ${what}`, { kind, x1: bin, x2: bin + width, what, share: (bins.get(`${bin} ${what}`)?.share ?? 0) + 100 / values.length });
      }
      return [...bins.values()];
    }

    function show() {
      const threshold = back(limit.value), found = count(scores, threshold), all = scores.digits.length;
      said.textContent =
        `Of ${all} digits, ${found.right} are read rightly, ${found.wrong} wrongly, ${found.away} turned away. ` +
        `Of ${scores["other words"].length} other words, ${found.words} are taken for a digit, of ${scores.noises.length.toLocaleString("en")} pieces of noise ${found.noises}.`;
      const { wrong, taken } = prices();
      priced.textContent = `The cost, in questions asked again: a digit turned away 1, a digit read wrongly ${wrong}, another word taken for a digit ${taken}.`;
      const passes = (score) => score >= threshold;
      const rows = [
        ...bars("digits", scores.digits, ([score, right]) => (!passes(score) ? "no answer" : right ? "right" : "mistake")),
        ...bars("other words", scores["other words"].map((one) => [one]), ([score]) => (passes(score) ? "mistake" : "no answer")),
        ...bars("noises", scores.noises.map((one) => [one]), ([score]) => (passes(score) ? "mistake" : "no answer")),
      ];
      const { Plot } = window;
      const axis = { domain: [-END, END], ticks: TICKS.map((one) => Math.log(one / (1 - one))), tickFormat: (place) => percent(back(place)), label: null };
      const line = Plot.ruleX([limit.value], { stroke: "currentColor", strokeWidth: 2 });
      plot(
        charts,
        () => ({
          height: 260,
          marginLeft: 44,
          marginRight: 26,
          x: { ...axis, label: "chance that a digit was said" },
          y: { axis: null, type: "sqrt" }, // a few mistakes must be seen beside hundreds
          fy: { domain: ["digits", "other words", "noises"], axis: null, padding: 0.15 },
          color: { domain: ["right", "no answer", "mistake"], range: ["var(--pst-color-primary)", "var(--pst-color-text-muted)", "var(--pst-color-secondary)"], legend: true },
          marks: [
            Plot.rectY(rows, { fy: "kind", x1: "x1", x2: "x2", y: "share", fill: "what", insetLeft: 0.5, insetRight: 0.5 }),
            // Where no bar is high: most digits lie on the right, most other sounds on the left.
            Plot.text(["digits"], { fy: (kind) => kind, frameAnchor: "top-left", text: (kind) => kind, fontWeight: 600 }),
            Plot.text(["other words", "noises"], { fy: (kind) => kind, frameAnchor: "top-right", text: (kind) => kind, fontWeight: 600 }),
            line,
          ],
        }),
        `Scores of digits, other words and noises, a row of bars each, and the threshold at ${percent(threshold)}. ${said.textContent}`,
      );
      const cheapest = best(), name = USES.find(([one]) => one === use.value)[1];
      plot(
        costs,
        () => ({
          height: 160,
          marginTop: 24,
          marginLeft: 44,
          marginRight: 26,
          x: { ...axis, label: "threshold" },
          y: { label: "questions asked again for 100 words", zero: true, ticks: 4 },
          marks: [
            Plot.line(steps, { x: (place) => place, y: costAt, stroke: "var(--pst-color-primary)", strokeWidth: 2 }),
            Plot.dot([limit.value], { x: (place) => place, y: costAt, r: 5, fill: "currentColor" }),
            Plot.dot([cheapest], { x: (place) => place, y: costAt, r: 4, stroke: "currentColor", fill: "var(--pst-color-background)" }),
            Plot.text([cheapest], { x: (place) => place, y: costAt, text: () => "cheapest", dy: -14, fontWeight: 600 }),
            line,
          ],
        }),
        `What a hundred words cost ${name}, in questions asked again: ${costAt(limit.value).toFixed(1)} at this threshold, ${costAt(cheapest).toFixed(1)} at the cheapest, ${percent(back(cheapest))}.`,
      );
    }
    show();
  });

  window.spoken.price = { cost, count };
})();
