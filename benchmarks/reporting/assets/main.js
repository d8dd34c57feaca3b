"use strict";
// Draws the page once; everything later is drawn anew by `refresh`.

drawFilters();
drawCurveControls();
drawRunControls();
refresh();
Promise.all(drawn.splice(0)).then(() => { document.documentElement.dataset.ready = "true"; });
