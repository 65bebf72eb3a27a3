// What every driver of this folder shares: a driver wraps one unmodified SDK
// from the registry and does with it what the tests ask, one command at a time:
//
//   {"id": 7, "do": "check", "name": "a", …}  →  {"id": 7, "ok": …}  or  {"id": 7, "error": "…"}
//
// In Node a command is a line of standard input and an answer a line of file
// descriptor 3, because SDKs print to standard output. In a page a command is an
// argument of window.drive, which resolves to the answer.
//
// The commands, all of which name the instance they are for:
//
//   open      {key, base, user, tier, values, store, local, options}: make an instance and wait until it is ready.
//             user: of client SDKs. values: what to start from without asking. store: keep definitions in
//             the driver's store. local: no network at all. options: more of the SDK's own
//   check     {user, gate, config, experiment, layer, parameter}: read what is named
//   refresh   {user}: client SDKs ask again; server SDKs do so by themselves
//   event     {user, event, value, metadata}
//   flush     {}
//   payload   {user, client}: what a client SDK with that key starts from
//   stored    {}: what the SDK wrote into the driver's store
//   rules     {}: the rules that the SDK last told of, to a callback
//   override  {gate, value}
//   close     {}: flush and end
export async function serve(commands) {
  const run = async ({ id, do: command, ...parameters }) => {
    try {
      if (!commands[command]) throw new Error(`this SDK cannot ${command}`);
      return { id, ok: (await commands[command](parameters)) ?? null };
    } catch (error) {
      return { id, error: String(error?.stack ?? error) };
    }
  };
  if (typeof window !== 'undefined') {
    window.drive = async (line) => JSON.stringify(await run(JSON.parse(line)));
    return;
  }
  const { createInterface } = await import('node:readline');
  const { writeSync } = await import('node:fs');
  const busy = new Set();
  for await (const line of createInterface({ input: process.stdin })) {
    const answered = run(JSON.parse(line)).then((answer) => writeSync(3, `${JSON.stringify(answer)}\n`));
    busy.add(answered.finally(() => busy.delete(answered)));
  }
  await Promise.all(busy);
  process.exit(0); // whatever timers an SDK left behind
}

// question calls the reader of each entity that is named, and collects what it
// says: {gate: {value, ruleID, group}, …}.
export function question(parameters, readers) {
  const answers = {};
  for (const [kind, read] of Object.entries(readers)) {
    if (parameters[kind]) answers[kind] = read(parameters[kind], parameters.parameter);
  }
  return answers;
}

// memory is a store of definitions such as server SDKs accept: it keeps what the
// SDK writes under the SDK's own keys.
export function memory() {
  const kept = new Map();
  return {
    kept,
    get: (key) => kept.get(key),
    set: (key, value) => void kept.set(key, value),
    specs: () => [...kept].find(([key]) => key.includes('download_config_specs'))?.[1] ?? '',
  };
}
