import { asApiError } from "../account";
import { api, type OpenRequest } from "../api";
import { apiEnd, sentence } from "../ends";
import { notify } from "../parts/toast";

/** Asks for a session and downloads the file with which a desktop viewer opens it. */
export async function openInViewer(request: OpenRequest): Promise<void> {
  try {
    const { session } = await api.open(request);
    const { name, data } = await api.viewer(session);
    download(name, data);
    notify("Open the file within 60 seconds with remote-viewer. It works once.");
  } catch (error) {
    notify(sentence(apiEnd(asApiError(error).code)));
  }
}

/** Gives a file to the person. */
export function download(name: string, data: Blob): void {
  const url = URL.createObjectURL(data);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // Browsers read the blob after the click has returned.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
