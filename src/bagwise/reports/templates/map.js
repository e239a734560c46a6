"use strict";
(() => {
  function read(map, found) {
    const { side, x, y, weight, rank: ranks, size, name } = JSON.parse(map.dataset.tiles);
    const ground = map.querySelector(".ground");
    const mark = ground.querySelector("u");
    const { rank } = map.querySelector("form").elements;

    function point(tile) {
      const text = `${name[tile]}: weight ${weight[tile].toPrecision(3)}, rank ${ranks[tile]} of ${size}`;
      mark.style.cssText = `--x:${x[tile]};--y:${y[tile]};--side:${side}`;
      mark.hidden = false;
      found.textContent = text;
      rank.value = tile + 1;
      rank.setAttribute("aria-valuetext", text);
    }

    // Tiles come by rank, so the first one at a place is the one that counts most.
    function at(event) {
      const box = ground.getBoundingClientRect();
      const scale = map.style.getPropertyValue("--width") / box.width;
      const [left, top] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      return x.findIndex((_, tile) => left >= x[tile] && left < x[tile] + side && top >= y[tile] && top < y[tile] + side);
    }

    return { point, at };
  }

  for (const map of document.querySelectorAll(".map")) {
    const form = map.querySelector("form");
    const { rank, veil } = form.elements;
    const found = map.querySelector(".found");
    let tiles = null; // read when somebody asks: a page of many maps opens as fast as one of none
    const told = () => (tiles ??= read(map, found));
    const show = (event) => {
      const tile = told().at(event);
      if (tile >= 0) told().point(tile);
    };
    map.querySelector(".ground").addEventListener("pointermove", show);
    map.querySelector(".ground").addEventListener("pointerdown", show);
    for (const kind of ["input", "focus"]) rank.addEventListener(kind, () => told().point(rank.value - 1));
    veil.addEventListener("input", () => map.style.setProperty("--fade", veil.value));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.reset();
    found.textContent = "Point at an instance or tap it, or choose one by its rank.";
    found.hidden = form.hidden = false;
  }
})();
