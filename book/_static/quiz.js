/* The quizzes: marks each answer that a reader opens, and counts the questions that were right at the first try.
   A quiz works without this file too: an answer, once open, tells whether it is right. Nothing is stored or sent. */
(() => {
  "use strict";
  const VERDICTS = { right: "right", wrong: "not this one" };

  function element(name, className, text = "") {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = text;
    return made;
  }

  function start() {
    const questions = [...document.querySelectorAll(".question")];
    if (!questions.length) return;
    const first = new Map(); // question: whether the answer that was opened first is right

    const score = element("div", "quiz-score");
    const line = element("p", "");
    line.setAttribute("aria-live", "polite");
    line.setAttribute("aria-atomic", "true");
    const again = element("button", "", "Start again");
    again.type = "button";
    score.append(line, again);
    questions.at(-1).after(score);

    function show(heard = "") {
      const right = [...first.values()].filter(Boolean).length;
      const left = questions.length - first.size;
      const text = `${right} of ${questions.length} right at first try` + (left ? `, ${left} to go` : "");
      line.replaceChildren(element("span", "only-heard", heard), text);
    }

    function open(question, answer) {
      const kind = answer.classList.contains("right") ? "right" : "wrong";
      if (!answer.classList.contains("marked")) {
        answer.querySelector("summary").append(" ", element("span", "verdict", VERDICTS[kind]));
        answer.classList.add("marked");
      }
      if (!first.has(question)) first.set(question, kind === "right");
      show(`Question ${questions.indexOf(question) + 1}: ${VERDICTS[kind]}. `);
    }

    questions.forEach((question, i) => {
      const asked = question.previousElementSibling;
      if (asked) {
        asked.id ||= `question-${i + 1}`;
        question.setAttribute("role", "group");
        question.setAttribute("aria-labelledby", asked.id);
      }
      for (const answer of question.querySelectorAll("details.answer")) {
        // A click, which Enter and Space make too, and not `toggle`: a search in the page opens answers, and is no try.
        answer.querySelector("summary").addEventListener("click", () => answer.open || open(question, answer));
      }
    });

    again.addEventListener("click", () => {
      for (const answer of document.querySelectorAll(".question details.answer")) {
        answer.open = false;
        answer.classList.remove("marked");
        answer.querySelector(".verdict")?.remove();
      }
      first.clear();
      show();
      questions[0].querySelector("summary").focus();
    });
    show();
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
