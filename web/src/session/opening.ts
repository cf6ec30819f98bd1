import { batch, signal } from "@preact/signals";
import { asApiError, me } from "../account";
import { ApiError, api, type Mode, type Target } from "../api";
import type { Place } from "../settings";
import type { ViewKind } from "../views/view";
import type { Wanted } from "./address";
import { openAtOnce, opensAtOnce } from "./at-once";
import { modesOf, viewOf } from "./guess";
import { Running } from "./running";

/** What has to be known before it is opened: leave by a link from elsewhere, values, or how it is shown. */
export type Question = { what: "link" } | { what: "view" } | { what: "params"; error?: string };

/** The way from a wanted target to a running session, and from its end to a new one. */
export class Opening {
  readonly wanted: Wanted;
  readonly target = signal<Target | undefined>(undefined);
  readonly busy = signal<string | undefined>("Looking for the target…");
  readonly question = signal<Question | undefined>(undefined);
  readonly failure = signal<ApiError | undefined>(undefined);
  /** The newest session; an ended one stays until the next one is there. */
  readonly running = signal<Running | undefined>(undefined);
  readonly view = signal<ViewKind | undefined>(undefined);
  readonly params = signal<Record<string, string>>({});
  #asked: boolean;
  #gone = false;

  constructor(wanted: Wanted, asked: boolean) {
    this.wanted = wanted;
    this.#asked = asked;
    this.params.value = wanted.params;
  }

  /** None without an account, as after a sign-out in another tab. */
  get place(): Place {
    const account = me.peek();
    return account ? { host: this.wanted.host, target: this.wanted.target, account } : undefined;
  }

  /** Looks for the target, then opens it or asks what is missing. */
  async start(): Promise<void> {
    batch(() => { this.busy.value = "Looking for the target…"; this.failure.value = undefined; this.question.value = undefined; });
    let target: Target | undefined;
    try {
      const { targets } = await api.targets(this.wanted.host);
      target = targets.find(({ name }) => name === this.wanted.target);
      if (target === undefined) throw new ApiError(404, "target_not_allowed", "");
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.target.value = target;
    this.view.value ??= this.wanted.view ?? viewOf(target);
    if (!this.#asked && !opensAtOnce(this.wanted, this.place)) this.#ask({ what: "link" });
    else await this.proceed();
  }

  /** The person wants it. With `always`, links to this target open it without a question from now on. */
  async agree(always: boolean): Promise<void> {
    if (always) openAtOnce(this.wanted, this.place);
    this.#asked = true;
    await this.proceed();
  }

  async chooseView(view: ViewKind): Promise<void> {
    this.view.value = view;
    await this.proceed();
  }

  async fill(params: Record<string, string>): Promise<void> {
    this.params.value = params;
    await this.proceed();
  }

  /** Asks for a session. Every session has a new URL, because a URL is good for one only. */
  async proceed(): Promise<void> {
    const target = this.target.value;
    const view = this.view.value;
    if (target === undefined) { this.#asked = true; await this.start(); return; }
    if (view === undefined) { this.#ask({ what: "view" }); return; }
    batch(() => { this.busy.value = "Opening…"; this.failure.value = undefined; this.question.value = undefined; });
    const { host, mode } = this.wanted;
    const params = this.params.value;
    try {
      const opened = await api.open({
        host, target: target.name, ...(Object.keys(params).length > 0 ? { params } : {}), ...(mode ? { mode } : {}),
      });
      if (this.#gone) return;
      const granted: Mode | undefined = opened.mode ?? mode ?? modesOf(target, me.value?.modes)[0];
      const endsAt = opened.ends === undefined ? NaN : Date.parse(opened.ends);
      const running = new Running({
        url: opened.url, view, readOnly: granted === "ro", place: this.place, ...(Number.isNaN(endsAt) ? {} : { endsAt }),
      });
      batch(() => {
        this.running.value?.dispose();
        this.running.value = running;
        this.busy.value = undefined;
      });
    } catch (error) {
      const known = error instanceof ApiError ? error : undefined;
      if (known?.code === "params_not_allowed" && (target.params?.length ?? 0) > 0) this.#ask({ what: "params", error: known.message });
      else this.#fail(error);
    }
  }

  dispose(): void {
    this.#gone = true;
    this.running.value?.dispose();
  }

  #ask(question: Question): void {
    batch(() => { this.busy.value = undefined; this.question.value = question; });
  }

  #fail(error: unknown): void {
    batch(() => { this.busy.value = undefined; this.failure.value = asApiError(error); });
  }
}
