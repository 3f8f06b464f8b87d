/* The front page's figure: a digit in noise, to hear and to see. The less noise, the plainer it is. */
(() => {
  "use strict";
  if (!window.spoken?.disturber) return; // a script of this book is missing
  const { BUILT, clipOf, disturber, element, noiseOf, noiseSlider, pictureIn, play, press, quieter, read, status } = window.spoken;
  const FILE = "seven-s01.flac", DIGIT = 7, WORD = "seven";
  const FIRST = -15; // dB: nobody names it here

  window.spoken.figure("front", async (stage) => {
    const rate = BUILT.spotter.recipe.sample_rate, clip = await clipOf(await read(FILE)), disturbed = disturber();
    let heard = clip.audio, found = false;
    const paint = await pictureIn(stage, false);
    const noise = noiseSlider(stage, { label: "Noise", decibels: FIRST, on: change });
    const presses = element("div", "moving-presses"), keys = element("div", "break-keys");
    stage.append(presses);
    press(presses, "\u25b6\ufe0e Play", async () => void play(quieter(heard, clip), rate));
    noise.input.addEventListener("change", () => play(quieter(heard, clip), rate)); // as soon as the slider is let go
    stage.append(element("p", "front-question", "Which digit is it? Take noise away until you know."), keys);
    const line = status(stage);
    const buttons = Array.from({ length: 10 }, (_, digit) => press(keys, String(digit), async () => answered(digit)));

    async function change() {
      heard = await disturbed(clip, { decibels: noise.decibels });
      paint(heard, `Log-mel picture of ${found ? WORD : "a word"}, ${told()}.`);
    }

    const told = () => (noise.decibels === Infinity ? "without noise" : `with noise ${noiseOf(noise.decibels)}`);

    function answered(digit) {
      if (found) return;
      if (digit !== DIGIT) {
        line.textContent = `${digit} it is not. ${noise.decibels === Infinity ? "Play" : "Take away more noise, and play"} it again.`;
        return;
      }
      found = true;
      buttons.forEach((button, one) => button.classList.toggle("right", one === DIGIT));
      line.replaceChildren(`Yes, ${WORD}, ${told()}. Could a model do that? `, Object.assign(element("a", "", "Say a digit to one"), { href: "say_a_digit.html" }), ".");
    }

    await change();
  }, { charts: false });
})();
