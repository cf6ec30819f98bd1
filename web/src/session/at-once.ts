/** Which links open a session without a question. */
import { permissionsOf, type Place } from "../settings";
import type { Wanted } from "./address";

/** Key of the permission to open a target by a link without a question. */
const OPEN_AT_ONCE = "open-at-once";

/** Whether a permission may be kept. It is for a target, and a value in a link may make another program of it. */
export function mayKeep({ params }: Wanted): boolean {
  return Object.keys(params).length === 0;
}

/** Whether a link to this opens it without a question. */
export function opensAtOnce(wanted: Wanted, place: Place): boolean {
  return mayKeep(wanted) && permissionsOf(place).get(OPEN_AT_ONCE) === "yes";
}

/** From now on links to this open it without a question, if that may be kept. */
export function openAtOnce(wanted: Wanted, place: Place): void {
  if (mayKeep(wanted)) permissionsOf(place).set(OPEN_AT_ONCE, "yes");
}
