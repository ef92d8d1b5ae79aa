// A PLC on npm's modbus-serial: reads the 64 input words and writes the 40 holding words, again and again.
//   node plc.mjs PORT DEADLINE_MS CYCLE_MS SENSOR_MS
// Each line of its input, "NAME MS", says since when (Unix time) a part is before the sensor, for SENSOR_MS; each line
// of its output says, as JSON, what became of it. A part that was not triggered while it stood there is rejected, and never triggered late.
import { createInterface } from "node:readline";
import ModbusRTU from "modbus-serial";

const [port, deadlineMs, cycleMs, sensorMs] = process.argv.slice(2).map(Number);
const READY = 2, VALID = 16, PASS = 32, FAIL = 64, UNDECIDED = 128, MISSED = 1 << 15;
const ENABLE = 1, TRIGGER = 2, ACK = 8, CLEAR = 32;

const parts = []; // that have come: [name, since when]
createInterface({ input: process.stdin }).on("line", (line) => parts.push([line.split(" ")[0], Number(line.split(" ")[1])]))
  .on("close", () => parts.push(null));

const text = (words) => words.flatMap((word) => [word >> 8, word & 255])
  .map((byte) => (byte ? String.fromCharCode(byte) : "")).join("");
const wordsOf = (name) => Array.from({ length: 16 }, (_, at) =>
  ((name.charCodeAt(2 * at) || 0) << 8) | (name.charCodeAt(2 * at + 1) || 0));
const float = (words) => {
  const view = new DataView(new ArrayBuffer(4));
  words.forEach((word, at) => view.setUint16(2 * at, word));
  return view.getFloat32(0);
};
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const say = (facts) => console.log(JSON.stringify(facts));

let client, control = 0, part = null, beat = 0, clearing = false;

const connect = async () => {
  for (;;) {
    client = new ModbusRTU();
    client.setTimeout(1000);
    try {
      return await client.connectTCP("127.0.0.1", { port });
    } catch {
      await sleep(50);
    }
  }
};

const end = (verdict, facts = {}) => {
  say({ part: part.name, verdict, after_ms: Date.now() - part.since, ...facts });
  part = null;
};

// What the program of a PLC does in one cycle: from what was read to what is written.
const scan = (words) => {
  const status = words[0], valid = status & VALID;
  const three = [PASS, FAIL, UNDECIDED].filter((bit) => status & bit).length;
  if (three !== (valid ? 1 : 0)) say({ unsound: 1 }); // at once: it may be killed before its end
  while (part === null && parts.length && parts[0] !== null) {
    const [name, since] = parts.shift();
    part = { name, since, sent: false };
    if (Date.now() - since > sensorMs) end("none", { code: words[4] });
  }
  control = ENABLE | (valid && !(control & ACK) ? ACK : control & ACK && valid ? ACK : 0);
  clearing = !clearing && Boolean(status & MISSED || words[4] === 8);
  if (clearing) control |= CLEAR;
  if (part === null) return;
  const mine = valid && part.sent && words[5] === words[6], echo = text(words.slice(24, 40));
  if (Date.now() - part.since > deadlineMs) end("none", { code: words[4], cause: words[8] });
  else if (mine && echo !== part.name) end("none", { echo });
  else if (mine) {
    const verdict = status & PASS ? "pass" : status & FAIL ? "fail" : "undecided";
    end(verdict, { result: words[7], cause: words[8], score: float(words.slice(10, 12)) });
  } else if (part.sent) control |= TRIGGER;
  else if (Date.now() - part.since > sensorMs) end("none", { code: words[4], ready: status & READY, valid });
  else if (status & READY && !valid) {
    control |= TRIGGER;
    part.sent = true;
  }
};

await connect();
for (;;) {
  try {
    const { data } = await client.readInputRegisters(0, 64);
    scan(data);
    beat = (beat + 1) & 0xffff;
    const words = [control, 0, beat, 0, data[56], data[57], 0, 0, ...wordsOf(part ? part.name : ""), ...Array(16).fill(0)];
    await client.writeRegisters(0, words);
    if (beat === 3) say({ ready: true });
  } catch {
    client.destroy(() => {});
    control = 0;
    if (part !== null && part.sent) part.since = -1e9; // whatever comes now is of no part that we know
    await connect();
  }
  if (part !== null && Date.now() - part.since > deadlineMs) end("none");
  if (part === null && parts.length && parts[0] === null) break;
  await sleep(cycleMs);
}
process.exit(0);
