/** A recorded game, frame by frame, beside the values that the policy gave for each. */

import { recording } from "./api.js";
import { bars } from "./charts.js";
import { card, h, say } from "./dom.js";
import { number } from "./text.js";
import { choiceRows } from "./values.js";

const RECORDINGS = { "ALE/MsPacman-v5": "mspacman.rec", "MsPacman-v0": "mspacman.rec" };

/** Whether this page has a recorded game of a version's environment. */
export const hasRecording = ({ environment, action }) => environment.id in RECORDINGS && action.kind === "discrete";

/** Make the card that plays the recorded game, which is fetched at once. */
export function recordingCard({ environment, action }) {
  const canvas = h("canvas", {
    class: "screen",
    width: 160,
    height: 210,
    role: "img",
    "aria-label": `A recorded game of ${environment.id}`,
  });
  const [status, note] = [h("p", { class: "stage-status" }), h("p", { class: "note" })];
  const values = bars("Values of the actions");
  const place = h("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Step of the game" });
  const button = h("button", { type: "button", class: "primary" }, "Play");
  let [game, isPlaying, timer] = [null, false, 0];
  const show = () => {
    const i = place.valueAsNumber;
    game.draw(canvas, i);
    values.update(choiceRows(action.labels, game.values(i), game.actions[i]));
    say(status, `step ${i + 1} of ${game.frames} · score ${number(game.scores[i], 0)}`);
    place.setAttribute("aria-valuetext", `step ${i + 1} of ${game.frames}`);
  };
  const advance = () => {
    if (!isPlaying) return;
    place.value = (place.valueAsNumber + 1) % game.frames;
    show();
    timer = setTimeout(advance, 1000 / game.stepsPerSecond);
  };
  const toggle = () => {
    isPlaying = !isPlaying;
    say(button, isPlaying ? "Pause" : "Play");
    clearTimeout(timer);
    if (isPlaying) advance();
  };
  button.addEventListener("click", () => game && toggle());
  place.addEventListener("input", () => game && show());
  const element = card(
    "Watch a recorded game",
    { id: "recording" },
    note,
    h(
      "div",
      { class: "split" },
      h("div", null, canvas, status, h("div", { class: "buttons" }, button, place)),
      h("div", null, h("h3", null, "What the policy thought of each action"), values.element),
    ),
  );
  fetchGame(RECORDINGS[environment.id]).then(
    (fetched) => {
      game = fetched;
      place.max = game.frames - 1;
      say(note, game.about);
      show();
      if (!matchMedia("(prefers-reduced-motion: reduce)").matches) toggle();
    },
    (error) => say(note, `The recording could not be read: ${error.message}`),
  );
  const stop = () => {
    isPlaying = false;
    clearTimeout(timer);
  };
  return { element, stop };
}

/**
 * Read a recording: the length of its head as four bytes (little-endian), the head as JSON, and deflated data: the frames
 * as one byte a pixel, each by exclusive or with the one before, and the values as int16, in units of `valueUnit`.
 */
async function fetchGame(name) {
  const data = await recording(name);
  const length = new DataView(data).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const inflated = new Blob([new Uint8Array(data, 4 + length)])
    .stream()
    .pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(inflated).arrayBuffer());
  const pixels = head.width * head.height;
  for (let i = pixels; i < pixels * head.frames; i += 1) bytes[i] ^= bytes[i - pixels];
  const values = new Int16Array(bytes.buffer.slice(pixels * head.frames));
  const n = values.length / head.frames;
  return {
    ...head,
    values: (i) => Array.from(values.subarray(i * n, (i + 1) * n), (value) => value * head.valueUnit),
    draw: (canvas, i) => draw(canvas, head, bytes.subarray(i * pixels, (i + 1) * pixels)),
  };
}

function draw(canvas, { width, height, palette }, frame) {
  const image = new ImageData(width, height);
  frame.forEach((color, i) => image.data.set([...palette[color], 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
}
