"use strict";
(() => {
  const shownAtFirst = 12;
  const form = document.getElementById("controls");
  const number = (name, sign) => (a, b) => sign * (a.dataset[name] - b.dataset[name]);
  const nameOf = (row) => row.querySelector("h4").textContent;
  const { compare } = new Intl.Collator("en", { numeric: true });
  const orders = {
    "": () => 0,
    surest: number("probability", -1),
    unsure: number("probability", 1),
    name: (a, b) => compare(nameOf(a), nameOf(b)),
    largest: number("size", -1),
    smallest: number("size", 1),
  };
  const groups = [...document.querySelectorAll(".group")].map((section) => ({
    section,
    list: section.querySelector(".bags"),
    rows: [...section.querySelectorAll(".bag")],
    count: section.querySelector(".count"),
    none: section.querySelector(".none"),
    button: section.querySelector("button"),
    limit: shownAtFirst,
  }));

  function show(group) {
    const { verdict, label, order } = Object.fromEntries(new FormData(form));
    const matching = group.rows.filter((row) => !label || row.dataset.label === label).sort(orders[order]);
    group.section.hidden = !["all", undefined, group.section.dataset.verdict].includes(verdict);
    const shown = matching.slice(0, group.limit);
    group.list.replaceChildren(...shown);
    group.count.textContent = shown.length < group.rows.length ? `${shown.length} of ${group.rows.length} shown` : shown.length;
    group.none.hidden = matching.length > 0;
    group.button.hidden = matching.length <= group.limit;
    group.button.textContent = `Show all ${matching.length}`;
  }

  for (const group of groups) {
    group.button.addEventListener("click", () => {
      const first = group.limit;
      group.limit = Infinity;
      show(group);
      // The button is gone; whoever works by keyboard goes on at the first bag it brought.
      const row = group.list.children[first];
      row.tabIndex = -1;
      row.focus();
    });
  }
  form.addEventListener("change", () => groups.forEach(show));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.reset();
  form.hidden = false;
  groups.forEach(show);
})();
