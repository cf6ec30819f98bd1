/** Lines of a log as bytes, in chunks with the offsets of their lines. The oldest go when there are too many. */

const CHUNK = 64 * 1024;
const LONGEST_LINE = 1024 * 1024;
const NEWLINE = 10;

interface Chunk {
  /** Number of its first line. */
  first: number;
  bytes: Uint8Array<ArrayBuffer>;
  /** Where each of its lines ends; the next begins one byte later, since a newline lies between. */
  ends: number[];
  /** Bytes in use, with the newlines. */
  length: number;
}

export interface Limits { lines: number; bytes: number }

export class LineStore {
  /** Number of the oldest line that is kept, and of the next that comes. Numbers are never used twice. */
  first = 0;
  next = 0;
  /** Bytes that are kept. */
  bytes = 0;
  /** Bytes of the longest line that came. */
  longest = 0;
  readonly #limits: Limits;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #marks = new Set<number>();
  #chunks: Chunk[] = [];
  #open: Chunk;
  /** Start of the line that is not complete. */
  #start = 0;

  constructor(limits: Limits = { lines: 1_000_000, bytes: 200_000_000 }) {
    this.#limits = limits;
    this.#open = this.#begin(CHUNK);
  }

  get size(): number { return this.next - this.first; }

  append(data: Uint8Array): void {
    let at = 0;
    while (at < data.length) {
      const newline = data.indexOf(NEWLINE, at);
      const end = newline < 0 ? data.length : newline;
      const room = LONGEST_LINE - (this.#open.length - this.#start);
      const taken = Math.min(end, at + room);
      this.#write(data.subarray(at, taken));
      // A line without an end would grow without an end.
      if (taken < end) this.#endLine();
      else if (newline >= 0) this.#endLine();
      at = taken < end ? taken : end + 1;
    }
    this.#evict();
  }

  /** A line of the page's own between those of the log. */
  mark(text: string): void {
    this.flush();
    this.#write(new TextEncoder().encode(text.replaceAll("\n", " ")));
    this.#marks.add(this.next);
    this.#endLine();
  }

  /** Ends the last line, if it is not complete. */
  flush(): void {
    if (this.#open.length > this.#start) this.#endLine();
  }

  clear(): void {
    this.first = this.next;
    this.bytes = 0;
    this.longest = 0;
    this.#marks.clear();
    this.#chunks = [];
    this.#open = this.#begin(CHUNK);
    this.#start = 0;
  }

  isMark(line: number): boolean { return this.#marks.has(line); }

  /** The text of a line; at most `most` bytes of it. */
  line(number: number, most: number): { text: string; omitted: number } {
    const chunk = this.#chunkOf(number);
    const index = number - chunk.first;
    const start = index === 0 ? 0 : chunk.ends[index - 1]! + 1;
    let end = chunk.ends[index]!;
    const omitted = Math.max(0, end - start - most);
    end -= omitted;
    if (omitted === 0 && chunk.bytes[end - 1] === 13 && end > start) end -= 1;
    return { text: this.#decoder.decode(chunk.bytes.subarray(start, end)), omitted };
  }

  /** The complete lines of the chunk with this line, from it on. */
  linesFrom(number: number): string[] {
    const chunk = this.#chunkOf(number);
    const index = number - chunk.first;
    const start = index === 0 ? 0 : chunk.ends[index - 1]! + 1;
    return this.#decoder.decode(chunk.bytes.subarray(start, chunk.ends.at(-1))).split("\n");
  }

  /** Everything that is kept, without marks. */
  parts(): Uint8Array<ArrayBuffer>[] {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for (const { first, bytes, ends, length } of [...this.#chunks, this.#open]) {
      let from = 0;
      for (let index = 0; this.#marks.size > 0 && index < ends.length; index++) {
        if (!this.#marks.has(first + index)) continue;
        parts.push(bytes.subarray(from, index === 0 ? 0 : ends[index - 1]! + 1));
        from = ends[index]! + 1;
      }
      parts.push(bytes.subarray(from, length));
    }
    return parts;
  }

  #begin(size: number): Chunk {
    return { first: this.next, bytes: new Uint8Array(size), ends: [], length: 0 };
  }

  #write(data: Uint8Array): void {
    const needed = this.#open.length + data.length + 1;
    if (needed > this.#open.bytes.length) this.#makeRoom(data.length + 1);
    this.#open.bytes.set(data, this.#open.length);
    this.#open.length += data.length;
    this.bytes += data.length;
  }

  /** A new chunk that begins with the incomplete line, so that no line lies in two. */
  #makeRoom(more: number): void {
    const full = this.#open;
    const rest = full.bytes.subarray(this.#start, full.length);
    const next = this.#begin(Math.max(CHUNK, 2 * (rest.length + more)));
    next.bytes.set(rest);
    next.length = rest.length;
    if (full.ends.length > 0) {
      full.length = this.#start;
      this.#chunks.push(full);
    }
    this.#open = next;
    this.#start = 0;
  }

  #endLine(): void {
    if (this.#open.length + 1 > this.#open.bytes.length) this.#makeRoom(1);
    const open = this.#open;
    this.longest = Math.max(this.longest, open.length - this.#start);
    open.ends.push(open.length);
    open.bytes[open.length] = NEWLINE;
    open.length += 1;
    this.bytes += 1;
    this.#start = open.length;
    this.next += 1;
  }

  #evict(): void {
    let gone = 0;
    while (gone < this.#chunks.length && (this.size > this.#limits.lines || this.bytes > this.#limits.bytes)) {
      const { first, ends, length } = this.#chunks[gone]!;
      gone += 1;
      this.first = first + ends.length;
      this.bytes -= length;
    }
    if (gone === 0) return;
    this.#chunks.splice(0, gone);
    for (const mark of this.#marks) if (mark < this.first) this.#marks.delete(mark);
  }

  #chunkOf(line: number): Chunk {
    if (line < this.first || line >= this.next) throw new RangeError(`line ${line} is not kept`);
    if (line >= this.#open.first && this.#open.ends.length > 0) return this.#open;
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#chunks[middle]!.first <= line) low = middle;
      else high = middle - 1;
    }
    return this.#chunks[low]!;
  }
}
