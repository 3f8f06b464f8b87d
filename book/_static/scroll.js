// What scrolls in a box of its own must be reachable with the keyboard: Tab goes there, the arrow keys move it.
// What is wider than its box says so (course.css).
(() => {
  const boxes = "main pre, main .output, main .cell_output, main .cell_output figure, main .pst-scrollable-table-container, main .highlight";
  const mark = () => {
    for (const box of document.querySelectorAll(boxes)) {
      const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
      if (scrolls && /auto|scroll/.test(getComputedStyle(box).overflow)) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
      box.classList.toggle("wide", scrolls && box.scrollWidth > box.clientWidth + 8);
    }
  };
  // After the sidebars have moved, too, which a resized window has not waited for.
  addEventListener("load", () => new ResizeObserver(mark).observe(document.querySelector("main article") ?? document.body));
  // What is folded away has no width before it is opened.
  addEventListener("toggle", mark, true);
})();
