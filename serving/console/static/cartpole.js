/** CartPole-v1: the physics of Gymnasium's environment, and a picture of it. */

const GRAVITY = 9.8;
const MASS_CART = 1.0;
const MASS_POLE = 0.1;
const MASS = MASS_CART + MASS_POLE;
const HALF_LENGTH = 0.5; // metres, of the pole
const FORCE = 10.0; // newtons
const STEP_S = 0.02;
const FURTHEST = 2.4; // metres from the middle
const STEEPEST = (12 * Math.PI) / 180;
const PUSH = 0.9; // radians a second, by the strongest push

export const cartpole = {
  title: "CartPole",
  environments: ["CartPole-v0", "CartPole-v1"],
  shape: [4],
  nActions: 2,
  stepsPerSecond: 1 / STEP_S,
  mostSteps: 500,
  pushes: ["Push the pole left", "Push the pole right"],
  goal: "Keep the pole upright for 500 steps. Click beside the pole to push it.",

  reset: (random) => ({ x: draw(random), v: draw(random), angle: draw(random), spin: draw(random) }),

  observe: ({ x, v, angle, spin }) => [x, v, angle, spin],

  step({ x, v, angle, spin }, action) {
    const force = action === 1 ? FORCE : -FORCE;
    const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
    const pull = (force + MASS_POLE * HALF_LENGTH * spin * spin * sin) / MASS;
    const turn = (GRAVITY * sin - cos * pull) / (HALF_LENGTH * (4 / 3 - (MASS_POLE * cos * cos) / MASS));
    const pushed = pull - (MASS_POLE * HALF_LENGTH * turn * cos) / MASS;
    const state = {
      x: x + STEP_S * v,
      v: v + STEP_S * pushed,
      angle: angle + STEP_S * spin,
      spin: spin + STEP_S * turn,
    };
    return { state, reward: 1, isOver: Math.abs(state.x) > FURTHEST || Math.abs(state.angle) > STEEPEST };
  },

  push: (state, strength) => ({ ...state, spin: state.spin + PUSH * strength }),

  /** Where the pole is, as a part of the picture's width: a click to the left of it pushes it to the right. */
  handle: ({ x, angle }) => 0.5 + (x + HALF_LENGTH * Math.sin(angle)) / (2 * FURTHEST + 0.8),

  describe: ({ x, angle }) => `cart at ${x.toFixed(2)} m, pole at ${((angle * 180) / Math.PI).toFixed(1)}°`,

  draw(context, { x, angle }, { width, height, colors, action }) {
    const metre = width / (2 * FURTHEST + 0.8);
    const ground = height * 0.78;
    const centre = width / 2 + x * metre;
    const [cartWidth, cartHeight] = [0.5 * metre, 0.26 * metre];
    line(context, colors.line, 2, [
      [width / 2 - FURTHEST * metre, ground],
      [width / 2 + FURTHEST * metre, ground],
    ]);
    for (const end of [-FURTHEST, FURTHEST]) {
      line(context, colors.line, 2, [
        [width / 2 + end * metre, ground - 8],
        [width / 2 + end * metre, ground + 8],
      ]);
    }
    context.fillStyle = colors.body;
    context.beginPath();
    context.roundRect(centre - cartWidth / 2, ground - cartHeight, cartWidth, cartHeight, 6);
    context.fill();
    const hinge = [centre, ground - cartHeight];
    const length = Math.min(2 * HALF_LENGTH * metre * 1.4, hinge[1] - 12);
    const tip = [hinge[0] + length * Math.sin(angle), hinge[1] - length * Math.cos(angle)];
    context.lineCap = "round";
    line(context, colors.accent, Math.max(6, 0.09 * metre), [hinge, tip]);
    context.fillStyle = colors.surface;
    context.beginPath();
    context.arc(...hinge, 4, 0, 2 * Math.PI);
    context.fill();
    if (action !== null) arrow(context, colors.muted, centre, ground + 24, action === 1 ? 1 : -1, 0.35 * metre);
  },
};

const draw = (random) => random() * 0.1 - 0.05;

function line(context, color, width, points) {
  context.strokeStyle = color;
  context.lineWidth = width;
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

/** Draw an arrow from `x` to one side: where the policy pushes. */
export function arrow(context, color, x, y, direction, length) {
  const tip = x + direction * length;
  line(context, color, 3, [
    [x, y],
    [tip, y],
  ]);
  line(context, color, 3, [
    [tip - direction * 7, y - 6],
    [tip, y],
    [tip - direction * 7, y + 6],
  ]);
}
