import { patch } from "../patch.mjs";

// xterm writes <style> elements and style attributes, which a policy without 'unsafe-inline' forbids. Style sheets
// that are constructed, and properties of element.style, are allowed.
const sheet = `
function streamSheet(document) {
  const element = document.createElement("span");
  element.hidden = true;
  const sheet = new document.defaultView.CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  Object.defineProperty(element, "textContent", { get: () => "", set: (text) => sheet.replaceSync(text) });
  element.remove = () => {
    const sheets = document.adoptedStyleSheets;
    const at = sheets.indexOf(sheet);
    if (at >= 0) sheets.splice(at, 1);
    Element.prototype.remove.call(element);
  };
  return element;
}
`;

export default patch("xterm-csp", /@xterm\/xterm\/lib\/xterm\.mjs$/, [
  { find: 'n.mainDocument.createElement("style")', replace: "streamSheet(n.mainDocument)", count: 1 },
  { find: 'this._document.createElement("style")', replace: "streamSheet(this._document)", count: 2 },
  { find: 'createElement("style")', replace: 'createElement("style")', count: 0 },
  {
    find: 't.setAttribute("style",`${t.getAttribute("style")||""}${e};`)',
    replace: "t.style.cssText+=`${e};`",
    count: 1,
  },
  { find: 'setAttribute("style"', replace: 'setAttribute("style"', count: 0 },
], sheet);
