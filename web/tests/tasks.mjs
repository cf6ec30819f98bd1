// The tasks of a page's main thread, by Chromium's trace.

/**
 * Traces the main thread of a page. The result ends it, and gives each task: milliseconds on the clock and of processor
 * time. A machine that is busy with other things stretches a task on the clock, and hardly its processor time. `parts`:
 * what ran in it for more than a tenth of it.
 */
export async function traceTasks(page) {
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  await session.send("Tracing.start", {
    transferMode: "ReportEvents", traceConfig: { includedCategories: ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"] },
  });
  return async () => {
    const complete = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
    await session.send("Tracing.end");
    await complete;
    const mains = new Set(events.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain").map(({ pid, tid }) => `${pid}/${tid}`));
    const own = events.filter(({ pid, tid, ph }) => ph === "X" && mains.has(`${pid}/${tid}`)).sort((one, other) => one.ts - other.ts);
    const tasks = [];
    let end = 0;
    for (const { name, ts, dur, tdur = 0 } of own) {
      if (name === "RunTask") {
        tasks.push({ clock: dur / 1000, processor: tdur / 1000, parts: [] });
        end = ts + dur;
      } else if (ts < end && name !== "ThreadControllerImpl::RunTask" && dur > tasks.at(-1).clock * 100) tasks.at(-1).parts.push({ name, clock: dur / 1000, processor: tdur / 1000 });
    }
    if (tasks.length === 0) throw new Error("the trace has no tasks of the page");
    return tasks;
  };
}
