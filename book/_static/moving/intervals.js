/* The intervals of spokendigits/intervals.py, in the browser. built.js has the quantiles: of the normal distribution, and of
   Student's t by degrees of freedom. */
(() => {
  "use strict";
  if (!window.spoken) return;
  const { quantiles } = window.spoken.BUILT ?? {};

  /* Wilson's interval for a share: right answers of so many clips, both may be fractions. {low, high} from 0 to 1. */
  function wilson(right, clips) {
    const z = quantiles.normal, centre = right + z ** 2 / 2;
    const half = z * Math.sqrt(Math.max(right * (1 - right / Math.max(clips, 1e-300)), 0) + z ** 2 / 4);
    return { low: right <= 0 ? 0 : (centre - half) / (clips + z ** 2), high: right >= clips ? 1 : (centre + half) / (clips + z ** 2) };
  }

  /* The course's interval: from each speaker's right answers and clips, both [speakers]. */
  function speakerInterval(right, clips) {
    const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);
    const total = sum(clips), share = sum(right) / total;
    const speakers = total ** 2 / sum(clips.map((one) => one ** 2)); // those who count more are worth fewer
    let worth = total;
    if (speakers > 1) {
      const others = speakers - 1, variance = (share * (1 - share)) / total;
      const between = ((sum(right.map((one, i) => (one - share * clips[i]) ** 2)) / total ** 2) * speakers) / others;
      const few = (quantiles.normal / student(others)) ** 2;
      worth = total * few * (between > variance ? variance / between : 1);
    }
    return wilson(share * worth, worth);
  }

  /* Student's quantile, between whole degrees of freedom on a line of its logarithm over their inverse. */
  function student(freedom) {
    const table = quantiles.student, low = Math.min(table.length, Math.max(1, Math.floor(freedom))), high = Math.min(table.length, low + 1);
    if (freedom <= low || low === high) return table[low - 1];
    const part = (1 / low - 1 / freedom) / (1 / low - 1 / high);
    return Math.exp((1 - part) * Math.log(table[low - 1]) + part * Math.log(table[high - 1]));
  }

  Object.assign(window.spoken, { speakerInterval, wilson });
})();
