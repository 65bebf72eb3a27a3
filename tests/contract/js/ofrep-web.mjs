// The released OpenFeature web provider, as a page would use it.
//
// It says what it read and what went over the wire, then so whenever it was told
// of a change; setting a context says what was read then.
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';
import { Reporter } from '../../../sdk/js/openfeature/index.js';

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

export async function open({ base, key }, told) {
  const wire = [];
  const fetchImplementation = async (request, init) => {
    const sent = new Request(request, init);
    const res = await fetch(sent);
    wire.push({ url: sent.url.slice(base.length), match: sent.headers.get('if-none-match') ?? '', status: res.status, etag: res.headers.get('etag') ?? '' });
    return res;
  };
  const say = (line) => told({ ...line, wire: wire.splice(0) });

  await OpenFeature.setContext({ targetingKey: 'ann', plan: 'pro' });
  // By default the provider would first answer a new context with what a browser stored for the targeting key, and then ask.
  const provider = new OFREPWebProvider({ baseUrl: base, headers: [['Authorization', `Bearer ${key}`]], fetchImplementation, cacheMode: 'network-first' });
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
  return {
    async context(members) {
      await OpenFeature.setContext(members);
      const now = read();
      await reporter.flush();
      say({ event: 'context', read: now });
    },
    async close() {
      await reporter.close();
      await OpenFeature.close();
    },
  };
}
