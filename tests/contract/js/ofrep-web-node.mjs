// ofrep-web.mjs as a program of Node, with the EventSource of a package, since
// Node has none. Argument: {"base", "key"}.
//
// It writes what the page says as lines of JSON, and reads such lines from
// standard input: {"context": {…}} sets a context.
import { createInterface } from 'node:readline';
import { EventSource } from 'eventsource';
import { open } from './ofrep-web.mjs';

globalThis.EventSource = EventSource;
const page = await open(JSON.parse(process.argv[2]), (line) => console.log(JSON.stringify(line)));
for await (const line of createInterface({ input: process.stdin })) await page.context(JSON.parse(line).context);
await page.close();
process.exit(0);
