"use strict";
(() => {
  const bar = document.getElementById("tools");
  const text = document.getElementById("filter-text");
  const only = document.getElementById("filter-open");
  const shown = document.getElementById("filter-count");
  const gates = [...document.querySelectorAll("details.gate")];
  const apply = () => {
    const wanted = text.value.trim().toLowerCase();
    let left = 0;
    for (const gate of gates) {
      const fits = gate.querySelector("summary").textContent.toLowerCase().includes(wanted);
      const out = !fits || (only.checked && gate.dataset.trouble === "no");
      gate.classList.toggle("out", out);
      if (!out) left += 1;
    }
    for (const part of document.querySelectorAll(".item, .phase-gates")) {
      part.classList.toggle("out", !part.querySelector("details.gate:not(.out)"));
    }
    shown.textContent = `${left} of ${gates.length} gates shown`;
  };
  const all = (open) => () => gates.forEach((gate) => { gate.open = open; });
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches("details.gate")) {
      if (target.classList.contains("out")) { text.value = ""; only.checked = false; apply(); }
      target.open = true;
      target.scrollIntoView();
    }
  };
  text.addEventListener("input", apply);
  only.addEventListener("change", apply);
  document.getElementById("expand").addEventListener("click", all(true));
  document.getElementById("collapse").addEventListener("click", all(false));
  document.getElementById("print").addEventListener("click", () => window.print());
  window.addEventListener("hashchange", reveal);
  bar.hidden = false;
  apply();
  reveal();
})();
