// What the programs of this folder share: each drives one unmodified SDK from
// the registry, as an application would, against the platform named by its
// argument. The argument and the answer on standard output are JSON:
//
//   {"base", "key", "users": [{"userID"}…], "gate", "config", "experiment", "event", "converts": [bool…]}
//   [{"gate": bool, "config": {}, "experiment": {}, "group": "…"}…], one per user
//
// For each user the SDK checks everything, logs one event with a value and
// metadata if the user converts, and flushes before it ends.
export const task = JSON.parse(process.argv[2]);

export function answer(rows) {
  process.stdout.write(JSON.stringify(rows));
}
