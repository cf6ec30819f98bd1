import { patch } from "../patch.mjs";

// spice-html5 opens its websockets itself, looks for its elements by id (so a page could have one screen only) and
// sets style attributes, which the page's policy forbids. What can be replaced while it runs is in
// src/views/spice/library.ts.
const file = (name) => new RegExp(`@spice-project/spice-html5/src/${name}\\.js$`);
const screen = { find: "document.getElementById(this.parent.screen_id)", replace: "this.parent.screen" };

const patches = [
  patch("spice-sockets", file("spiceconn"), [
    { find: "this.ws = new WebSocket(o.uri, 'binary');", replace: "this.open = o.open || o.parent.open;\n    this.ws = this.open();", count: 1 },
    { find: "new WebSocket", replace: "", count: 0 },
    // The server sends its name only to clients that say that they understand it.
    {
      find: "(1 << Constants.SPICE_MAIN_CAP_AGENT_CONNECTED_TOKENS)",
      replace: "(1 << Constants.SPICE_MAIN_CAP_AGENT_CONNECTED_TOKENS) | (1 << Constants.SPICE_MAIN_CAP_NAME_AND_UUID)",
      count: 1,
    },
    // VP8 is shown by a video element above the picture, which does not follow its scale. Without it the server sends MJPEG.
    { find: "if ('MediaSource' in window && MediaSource.isTypeSupported(Webm.Constants.SPICE_VP8_CODEC))", replace: "if (false)", count: 1 },
    { find: "if (DEBUG > 0 || delta > Webm.Constants.GAP_DETECTION_THRESHOLD)", replace: "if (DEBUG > 0)", count: 1 },
  ]),
  patch("spice-channels", file("main"), [
    {
      find: "chans = new Messages.SpiceMsgChannels(msg.data);",
      replace: "chans = new Messages.SpiceMsgChannels(msg.data);\n        chans.channels = this.choose(chans.channels);",
      count: 1,
    },
  ]),
  patch("spice-display", file("display"), [
    { find: `${screen.find}.style.height = m.surface.height + "px";`, replace: "", count: 1 },
    { find: `document.getElementById("spice_surface_" + surface_id)`, replace: "this.surfaces[surface_id].canvas", count: 1 },
    { find: `canvas.setAttribute('id', "spice_surface_" + m.surface.surface_id);`, replace: "", count: 1 },
    { find: `canvas.setAttribute('tabindex', m.surface.surface_id);`, replace: "", count: 1 },
    // Its pixels are read back often: copying within the screen does.
    { find: `canvas.context = canvas.getContext("2d");`, replace: `canvas.context = canvas.getContext("2d", { willReadFrequently: true });`, count: 1 },
    { find: `v.setAttribute('style', "position: absolute; top:" + top + "px; left:" + left + "px;");`, replace: "", count: 1 },
    { ...screen, count: 4 },
    { find: "setAttribute('style'", replace: "", count: 0 },
  ]),
  patch("spice-cursor", file("cursor"), [{ ...screen, count: 4 }]),
  patch("spice-sound", file("playback"), [{ ...screen, count: 2 }]),
];

export default {
  name: "spice",
  setup(build) {
    for (const { setup } of patches) setup(build);
  },
};
