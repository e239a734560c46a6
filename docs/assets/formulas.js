// What the pages mark as formulas, \(...\) in a line and \[...\] on lines of their own, is drawn by KaTeX.
for (const formula of document.querySelectorAll(".arithmatex")) {
  const options = { displayMode: formula.tagName === "DIV", throwOnError: false };
  katex.render(formula.textContent.trim().slice(2, -2), formula, options);
}
