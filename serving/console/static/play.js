/** A game that is played live: the physics run in this page, and each action comes from the service. */

import { act } from "./api.js";
import { bars } from "./charts.js";
import { cartpole } from "./cartpole.js";
import { card, h, say } from "./dom.js";
import { mountaincar } from "./mountaincar.js";
import { number, seconds } from "./text.js";
import { choiceRows } from "./values.js";

const GAMES = [cartpole, mountaincar];
const PAUSE_S = 1.2; // between two episodes
const COLORS = {
  body: "--ink",
  line: "--line-strong",
  accent: "--accent",
  surface: "--surface",
  muted: "--muted",
  good: "--good",
  hill: "--sunken",
};

/** Find the game that a version was trained for; undefined where this page has none. */
export function gameFor({ environment, observation, action, isRecurrent }) {
  const fits = (game) =>
    game.environments.includes(environment.id) &&
    !environment.kwargs &&
    !environment.clientWrappers.length &&
    String(observation.shape) === String(game.shape) &&
    action.kind === "discrete" &&
    action.labels.length === game.nActions;
  return isRecurrent ? undefined : GAMES.find(fits);
}

/** Make the card in which a game is played; it begins when it is shown, and ends with `stop`. */
export function playCard(game, { policy, asked, version }) {
  const canvas = h("canvas", {
    class: "stage",
    tabindex: 0,
    role: "img",
    "aria-label": `${game.title}, played by ${policy}. ${game.goal}`,
  });
  const values = bars("Values of the actions");
  const status = h("p", { class: "stage-status" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const show = new Stage(game, canvas, { status, problem, values, labels: version.action.labels });
  const player = new Player(game, policy, asked, show);
  const running = h("button", { type: "button", class: "primary" }, "Pause");
  const toggle = () => say(running, player.toggle() ? "Pause" : "Play");
  running.addEventListener("click", toggle);
  canvas.addEventListener("pointerdown", (event) => player.pushFrom(event.offsetX / canvas.clientWidth));
  canvas.addEventListener("keydown", (event) => {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (direction) player.push(direction);
    else if (event.key === " ") toggle();
    else return;
    event.preventDefault();
  });
  const element = card(
    `Play ${game.title}`,
    { id: "play", note: game.goal },
    canvas,
    status,
    problem,
    h(
      "div",
      { class: "buttons" },
      running,
      h("button", { type: "button", onclick: () => player.restart() }, "Start again"),
      game.pushes.map((name, i) => h("button", { type: "button", onclick: () => player.push(i ? 1 : -1) }, name)),
    ),
    h("h3", null, "What the policy thinks of each action"),
    values.element,
  );
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) say(running, "Play");
  else player.start();
  return { element, stop: () => player.stop() };
}

/** A player that asks the service for each step of a game, in the game's own time. */
class Player {
  #game;
  #policy;
  #asked;
  #stage;
  #isRunning = false;
  #loop = 0;
  #state;
  #episode = { steps: 0, reward: 0, n: 0 };
  #answered = [];

  constructor(game, policy, asked, stage) {
    [this.#game, this.#policy, this.#asked, this.#stage] = [game, policy, asked, stage];
    this.#state = game.reset(Math.random);
  }

  start() {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#loop += 1;
    this.#play(this.#loop);
  }

  stop() {
    this.#isRunning = false;
    this.#stage.stop();
  }

  /** Go on or pause; return whether it goes on. */
  toggle() {
    if (this.#isRunning) this.#isRunning = false;
    else this.start();
    return this.#isRunning;
  }

  restart() {
    this.#begin();
    this.start();
  }

  push(direction) {
    this.#state = this.#game.push(this.#state, direction);
  }

  /** Push away from where the picture was touched, the harder the nearer. */
  pushFrom(place) {
    const away = this.#game.handle(this.#state) - place;
    this.push(Math.sign(away) * Math.max(0.35, 1 - 2 * Math.abs(away)));
  }

  #begin() {
    this.#state = this.#game.reset(Math.random);
    this.#episode = { steps: 0, reward: 0, n: this.#episode.n + 1 };
  }

  async #play(loop) {
    const isGoingOn = () => this.#isRunning && this.#loop === loop;
    let due = performance.now();
    while (isGoingOn()) {
      try {
        await this.#step();
        this.#stage.complain("");
      } catch (error) {
        this.#stage.complain(error.message);
        await wait(1000);
        due = performance.now();
      }
      due = Math.max(due + 1000 / this.#game.stepsPerSecond, performance.now() - 100);
      await wait(due - performance.now());
      if (document.hidden) await visible();
    }
  }

  async #step() {
    const request = { observation: this.#game.observe(this.#state), version: this.#asked, with_values: true };
    const began = performance.now();
    const answer = await act(this.#policy, request);
    this.#note(performance.now(), performance.now() - began);
    const { state, reward, isOver } = this.#game.step(this.#state, answer.action);
    this.#state = state;
    this.#episode.steps += 1;
    this.#episode.reward += reward;
    const isEnd = isOver || this.#episode.steps >= this.#game.mostSteps;
    this.#stage.show(state, answer, this.#episode, this.#pace());
    if (isEnd) {
      await wait(PAUSE_S * 1000);
      this.#begin();
    }
  }

  #note(at, took) {
    this.#answered.push({ at, took });
    if (this.#answered.length > 100) this.#answered.shift();
  }

  /** Steps a second and the median time of a call, over the last hundred steps. */
  #pace() {
    const times = this.#answered.map(({ took }) => took).sort((a, b) => a - b);
    const [first, last] = [this.#answered[0], this.#answered.at(-1)];
    const spent = last.at - first.at;
    return {
      hertz: spent ? ((this.#answered.length - 1) * 1000) / spent : undefined,
      call: times[times.length >> 1] / 1000,
    };
  }
}

/** The picture of a game with the figures beneath it, drawn at the pace of the screen. */
class Stage {
  #latest = null;
  #isFresh = false;
  #isStopped = false;
  #colors = {};
  #frame = 0;

  constructor(game, canvas, parts) {
    Object.assign(this, { game, canvas, ...parts });
    const draw = () => {
      if (this.#isStopped) return;
      if (this.#isFresh) this.#draw(this.#latest);
      this.#isFresh = false;
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  show(state, answer, episode, pace) {
    this.#latest = { state, answer, steps: episode.steps, reward: episode.reward, n: episode.n, pace };
    this.#isFresh = true;
  }

  complain(text) {
    say(this.problem, text);
    this.problem.hidden = !text;
  }

  stop() {
    this.#isStopped = true;
  }

  #draw({ state, answer, steps, reward, n, pace }) {
    const { canvas, game } = this;
    const [width, height, ratio] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio];
    if (canvas.width !== Math.round(width * ratio))
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    this.#frame += 1;
    if (this.#frame % 30 === 1) this.#colors = colorsOf(canvas);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    game.draw(context, state, { width, height, colors: this.#colors, action: answer.action });
    if (this.#frame % 5 !== 1) return; // text and bars, ten times a second
    this.values.update(choiceRows(this.labels, answer.values, answer.action));
    const figures = [`episode ${n + 1}`, `step ${steps}`, `return ${number(reward, 0)}`, game.describe(state)];
    const calls = [
      `${number(pace.hertz, 0)} steps/s`,
      `${seconds(pace.call)} a call`,
      `answered by version ${answer.version}`,
    ];
    say(this.status, [...figures, ...calls].join(" · "));
  }
}

function colorsOf(element) {
  const style = getComputedStyle(element);
  return Object.fromEntries(Object.entries(COLORS).map(([name, variable]) => [name, style.getPropertyValue(variable)]));
}

const wait = (ms) => (ms > 0 ? new Promise((done) => setTimeout(done, ms)) : Promise.resolve());
const visible = () =>
  new Promise((done) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      done();
    };
    document.addEventListener("visibilitychange", look);
  });
