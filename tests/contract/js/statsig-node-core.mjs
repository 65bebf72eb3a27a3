// @statsig/statsig-node-core, the Rust core behind a Node binding.
import { Statsig, StatsigUser } from '@statsig/statsig-node-core';
import { memory, question, serve } from './serve.mjs';

const instances = new Map();
const store = memory();
const adapter = {
  initialize: async () => {},
  shutdown: async () => {},
  get: async (key) => ({ result: store.get(key) }),
  set: async (key, value) => store.set(key, value),
};

serve({
  async open({ name, key, base, tier, values, store: stores, local, options }) {
    if (values) throw new Error('this SDK starts from values through a data store only');
    const statsig = new Statsig(key, {
      specsUrl: `${base}/v2/download_config_specs`,
      logEventUrl: `${base}/v1/log_event`,
      idListsUrl: `${base}/v1/get_id_lists`,
      enableIdLists: true,
      environment: tier,
      specsSyncIntervalMs: 1000, // as short as it allows
      idListsSyncIntervalMs: 1000,
      disableNetwork: local,
      dataStore: stores ? adapter : undefined,
      outputLogLevel: 'none',
      ...options,
    });
    await statsig.initialize();
    instances.set(name, statsig);
  },
  check({ name, user: raw, ...asked }) {
    const statsig = instances.get(name);
    const user = new StatsigUser(raw);
    return question(asked, {
      gate: (gate) => {
        const { value, ruleID } = statsig.getFeatureGate(user, gate);
        return { value, ruleID };
      },
      config: (config) => described(statsig.getDynamicConfig(user, config)),
      experiment: (experiment) => described(statsig.getExperiment(user, experiment)),
      layer: (name, parameter) => {
        const layer = statsig.getLayer(user, name);
        return { ...described(layer), value: layer.getValue(parameter, null) };
      },
    });
  },
  refresh() {},
  event: ({ name, user, event, value, metadata }) =>
    instances.get(name).logEvent(new StatsigUser(user), event, value, metadata),
  flush: async ({ name }) => void (await instances.get(name).flushEvents()),
  payload: ({ name, user, client }) =>
    instances.get(name).getClientInitializeResponse(new StatsigUser(user), { hashAlgorithm: 'djb2', clientSdkKey: client }),
  stored: () => store.specs(),
  override: ({ name, gate, value }) => instances.get(name).overrideGate(gate, value),
  close: async ({ name }) => void (await instances.get(name).shutdown()),
});

function described({ value, ruleID, groupName }) {
  return { value, ruleID, group: groupName };
}
