// What the viewers have in common: a stock page of a stock client in a stock browser, looked at through its canvas.
const fs = require('fs');
const http = require('http');
const path = require('path');

const cache = process.env.STREAM_TEST_CACHE || path.join(__dirname, '../../../.cache/parts');
const { chromium } = require(path.join(cache, 'web/node_modules/playwright-core'));

const DEADLINE = 60_000;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

// Serves a folder at a free port.
function serve(folder, address) {
  const server = http.createServer((request, response) => {
    const file = path.join(folder, path.normalize(new URL(request.url, 'http://x').pathname));
    fs.readFile(file, (error, bytes) => {
      response.writeHead(error ? 404 : 200, { 'content-type': TYPES[path.extname(file)] || 'text/plain' });
      response.end(bytes);
    });
  });
  return new Promise((resolve) => server.listen(0, address, () => resolve(server)));
}

// In the page: how many pixels differ from the first one, and a sum that changes with the picture.
function look(selector) {
  const canvas = document.querySelector(selector);
  if (!canvas || !canvas.width || !canvas.height) return { drawn: 0 };
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const pixels = new Uint32Array(data.buffer);
  let drawn = 0;
  let sum = 0;
  for (const pixel of pixels) {
    if (pixel !== pixels[0]) drawn += 1;
    sum = (Math.imul(sum, 31) + pixel) | 0;
  }
  return { width: canvas.width, height: canvas.height, drawn, sum };
}

// Shows the page at `location(url)` of a folder, waits for a picture in the canvas, types, and waits for another picture
// and for ANSWER in the file LOG. A guest that gets no processor time for a while loses keys (a keyboard holds 16 bytes).
// So what was not answered is typed again, more slowly.
// The page is served at ADDRESS: at the relay's own it is of the same site, and cookies go along.
// Prints one line of JSON; the exit status is 0 if all went well.
async function view({ folder, location, canvas }) {
  const [url, picture, text, address, log, answer] = process.argv.slice(2);
  const answered = () => fs.readFileSync(log, 'utf8').includes(answer);
  const began = Date.now();
  const left = () => Math.max(1, began + DEADLINE - Date.now());
  const result = { ok: false, opened: 0, closed: 0, protocols: [], said: [] };
  const server = await serve(folder, address);
  let browser;
  // Whatever hangs, this ends.
  const late = setTimeout(() => finish(new Error('nothing more happened')), DEADLINE + 5_000);

  let finished = false;
  async function finish(error) {
    if (finished) return;
    finished = true;
    clearTimeout(late);
    if (error) result.error = String(error.message || error);
    result.ok = !error;
    result.seconds = (Date.now() - began) / 1000;
    console.log(JSON.stringify(result));
    await Promise.race([browser && browser.close(), new Promise((resolve) => setTimeout(resolve, 3_000))]).catch(() => {});
    process.exit(error ? 1 : 0);
  }

  try {
    browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      headless: true,
      timeout: left(),
      args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run', '--disable-sync'],
    });
    result.browser = browser.version();
    const page = await browser.newPage({ viewport: { width: 1000, height: 600 } });
    page.setDefaultTimeout(left());
    page.on('console', (message) => {
      result.said.push(message.text());
      // An interface came or went on this machine, and Chromium dropped what it was loading.
      if (message.text().includes('ERR_NETWORK_CHANGED')) finish(new Error('the network changed'));
    });
    page.on('pageerror', (error) => result.said.push(String(error)));
    // Counted by the browser, so what the server did not accept is not counted.
    const protocol = await page.context().newCDPSession(page);
    await protocol.send('Network.enable');
    protocol.on('Network.webSocketHandshakeResponseReceived', ({ response }) => {
      if (response.status !== 101) return;
      result.opened += 1;
      const name = Object.keys(response.headers).find((name) => name.toLowerCase() === 'sec-websocket-protocol');
      result.protocols.push(name ? response.headers[name] : '');
    });
    protocol.on('Network.webSocketClosed', () => {
      result.closed += 1;
      finish(new Error('a websocket closed'));
    });

    await page.goto(`http://${address}:${server.address().port}/${location(new URL(url))}`);
    // Some line of text is there: a prompt is more than a hundred pixels.
    await page.waitForFunction(`(${look})(${JSON.stringify(canvas)}).drawn > 100`, null, { timeout: left(), polling: 100 });
    result.before = await page.evaluate(look, canvas);
    result.shown_after = (Date.now() - began) / 1000;
    await page.locator(canvas).first().click();
    // A machine receives keys, not characters, so Shift is pressed like a key.
    for (result.typed = 0; result.typed === 0 || !answered(); result.typed += 1) {
      const delay = 10 << (2 * Math.min(result.typed, 2));
      if (result.typed > 0) await page.keyboard.press('Control+c', { delay });
      for (const key of text) {
        await page.keyboard.press(/[A-Z~!@#$%^&*()_+{}|:"<>?]/.test(key) ? `Shift+${key}` : key, { delay });
      }
      await page.keyboard.press('Enter', { delay });
      for (const until = Date.now() + 5_000; !answered() && Date.now() < until; ) await page.waitForTimeout(50);
    }
    await page.waitForFunction(
      `(${look})(${JSON.stringify(canvas)}).sum !== ${result.before.sum}`, null, { timeout: left(), polling: 100 });
    // The picture holds still once all that was typed is on it.
    let last;
    for (let now = null; last !== (now = (await page.evaluate(look, canvas)).sum); last = now) await page.waitForTimeout(500);
    result.after = await page.evaluate(look, canvas);
    // What the browser keeps it sends along with every further websocket.
    result.cookies = (await page.context().cookies(url.replace('ws', 'http'))).length;
    await page.screenshot({ path: picture });
    await finish();
  } catch (error) {
    await finish(error);
  }
}

module.exports = { view };
