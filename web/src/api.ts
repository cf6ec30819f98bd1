/** The platform's API: its calls and types, as in docs/openapi.json. */

export interface Me { user: string; key: string; expires?: string; modes?: Mode[] }
export type Mode = "ro" | "rw";
export interface Host { host: string; online: boolean; version?: string; since?: string }
export interface Target {
  name: string;
  kind: string;
  title?: string;
  /** What may be granted, the default first. */
  modes: Mode[];
  params?: string[];
  terminal?: boolean;
  view?: string;
  /** Values that the owner listed, by parameter. */
  choices?: Record<string, string[]>;
}
export interface OpenRequest { host: string; target: string; params?: Record<string, string>; mode?: Mode; max_streams?: number }
export interface Opened { session: string; url: string; expires: string; mode?: Mode; ends?: string }
export interface Session {
  session: string; host: string; target: string; user: string; key: string; mode?: Mode; params?: Record<string, string>;
  state: "waiting" | "open" | "ended"; created: string; started?: string; ended?: string; streams: number; peer?: string;
  bytes_in?: number; bytes_out?: number; code?: number; reason?: string;
}
export interface Changes { at: number; changed: string[] }

/** An answer that is not a success, or no answer at all. */
export class ApiError extends Error {
  /** `code` of the answer's body; `unreachable` without an answer, `not_understood` if it is not JSON. */
  readonly code: string;
  readonly status: number;
  /** Seconds until another try makes sense, if the answer says so. */
  readonly retryAfter: number | undefined;

  constructor(status: number, code: string, message: string, retryAfter?: number) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** How long an answer may take, in milliseconds. The relay holds a request for changes for 25 s. */
const LONGEST_WAIT = 40_000;

interface Call { method?: string; body?: unknown; signal?: AbortSignal }

/** The address of a path of the API, below the prefix that the page has. */
function address(path: string): string {
  return new URL(`api/v1/${path}`, document.baseURI).href;
}

async function request(path: string, { method = "GET", body, signal }: Call): Promise<Response> {
  const init: RequestInit = { method, credentials: "same-origin", cache: "no-store", redirect: "error" };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "Content-Type": "application/json" };
  }
  const timeout = new AbortController();
  init.signal = timeout.signal;
  const timer = setTimeout(() => timeout.abort(), LONGEST_WAIT);
  const stop = () => timeout.abort();
  signal?.addEventListener("abort", stop, { once: true });
  let response: Response;
  try {
    response = await fetch(address(path), init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "unreachable", "");
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
  if (response.ok) return response;
  const wait = Number(response.headers.get("Retry-After") ?? "");
  const known = await response.json().catch(() => undefined) as { code?: unknown; message?: unknown } | undefined;
  throw new ApiError(response.status, typeof known?.code === "string" ? known.code : "not_understood",
    typeof known?.message === "string" ? known.message : `status ${response.status}`, wait > 0 ? wait : undefined);
}

async function call<T>(path: string, options: Call = {}): Promise<T> {
  const response = await request(path, options);
  if (response.status === 204) return undefined as T;
  return await response.json().catch(() => {
    throw new ApiError(response.status, "not_understood", "the answer is not JSON");
  }) as T;
}

/** The relay refuses a secret that came without encryption, but then everybody on the way has read it. */
async function callWithSecret<T>(path: string, body: unknown): Promise<T> {
  if (!isSecureContext) throw new ApiError(403, "plain_http", "");
  return await call<T>(path, { method: "POST", body });
}

function query(values: Record<string, string | number | undefined>): string {
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined && value !== "") all.set(name, String(value));
  return all.size === 0 ? "" : `?${all}`;
}

const part = encodeURIComponent;

export const api = {
  me: () => call<Me>("me"),
  signIn: (proof: { api_key: string } | { link: string }) => callWithSecret<Me>("sign-in", proof),
  preview: (link: string) => callWithSecret<Me>("sign-in/preview", { link }),
  signOut: (everywhere: boolean) => call<void>("sign-out", { method: "POST", body: { everywhere } }),
  hosts: (page: { after?: string; q?: string; limit?: number }, signal?: AbortSignal) =>
    call<{ hosts: Host[]; next?: string }>(`hosts${query({ limit: 100, ...page })}`, signal ? { signal } : {}),
  targets: (host: string) => call<{ host: string; targets: Target[] }>(`hosts/${part(host)}/targets`),
  open: (body: OpenRequest) => call<Opened>("sessions", { method: "POST", body }),
  sessions: (page: { state: "open" | "all"; after?: string; limit?: number }) =>
    call<{ sessions: Session[]; next?: string }>(`sessions${query({ limit: 100, ...page })}`),
  session: (id: string) => call<Session>(`sessions/${part(id)}`),
  end: (session: Session) => call<{ session: string }>(`sessions/${part(session.session)}`, { method: "DELETE" }),
  live: (after: number | undefined, signal: AbortSignal) => call<Changes>(`live${query({ after })}`, { signal }),
  /** The file for a desktop viewer, with the name that the relay gives it. */
  async viewer(id: string): Promise<{ name: string; data: Blob }> {
    const response = await request(`sessions/${part(id)}/viewer`, { method: "POST", body: {} });
    const name = /filename="([^"/\\]{1,200})"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
    return { name: name ?? "session.vv", data: await response.blob() };
  },
};
