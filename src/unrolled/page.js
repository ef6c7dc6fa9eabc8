"use strict";
// Reads a figure's values out: under the pointer, or with the arrow keys when it has the focus.
for (const box of document.querySelectorAll("[data-lines]")) {
  const lines = JSON.parse(box.dataset.lines);
  const readout = box.querySelector(".readout");
  const drawings = [...box.querySelectorAll("svg[data-x]")].map((svg) => ({ svg, xs: JSON.parse(svg.dataset.x) }));
  let at = lines.length;
  const show = (place) => {
    at = Math.min(Math.max(place, 0), lines.length - 1);
    readout.textContent = lines[at];
    for (const { svg, xs } of drawings) {
      const pointer = svg.querySelector(".pointer");
      pointer.setAttribute("x1", xs[at]);
      pointer.setAttribute("x2", xs[at]);
      pointer.classList.add("shown");
    }
  };
  const find = (event) => {
    for (const { svg, xs } of drawings) {
      const area = svg.getBoundingClientRect();
      if (area.width === 0) continue;
      const x = ((event.clientX - area.left) * svg.viewBox.baseVal.width) / area.width;
      let nearest = 0;
      xs.forEach((value, place) => {
        if (Math.abs(value - x) < Math.abs(xs[nearest] - x)) nearest = place;
      });
      show(nearest);
    }
  };
  box.addEventListener("pointermove", find);
  box.addEventListener("pointerdown", find);
  box.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: lines.length - 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(step);
  });
}
