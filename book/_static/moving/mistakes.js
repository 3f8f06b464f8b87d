/* "Hear, choose, reveal": words of new voices, which the reader and the chapter's model name. studies/moving.py makes the data. */
(() => {
  "use strict";
  if (!window.spoken?.figure) return; // a script of this book is missing
  const { BUILT, DIGITS: WORDS, element, megabytes, percent, playPart, plot, press, read, status } = window.spoken;
  const MANY = WORDS.map((word) => (word === "six" ? "sixes" : `${word}s`));
  const ROUND = 5; // words
  const MISREAD = [2, 3, 4]; // of them: were it all of them, or always as many, one could tell without hearing
  const any = (list) => list[Math.floor(Math.random() * list.length)];

  function shuffled(list) {
    const mixed = [...list];
    for (let i = mixed.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
    }
    return mixed;
  }

  /* Gives items of a list in a random order, and all of them before any comes again. */
  function dealer(list) {
    let left = [];
    return () => {
      if (!left.length) left = shuffled(list);
      return left.pop();
    };
  }

  /* What the two nearest training clips say of a word, as the chapter does. */
  function neighbours({ said, read: answer, near }) {
    const all = (digit) => near.every((one) => one.digit === digit);
    if (all(answer) && answer !== said) return `Both training clips nearest to it are ${MANY[answer]}, as read: to the network this word is one of those.`;
    if (all(said) && answer !== said) return `Both training clips nearest to it are ${MANY[said]}, as said: only the last layer decided wrongly.`;
    if (all(said)) return `Both training clips nearest to it are ${MANY[said]} as well.`;
    return `The training clips nearest to it are ${near.map(({ digit }) => WORDS[digit]).join(" and ")}: little in training sounds like this word to the network.`;
  }

  function verdict({ said, read: answer }, you) {
    if (answer === said) return you === said ? "Both of you heard it." : "The model heard it, and you did not.";
    if (you === said) return "You heard what the model did not: the recording is good enough.";
    return you === answer ? "It misled you as it misled the model." : "Neither of you heard it. Is the recording to blame?";
  }

  window.spoken.figure("mistakes", async (stage) => {
    const facts = BUILT.files["voices.mp3"];
    const first = `Hear the first word (${megabytes(facts?.bytes ?? 0)})`;
    stage.append(element("p", "", `Five words by new voices, all synthetic. This chapter's model misread two, three or four of them. Which digit do you hear? Choose with a button${matchMedia("(hover: hover)").matches ? ", or with the keys 0 to 9" : ""}.`));

    let data = null, sound = null, deal = null; // {misread, right}: what gives the next word of each kind
    let round = []; // [{word, you}], as far as it was played
    let coming = []; // the words of this round that are still to come
    const all = []; // every answer so far
    let open = false; // a word waits for its answer

    const line = status(stage), keys = element("div", "mistakes-keys"), buttons = element("div", "moving-presses");
    keys.setAttribute("role", "group");
    keys.setAttribute("aria-label", "Which digit do you hear?");
    stage.append(keys, buttons);
    const digits = WORDS.map((word, digit) => {
      const key = press(keys, String(digit), () => answered(digit));
      key.setAttribute("aria-label", `${digit}, ${word}`);
      return key;
    });
    const main = press(buttons, first, () => (open ? void hear(now().word) : next()));
    const again = press(buttons, "Hear the word again", () => void hear(now().word));
    const resetting = press(buttons, "Reset", reset);
    const shown = element("div", "mistakes-shown"), chart = element("div"), beside = element("div", "mistakes-near");
    shown.append(chart, beside);
    const table = element("table", "mistakes-score"), total = element("p", "mistakes-total");
    total.setAttribute("role", "status");
    stage.append(shown, table, total);
    const now = () => round.at(-1);

    const hear = ({ bounds: [start, end] }) => playPart(sound, start, end + data.gap);

    function reset() {
      round = [];
      coming = [];
      all.length = 0;
      open = false;
      deal = data && { misread: dealer(data.words.filter((one) => one.read !== one.said)), right: dealer(data.words.filter((one) => one.read === one.said)) };
      line.textContent = total.textContent = "";
      main.textContent = first;
      show();
    }

    async function next() {
      if (!sound) {
        line.textContent = "Loading the sound.";
        data ??= await read("mistakes.json");
        sound = await read("voices.mp3");
      }
      if (!deal) reset();
      if (!coming.length) {
        const misread = any(MISREAD);
        coming = shuffled(Array.from({ length: ROUND }, (_, i) => (i < misread ? deal.misread() : deal.right())));
        round = [];
      }
      total.textContent = "";
      round.push({ word: coming.pop(), you: null });
      open = true;
      main.textContent = "Hear it again";
      line.textContent = `Word ${round.length} of ${ROUND}, by a synthetic voice. Which digit is it?`;
      show();
      if (!stage.contains(document.activeElement)) stage.focus({ preventScroll: true }); // not every browser gives a pressed button the keys
      void hear(now().word);
    }

    function answered(you) {
      if (!open) return;
      open = false;
      now().you = you;
      all.push(now());
      const { word } = now(), { said, read: answer, chances } = word;
      const told = [
        `${WORDS[said][0].toUpperCase()}${WORDS[said].slice(1)} was said, by ${word.speaker}.`,
        `You: ${WORDS[you]}, ${you === said ? "right" : "wrong"}. The model: ${WORDS[answer]}, ${percent(chances[answer])} sure, ${answer === said ? "right" : "wrong"}.`,
        verdict(word, you),
      ];
      line.textContent = told.join(" ");
      total.textContent = coming.length ? "" : score();
      main.textContent = coming.length ? "Next word" : "Another five words";
      show();
      main.focus();
    }

    const right = (list, who) => list.filter((one) => (who === "you" ? one.you : one.word.read) === one.word.said).length;

    /* What stands after a round. */
    function score() {
      const hard = all.filter(({ word }) => word.read !== word.said);
      return [
        `Score: you ${right(round, "you")} of ${ROUND}, the model ${right(round, "model")} of ${ROUND}.`,
        `Of the ${hard.length} words so far that it misread you heard ${right(hard, "you")}.`,
        `These words were chosen against it: of all ${data.clips} it read ${data.clips - data.mistakes} rightly.`,
      ].join(" ");
    }

    function show() {
      const answeredNow = round.length > 0 && !open;
      keys.hidden = !round.length;
      for (const one of digits) one.setAttribute("aria-disabled", String(!open));
      again.hidden = !answeredNow;
      resetting.hidden = !round.length;
      shown.hidden = !answeredNow;
      table.hidden = !all.length;
      if (answeredNow) reveal(now());
      if (all.length) drawScore();
    }

    function reveal({ word, you }) {
      const { said, read: answer, chances, near } = word;
      const marks = (digit) => [digit === said && "said", digit === answer && "read", digit === you && "you"].filter(Boolean);
      const colour = (digit) => (digit === said ? "var(--pst-color-primary)" : digit === answer ? "var(--pst-color-secondary)" : "var(--pst-color-text-muted)");
      const bars = chances.map((chance, digit) => ({ chance, digit }));
      const names = bars.flatMap(({ chance, digit }) => marks(digit).map((text, i) => ({ chance, digit, text, i })));
      plot(
        chart,
        () => ({
          height: 230,
          marginTop: 46, // for three names, one above the other
          marginLeft: 44,
          x: { domain: [...WORDS.keys()], label: "digit", padding: 0.2, labelArrow: "none" },
          y: { domain: [0, 100], label: "how sure the model was, in %", labelAnchor: "center", ticks: [0, 50, 100], grid: true, labelArrow: "none" },
          marks: [
            window.Plot.barY(bars, { x: "digit", y: ({ chance }) => 100 * chance, fill: ({ digit }) => colour(digit) }),
            ...[0, 1, 2].map((i) => window.Plot.text(names.filter((one) => one.i === i), { x: "digit", y: ({ chance }) => 100 * chance, text: "text", dy: -7 - 12 * i, fill: "currentColor" })),
            window.Plot.ruleY([0]),
          ],
        }),
        `How sure the model was of each digit: ${bars.map(({ chance, digit }) => `${digit} ${percent(chance)}`).join(", ")}. Said ${said}, read ${answer}, you ${you}.`,
      );
      beside.replaceChildren(element("p", "", neighbours(word)));
      const row = element("div", "moving-presses");
      beside.append(row);
      near.forEach((one) => press(row, `${WORDS[one.digit]} by ${one.speaker}, distance ${one.distance.toFixed(2)}`, () => void hear(one)));
      const inTurn = async () => {
        for (const one of [word, ...near]) if (!(await hear(one))) return; // something else is to be heard
      };
      press(row, "The word, then both", () => void inTurn());
    }

    function drawScore() {
      const cell = (name, text, className = "") => element(name, className, text);
      const rows = [["said", (one) => one.word.said], ["you", (one) => one.you], ["model", (one) => one.word.read]];
      const head = element("tr"), body = element("tbody"), places = Array.from({ length: ROUND }, (_, i) => i);
      head.append(cell("th", "word"), ...places.map((i) => cell("th", String(i + 1))), cell("th", "right"));
      const answers = round.filter(({ you }) => you !== null);
      for (const [who, of] of rows) {
        const row = element("tr"), name = cell("th", who);
        name.scope = "row";
        row.append(name);
        for (const i of places) {
          const one = answers[i], good = one && of(one) === one.word.said;
          row.append(cell("td", one ? `${of(one)}${who === "said" ? "" : good ? " ✓" : " ✗"}` : "", one && who !== "said" ? (good ? "mistakes-right" : "mistakes-wrong") : ""));
        }
        row.append(cell("td", who === "said" ? "" : `${right(answers, who)} of ${answers.length}`));
        body.append(row);
      }
      for (const one of head.children) one.scope = "col";
      const top = element("thead");
      top.append(head);
      table.replaceChildren(cell("caption", "This round"), top, body);
    }

    stage.tabIndex = -1;
    stage.addEventListener("keydown", (event) => {
      if (!open || event.ctrlKey || event.altKey || event.metaKey || !/^\d$/.test(event.key)) return;
      event.preventDefault();
      answered(Number(event.key));
    });
    show();
  });
})();
