// 10,000 lines per second for 30 s into the log view, over a real websocket with acknowledgements. Fails if a line is
// lost, or a task of the page takes more than 200 ms. That is processor time of its thread: a machine that is busy with
// other things stretches every task. Usage: node tests/log-bench.mjs [seconds] [lines per second]
import { mkdirSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { traceTasks } from "./tasks.mjs";
import { browser, serve, shots, until } from "./views/harness.mjs";

const SECONDS = Number(process.argv[2] ?? 30);
const RATE = Number(process.argv[3] ?? 10_000);
const LONGEST = 200;
const LEVELS = ["INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"];
const total = SECONDS * RATE;

const line = (number) => `2026-11-29T20:00:00.${String(number % 1000).padStart(3, "0")}Z ${LEVELS[number % 6]} ` +
  `worker-${number % 17}: request ${number} to /api/v1/items/${number * 7 % 1000} took ${number % 313} ms\n`;

let sent = 0;
let took = 0;
const { url, stop } = await serve(async (host) => {
  const start = performance.now();
  while (sent < total) {
    const due = Math.min(total, Math.floor((performance.now() - start) / 1000 * RATE));
    let text = "";
    for (let lines = 0; sent < due && lines < 2000; lines++) text += line(sent++);
    if (text !== "") await host.send(text);
    await new Promise((later) => setTimeout(later, 10));
  }
  took = (performance.now() - start) / 1000;
  host.socket.close(1000, "target ended");
});
const chromium = await browser();
let failed = false;
try {
  for (const wrap of ["false", "true"]) {
    sent = 0;
    const page = await chromium.newPage({ viewport: { width: 1000, height: 700 }, colorScheme: wrap === "true" ? "light" : "dark" });
    page.on("pageerror", (error) => { console.error(error); failed = true; });
    await page.goto(`${url}?view=log&set-wrap=${wrap}`);
    await page.waitForTimeout(Math.min(5000, SECONDS * 300));
    const tasks = await traceTasks(page);
    await page.evaluate(() => { window.longTasks.length = 0; window.frames_ = 0; const frame = () => { window.frames_ += 1; requestAnimationFrame(frame); }; frame(); });
    await until("the end of the log", () => page.evaluate(() => window.events.some(({ type }) => type === "ended")), SECONDS * 2000 + 30_000);
    const own = await tasks();
    const { lost, lines, longTasks, frames, violations, last } = await page.evaluate(async (total) => {
      const { longTasks, violations, frames_: frames } = window;
      const before = longTasks.slice();
      const numbers = (await window.view.download().data.text()).trimEnd().split("\n").map((line) => Number(/request (\d+) /.exec(line)?.[1]));
      let lost = 0;
      for (let number = 0; number < total; number++) if (numbers[number] !== number) lost += 1;
      return { lost, lines: numbers.length, longTasks: before, frames, violations, last: document.querySelector(".log-rows").lastElementChild.textContent };
    }, total);
    const processor = own.map((task) => task.processor);
    const longest = Math.max(0, ...processor);
    const busy = processor.reduce((sum, task) => sum + task, 0);
    console.log(`wrap ${wrap}: ${lines} lines in ${took.toFixed(1)} s (${Math.round(total / took)}/s), ${lost} lost, ` +
      `longest task ${longest.toFixed(0)} ms of processor time (${Math.max(0, ...longTasks).toFixed(0)} ms on the clock), ` +
      `${processor.filter((task) => task > 50).length} tasks over 50 ms, ${(busy / 10 / took).toFixed(0)} % busy, ${frames} frames, ` +
      `${violations.length} violations of the policy`);
    if (lost > 0 || lines !== total || longest > LONGEST || violations.length > 0) failed = true;
    if (!last.includes(`request ${total - 1} `)) { console.error(`the last row is: ${last}`); failed = true; }
    mkdirSync(shots, { recursive: true });
    await page.screenshot({ path: `${shots}/log-bench-${wrap}.png` });
    await page.close();
  }
} finally {
  await chromium.close();
  stop();
}
process.exit(failed ? 1 : 0);
