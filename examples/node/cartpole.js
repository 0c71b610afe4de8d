// Plays CartPole with the actions of a service: `npm install`, then `node cartpole.js [TARGET] [EPISODES]`.
//
// The messages come from policy.proto, which is read when this program starts; nothing is generated.
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const protos = process.env.POLSERVE_PROTOS ?? fileURLToPath(new URL("../../protos", import.meta.url));
const definition = protoLoader.loadSync("polserve/v1/policy.proto", { includeDirs: [protos], longs: Number });
const { polserve } = grpc.loadPackageDefinition(definition);

// The equations of Gymnasium's CartPole-v1, in SI units.
class CartPole {
  constructor() {
    this.state = Array.from({ length: 4 }, () => Math.random() * 0.1 - 0.05); // x, speed, angle, angular speed
    this.steps = 0;
  }

  step(action) {
    const [x, speed, angle, spin] = this.state;
    const force = action === 1 ? 10 : -10;
    const push = (force + 0.05 * spin ** 2 * Math.sin(angle)) / 1.1;
    const spinning =
      (9.8 * Math.sin(angle) - Math.cos(angle) * push) / (0.5 * (4 / 3 - (0.1 * Math.cos(angle) ** 2) / 1.1));
    const speeding = push - (0.05 * spinning * Math.cos(angle)) / 1.1;
    const s = 0.02; // seconds of a step
    this.state = [x + s * speed, speed + s * speeding, angle + s * spin, spin + s * spinning];
    this.steps += 1;
  }

  get hasFallen() {
    return Math.abs(this.state[0]) > 2.4 || Math.abs(this.state[2]) > (12 * Math.PI) / 180;
  }
}

const tensor = (values) => ({ dtype: "FLOAT32", shape: [values.length], data: Buffer.from(Float32Array.from(values).buffer) });
const actionOf = (response) => Number(response.action.data.readBigInt64LE());

// One stream plays an episode: the service keeps the version that the episode began with, and counts its return.
async function play(client) {
  const game = new CartPole();
  const stream = client.Episode();
  const answers = stream[Symbol.asyncIterator]();
  const ask = async (message) => {
    stream.write(message);
    return (await answers.next()).value;
  };
  let response = await ask({ start: { policy: "cartpole", observation: tensor(game.state) } });
  for (;;) {
    game.step(actionOf(response));
    if (game.hasFallen || game.steps === 500) break;
    response = await ask({ step: { observation: tensor(game.state), reward: 1 } });
  }
  const end = await ask({ end: { reward: 1, truncated: !game.hasFallen } });
  stream.end();
  return { version: end.version, steps: game.steps, episodeReturn: end.episodeReturn };
}

const [target = "localhost:50051", episodes = "3"] = process.argv.slice(2);
const client = new polserve.v1.PolicyService(target, grpc.credentials.createInsecure());
for (let i = 0; i < Number(episodes); i += 1) {
  const { version, steps, episodeReturn } = await play(client);
  console.log(`cartpole/${version}: ${steps} steps, return ${episodeReturn}`);
}
client.close();
