// What a Reporter logs of flags that were read: the argument is a list of
// [key, metadata], the answer one line of JSON with the events' metadata.
import { Reporter } from '../../../sdk/js/openfeature/index.js';

const sent = [];
const fetch = async (url, { body }) => {
  sent.push(...JSON.parse(body).events);
  return { ok: true };
};
const reporter = new Reporter({ baseUrl: 'http://edge', key: 'client-x', fetch });
const { after } = reporter.hook();
for (const [flagKey, flagMetadata] of JSON.parse(process.argv[2])) {
  after({ context: { targetingKey: 'ann' } }, { flagKey, variant: 'on', value: true, flagMetadata });
}
await reporter.close();
console.log(JSON.stringify(sent.map(({ eventName, metadata }) => ({ eventName, ...metadata }))));
