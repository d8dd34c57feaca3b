"use strict";
// Draws the page once; everything later is drawn anew by `refresh`.

drawFilters();
drawCurveControls();
drawRunControls();
// who wants no motion opens the films
if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) document.getElementById("films")?.removeAttribute("open");
refresh();
Promise.all(drawn.splice(0)).then(() => { document.documentElement.dataset.ready = "true"; });
