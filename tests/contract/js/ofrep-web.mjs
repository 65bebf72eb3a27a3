// The released OpenFeature web provider, as a page would use it: with the
// EventSource of a package, since Node has none. Argument: {"base", "key"}.
//
// It writes lines of JSON: what it read and what went over the wire, then one
// line whenever it was told of a change. It reads lines of JSON from standard
// input: {"context": {…}} sets a context and answers with what was read then.
import { createInterface } from 'node:readline';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';
import { EventSource } from 'eventsource';
import { Reporter } from '../../../sdk/js/openfeature/index.js';

globalThis.EventSource = EventSource;
const { base, key } = JSON.parse(process.argv[2]);

const wire = [];
const fetchImplementation = async (request, init) => {
  const sent = new Request(request, init);
  const res = await fetch(sent);
  wire.push({ url: sent.url.slice(base.length), match: sent.headers.get('if-none-match') ?? '', status: res.status, etag: res.headers.get('etag') ?? '' });
  return res;
};
const say = (line) => console.log(JSON.stringify({ ...line, wire: wire.splice(0) }));
const read = () => {
  const client = OpenFeature.getClient();
  return {
    boolean: client.getBooleanDetails('checkout', false),
    object: client.getObjectDetails('banner', {}),
    targeted: client.getBooleanDetails('pro only', false),
    group: client.getObjectDetails('button', { code: true }),
    absent: client.getBooleanDetails('nothing', true),
    mismatch: client.getStringDetails('checkout', 'code'),
    deferred: client.getBooleanDetails('deferred', true),
    hidden: client.getBooleanDetails('internal', false),
  };
};

await OpenFeature.setContext({ targetingKey: 'ann', plan: 'pro' });
const provider = new OFREPWebProvider({ baseUrl: base, headers: [['Authorization', `Bearer ${key}`]], fetchImplementation });
const reporter = new Reporter({ baseUrl: base, key });
OpenFeature.addHooks(reporter.hook());
try {
  await OpenFeature.setProviderAndWait(reporter.tracking(provider));
  const first = read();
  OpenFeature.getClient().track('purchase', { value: 12.5, currency: 'EUR' });
  await reporter.flush();
  say({ event: 'ready', status: OpenFeature.getClient().providerStatus, read: first, dropped: reporter.dropped });
} catch (error) {
  say({ event: 'failed', status: OpenFeature.getClient().providerStatus, message: String(error) });
}
OpenFeature.addHandler(ProviderEvents.ConfigurationChanged, (details) => {
  say({ event: 'changed', at: Date.now(), flags: details.flagsChanged ?? [], read: read() });
});
for await (const line of createInterface({ input: process.stdin })) {
  await OpenFeature.setContext(JSON.parse(line).context);
  say({ event: 'context', read: read() });
}
await reporter.close();
await OpenFeature.close();
process.exit(0);
