// The released OpenFeature server provider for JavaScript, as a service would
// use it. Argument: {"base", "key", "header"}; it answers with one line of JSON,
// the details of each evaluation by name.
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OpenFeature } from '@openfeature/server-sdk';

const { base, key, header } = JSON.parse(process.argv[2]);
const headers = header === 'X-API-Key' ? { 'X-API-Key': key } : { Authorization: `Bearer ${key}` };
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: base, headers }));
const client = OpenFeature.getClient();
const ann = { targetingKey: 'ann', plan: 'pro' };
const out = {
  boolean: await client.getBooleanDetails('checkout', false, ann),
  text: await client.getStringDetails('config:banner:text', 'code', ann),
  number: await client.getNumberDetails('config:banner:size', 0, ann),
  object: await client.getObjectDetails('banner', {}, ann),
  group: await client.getObjectDetails('button', {}, ann),
  targeted: await client.getBooleanDetails('pro only', false, ann),
  untargeted: await client.getBooleanDetails('pro only', true, { targetingKey: 'bob' }),
  absent: await client.getBooleanDetails('nothing', true, ann),
  mismatch: await client.getStringDetails('checkout', 'code', ann),
  nobody: await client.getObjectDetails('button', { code: true }, {}),
  deferred: await client.getBooleanDetails('deferred', true, ann),
};
await OpenFeature.close();
console.log(JSON.stringify(out));
