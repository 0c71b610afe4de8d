/** MountainCar-v0: the physics of Gymnasium's environment, and a picture of it. */

import { arrow } from "./cartpole.js";

const FORCE = 0.001;
const GRAVITY = 0.0025;
const [LEFT, RIGHT, GOAL] = [-1.2, 0.6, 0.5]; // metres
const FASTEST = 0.07; // metres a step
const PUSH = 0.02; // metres a step, by the strongest push

export const mountaincar = {
  title: "MountainCar",
  environments: ["MountainCar-v0"],
  shape: [2],
  nActions: 3,
  stepsPerSecond: 30,
  mostSteps: 200,
  pushes: ["Push the car left", "Push the car right"],
  goal: "Reach the flag within 200 steps. The engine is too weak to climb at once. Click beside the car to push it.",

  reset: (random) => ({ x: -0.6 + 0.2 * random(), v: 0 }),

  observe: ({ x, v }) => [x, v],

  step({ x, v }, action) {
    const faster = clip(v + (action - 1) * FORCE - Math.cos(3 * x) * GRAVITY, -FASTEST, FASTEST);
    const place = clip(x + faster, LEFT, RIGHT);
    const isStopped = place === LEFT && faster < 0;
    return { state: { x: place, v: isStopped ? 0 : faster }, reward: -1, isOver: place >= GOAL };
  },

  push: (state, strength) => ({ ...state, v: clip(state.v + PUSH * strength, -FASTEST, FASTEST) }),

  /** Where the car is, as a part of the picture's width. */
  handle: ({ x }) => (x - LEFT) / (RIGHT - LEFT),

  describe: ({ x, v }) => `car at ${x.toFixed(2)} m, ${v.toFixed(3)} m a step`,

  draw(context, { x }, { width, height, colors, action }) {
    const across = (place) => ((place - LEFT) / (RIGHT - LEFT)) * width;
    const up = (place) => height * 0.86 - (0.45 * Math.sin(3 * place) + 0.55) * height * 0.62;
    context.beginPath();
    context.moveTo(0, height);
    for (let i = 0; i <= 90; i += 1) {
      const place = LEFT + ((RIGHT - LEFT) * i) / 90;
      context.lineTo(across(place), up(place));
    }
    context.lineTo(width, height);
    context.fillStyle = colors.hill;
    context.fill();
    const pole = [across(GOAL), up(GOAL)];
    context.strokeStyle = colors.line;
    context.lineWidth = 3;
    context.beginPath();
    context.moveTo(...pole);
    context.lineTo(pole[0], pole[1] - 44);
    context.stroke();
    context.fillStyle = colors.good;
    context.beginPath();
    context.moveTo(pole[0], pole[1] - 44);
    context.lineTo(pole[0] + 24, pole[1] - 36);
    context.lineTo(pole[0], pole[1] - 28);
    context.fill();
    context.save();
    context.translate(across(x), up(x));
    context.rotate(Math.atan2(up(x + 0.01) - up(x - 0.01), across(x + 0.01) - across(x - 0.01)));
    context.fillStyle = colors.accent;
    context.beginPath();
    context.roundRect(-22, -24, 44, 16, 6);
    context.fill();
    context.fillStyle = colors.body;
    for (const wheel of [-13, 13]) {
      context.beginPath();
      context.arc(wheel, -6, 6, 0, 2 * Math.PI);
      context.fill();
    }
    context.restore();
    if (action !== null && action !== 1) arrow(context, colors.muted, across(x), height - 14, action - 1, 34);
  },
};

const clip = (value, low, high) => Math.min(high, Math.max(low, value));
