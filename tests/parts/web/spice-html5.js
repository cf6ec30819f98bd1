// Shows a SPICE screen with the page that comes with spice-html5, and types: spice-html5.js WS-URL OUT.PNG TEXT ADDRESS LOG ANSWER
// It opens a websocket for each channel, all at the same URL, and offers the subprotocol `binary`.
require('./page').view({
  folder: '/usr/share/spice-html5',
  location: (url) => `spice_auto.html?${new URLSearchParams({ host: url.hostname, port: url.port, path: url.pathname })}`,
  canvas: '#spice-screen canvas',
});
