// statsig-js, the browser SDK before @statsig/js-client.
import { StatsigClient } from 'statsig-js';
import { question, serve } from './serve.mjs';

const instances = new Map();

serve({
  async open({ name, key, base, user, tier, values, local, options }) {
    const client = new StatsigClient(key, user, {
      api: `${base}/v1`,
      eventLoggingApi: `${base}/v1`,
      environment: { tier },
      initializeValues: values ? JSON.parse(values) : null,
      localMode: local,
      disableErrorLogging: true, // its errors would go to the vendor
      ...options,
    });
    await client.initializeAsync();
    instances.set(name, client);
  },
  async check({ name, user, ...asked }) {
    const client = instances.get(name);
    if (client.getCurrentUserID() !== user.userID) await client.updateUser(user);
    return question(asked, {
      gate: (gate) => described(client.getFeatureGate(gate)),
      config: (config) => described(client.getConfig(config)),
      experiment: (experiment) => described(client.getExperiment(experiment)),
      layer: (name, parameter) => {
        const layer = client.getLayer(name);
        return { ...described(layer), value: layer.get(parameter, null) };
      },
    });
  },
  refresh: async ({ name, user }) => void (await instances.get(name).updateUser(user)),
  event: ({ name, event, value, metadata }) => instances.get(name).logEvent(event, value, metadata),
  flush: ({ name }) => instances.get(name).flushEvents(),
  override: ({ name, gate, value }) => instances.get(name).overrideGate(gate, value),
  close: ({ name }) => instances.get(name).shutdown(),
});

function described(it) {
  return { value: it.value, ruleID: it.getRuleID(), group: it.getGroupName() };
}
