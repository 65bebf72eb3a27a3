// @statsig/js-client, in Node and in a browser.
import { LogLevel, StatsigClient } from '@statsig/js-client';
import { LocalOverrideAdapter } from '@statsig/js-local-overrides';
import { question, serve } from './serve.mjs';

const instances = new Map();

serve({
  async open({ name, key, base, user, tier, values, local, options: { networkConfig, ...others } = {} }) {
    const overrides = new LocalOverrideAdapter();
    const client = new StatsigClient(key, user, {
      networkConfig: { api: `${base}/v1`, sdkExceptionUrl: `${base}/v1/sdk_exception`, preventAllNetworkTraffic: local, ...networkConfig },
      loggingEnabled: 'always', // outside a browser nothing would be sent otherwise
      environment: { tier },
      overrideAdapter: overrides,
      logLevel: LogLevel.None,
      ...others,
    });
    instances.set(name, { client, overrides });
    if (values) {
      client.dataAdapter.setData(values);
      client.initializeSync();
    } else {
      await client.initializeAsync();
    }
  },
  async check({ name, user, ...asked }) {
    const { client } = instances.get(name);
    if (client.getContext().user.userID !== user.userID) await client.updateUserAsync(user);
    return question(asked, {
      gate: (gate) => described(client.getFeatureGate(gate)),
      config: (config) => described(client.getDynamicConfig(config)),
      experiment: (experiment) => described(client.getExperiment(experiment)),
      layer: (name, parameter) => {
        const layer = client.getLayer(name);
        return { ...described(layer), value: layer.get(parameter, null) };
      },
    });
  },
  refresh: async ({ name, user }) => void (await instances.get(name).client.updateUserAsync(user)),
  event: ({ name, event, value, metadata }) => instances.get(name).client.logEvent(event, value, metadata),
  flush: ({ name }) => instances.get(name).client.flush(),
  override: ({ name, gate, value }) => instances.get(name).overrides.overrideGate(gate, value),
  close: ({ name }) => instances.get(name).client.shutdown(),
});

function described({ value, ruleID, groupName }) {
  return { value, ruleID, group: groupName };
}
