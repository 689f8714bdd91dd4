// Runs before the first paint, so that a chosen theme never flashes.
"use strict";
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
if (localStorage.getItem("heat") === "on") document.documentElement.dataset.heat = "on";
if (localStorage.getItem("regions") === "off") document.documentElement.dataset.regions = "off";
