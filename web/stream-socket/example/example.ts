import { StreamSocket } from "../src/index.js";

const [address, sending] = [...document.forms] as [HTMLFormElement, HTMLFormElement];
const status = document.querySelector("p")!;
const output = document.querySelector("pre")!;
const url = address.elements.namedItem("url") as HTMLInputElement;
const line = sending.elements.namedItem("line") as HTMLInputElement;
// The example's own server, until another address is typed.
url.value = `ws://${location.host}/v1/stream/example`;

address.onsubmit = (event) => {
  event.preventDefault();
  const socket = new StreamSocket(url.value);
  const decoder = new TextDecoder();
  const show = () => {
    const { bytesIn, bytesOut, roundTrip, stalled } = socket.stats;
    status.textContent = `${bytesIn} bytes came, ${bytesOut} were sent` +
      (roundTrip === undefined ? "" : `, round trip ${roundTrip.toFixed(1)} ms`) +
      (stalled === undefined ? "" : `, nothing comes for ${Math.round(stalled / 1000)} s`);
  };
  const timer = setInterval(show, 500);
  socket.onopen = () => { sending.hidden = false; line.focus(); };
  socket.onmessage = ({ data }) => output.append(decoder.decode(data, { stream: true }));
  socket.addEventListener("control", ({ detail }) => output.append(`[${JSON.stringify(detail)}]\n`));
  socket.onclose = ({ code, reason }) => {
    clearInterval(timer);
    sending.hidden = true;
    status.textContent = `Ended with ${code} ${reason}`;
  };
  sending.onsubmit = (event) => {
    event.preventDefault();
    socket.send(`${line.value}\n`);
    line.value = "";
  };
  (sending.elements.namedItem("end") as HTMLButtonElement).onclick = () => socket.close();
};
