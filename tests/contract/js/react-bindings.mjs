// @statsig/react-bindings, rendered in a page.
import {
  LogLevel,
  StatsigClient,
  StatsigProvider,
  useDynamicConfig,
  useExperiment,
  useFeatureGate,
  useLayer,
  useStatsigClient,
} from '@statsig/react-bindings';
import { LocalOverrideAdapter } from '@statsig/js-local-overrides';
import { createElement, useEffect } from 'react';
import { mount } from './probe.mjs';
import { serve } from './serve.mjs';

const instances = new Map();

serve({
  async open({ name, key, base, user, tier, values, local, options: { networkConfig, ...others } = {} }) {
    const overrides = new LocalOverrideAdapter();
    const options = {
      networkConfig: { api: `${base}/v1`, sdkExceptionUrl: `${base}/v1/sdk_exception`, preventAllNetworkTraffic: local, ...networkConfig },
      environment: { tier },
      overrideAdapter: overrides,
      logLevel: LogLevel.None,
      ...others,
    };
    const instance = { overrides };
    let ready = Promise.resolve();
    if (values) {
      instance.client = new StatsigClient(key, user, options);
      instance.client.dataAdapter.setData(values);
      instance.client.initializeSync();
    } else if (!local) {
      ready = new Promise((resolve) => {
        instance.ready = resolve;
      });
    }
    const provided = instance.client ? { client: instance.client } : { sdkKey: key, user, options };
    instance.handle = await mount(
      ({ children }) => createElement(StatsigProvider, provided, createElement(Client, { instance }), children),
      Reader,
      user,
    );
    await ready;
    instances.set(name, instance);
  },
  async check({ name, user, ...asked }) {
    const { client, handle } = instances.get(name);
    if (client.getContext().user.userID !== user.userID) await client.updateUserAsync(user);
    return handle.ask(asked);
  },
  refresh: async ({ name, user }) => void (await instances.get(name).client.updateUserAsync(user)),
  event: ({ name, event, value, metadata }) => instances.get(name).client.logEvent(event, value, metadata),
  flush: ({ name }) => instances.get(name).client.flush(),
  override: ({ name, gate, value }) => instances.get(name).overrides.overrideGate(gate, value),
  async close({ name }) {
    const { client, handle } = instances.get(name);
    await client.shutdown();
    handle.unmount();
  },
});

// Client hands the provider's client to the driver, once it is ready.
function Client({ instance }) {
  const { client, isLoading } = useStatsigClient();
  useEffect(() => {
    instance.client = client;
    if (!isLoading) instance.ready?.();
  }, [client, isLoading]);
  return null;
}

// Reader asks the hooks. What is asked never changes within one Reader, so the
// order of its hooks does not either.
function Reader({ asked, show }) {
  const answers = {};
  if (asked.gate) answers.gate = described(useFeatureGate(asked.gate));
  if (asked.config) answers.config = described(useDynamicConfig(asked.config));
  if (asked.experiment) answers.experiment = described(useExperiment(asked.experiment));
  if (asked.layer) {
    const layer = useLayer(asked.layer);
    answers.layer = { ...described(layer), value: layer.get(asked.parameter, null) };
  }
  useEffect(() => show(answers));
  return null;
}

function described({ value, ruleID, groupName }) {
  return { value, ruleID, group: groupName };
}
