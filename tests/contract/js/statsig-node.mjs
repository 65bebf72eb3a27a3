// statsig-node, the server SDK in JavaScript.
import StatsigNode from 'statsig-node';
import { memory, question, serve } from './serve.mjs';

const { StatsigServer } = StatsigNode;
const instances = new Map();
const updated = new Map(); // rules as the SDK told of them, by instance
const store = memory();
const adapter = {
  initialize: async () => {},
  shutdown: async () => {},
  get: async (key) => ({ result: store.get(key), time: 0 }),
  set: async (key, value) => store.set(key, value),
};

serve({
  async open({ name, key, base, tier, values, store: stores, local, options }) {
    const server = new StatsigServer(key, {
      api: `${base}/v1`,
      environment: { tier },
      bootstrapValues: values || null,
      dataAdapter: stores ? adapter : null,
      localMode: local,
      rulesetsSyncIntervalMs: 5000, // as short as it allows
      idListsSyncIntervalMs: 30_000, // as well
      initTimeoutMs: 3000,
      rulesUpdatedCallback: (rules) => updated.set(name, rules),
      ...options,
    });
    await server.initializeAsync();
    instances.set(name, server);
  },
  check({ name, user, ...asked }) {
    const server = instances.get(name);
    return question(asked, {
      gate: (gate) => {
        const { value, ruleID, groupName } = server.getFeatureGate(user, gate);
        return { value, ruleID, group: groupName };
      },
      config: (config) => described(server.getConfig(user, config)),
      experiment: (experiment) => described(server.getExperiment(user, experiment)),
      layer: (name, parameter) => {
        const layer = server.getLayer(user, name);
        return { value: layer.getValue(parameter, null), ruleID: layer.getRuleID(), group: layer.getGroupName() };
      },
    });
  },
  refresh() {},
  event: ({ name, user, event, value, metadata }) => instances.get(name).logEvent(user, event, value, metadata),
  flush: ({ name }) => instances.get(name).flush(),
  payload: ({ name, user, client }) =>
    JSON.stringify(instances.get(name).getClientInitializeResponse(user, client, { hash: 'djb2' })),
  stored: () => store.specs(),
  rules: ({ name }) => updated.get(name) ?? '',
  override: ({ name, gate, value }) => instances.get(name).overrideGate(gate, value),
  close: ({ name }) => instances.get(name).shutdownAsync(),
});

function described(config) {
  return { value: config.value, ruleID: config.getRuleID(), group: config.getGroupName() };
}
