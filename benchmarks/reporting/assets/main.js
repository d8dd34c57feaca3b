"use strict";
// Draws the page once, from top to bottom; `refresh` draws it anew.

const parts = [drawSentence, drawTable, drawCurves, drawAggregates, drawImprovement, drawNumbers, drawAblations, drawDensities,
  drawFilms, drawRuns];

function refresh() {
  for (const draw of parts) draw();
}

async function drawFirst() {
  for (const draw of parts) {
    draw();
    await Promise.all(drawn.splice(0));
    await new Promise((resume) => { setTimeout(resume); }); // what is drawn is shown
  }
  document.documentElement.dataset.ready = "true";
}

// who wants no motion opens the films
if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) document.getElementById("films")?.removeAttribute("open");
drawFilters();
drawCurveControls();
drawRunControls();
drawFirst();
