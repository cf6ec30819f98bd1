import type { ViewFactory } from "../view"; export const create: ViewFactory = () => { throw new Error(); };
