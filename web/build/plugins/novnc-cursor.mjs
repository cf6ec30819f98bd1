import { patch } from "../patch.mjs";

// On touch screens noVNC draws the cursor itself, in a canvas outside of all landmarks of the page. It is of no use to
// a screen reader.
export default patch("novnc-cursor", /@novnc\/novnc\/core\/util\/cursor\.js$/, [
  {
    find: "this._canvas.style.position = 'fixed';",
    replace: "this._canvas.setAttribute('aria-hidden', 'true'); this._canvas.style.position = 'fixed';",
    count: 1,
  },
]);
