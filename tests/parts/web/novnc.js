// Shows a VNC screen with the small page that comes with noVNC, and types: novnc.js WS-URL OUT.PNG TEXT ADDRESS LOG ANSWER
// That page makes its RFB without subprotocols.
require('./page').view({
  folder: '/usr/share/novnc',
  location: (url) =>
    `vnc_lite.html?${new URLSearchParams({ host: url.hostname, port: url.port, path: url.pathname.slice(1) })}`,
  canvas: '#screen canvas',
});
