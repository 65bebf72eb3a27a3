// statsig-react, the React SDK on top of statsig-js, rendered in a page.
import {
  Statsig,
  StatsigProvider,
  StatsigSynchronousProvider,
  useConfig,
  useExperiment,
  useFeatureGate,
  useLayer,
} from 'statsig-react';
import { createElement, useEffect } from 'react';
import { mount } from './probe.mjs';
import { serve } from './serve.mjs';

let instance; // of which this SDK has one in a page

serve({
  async open({ key, base, user, tier, values, local, options: more }) {
    let initialized;
    const ready = new Promise((resolve) => {
      initialized = resolve;
    });
    const options = {
      api: `${base}/v1`,
      eventLoggingApi: `${base}/v1`,
      environment: { tier },
      localMode: local,
      disableErrorLogging: true, // its errors would go to the vendor
      ...more,
      initCompletionCallback: () => initialized(),
      updateUserCompletionCallback: () => instance.updated?.(),
    };
    const provider = ({ user, children }) =>
      values
        ? createElement(StatsigSynchronousProvider, { sdkKey: key, user, options, initializeValues: JSON.parse(values) }, children)
        : createElement(StatsigProvider, { sdkKey: key, user, options, waitForInitialization: true }, children);
    instance = { user, handle: await mount(provider, Reader, user) };
    if (!values && !local) await ready;
  },
  async check({ user, ...asked }) {
    if (instance.user.userID !== user.userID) {
      const updated = new Promise((resolve) => {
        instance.updated = resolve;
      });
      instance.user = user;
      instance.handle.user(user);
      await updated;
    }
    return instance.handle.ask(asked);
  },
  refresh: async ({ user }) => void (await Statsig.updateUser(user)),
  event: ({ event, value, metadata }) => Statsig.logEvent(event, value, metadata),
  flush: () => Statsig.flushEvents(),
  override: ({ gate, value }) => Statsig.overrideGate(gate, value),
  close() {
    Statsig.shutdown();
    instance.handle.unmount();
  },
});

// Reader asks the hooks. What is asked never changes within one Reader, so the
// order of its hooks does not either.
function Reader({ asked, show }) {
  const answers = {};
  let loading = false;
  if (asked.gate) {
    const { gate, isLoading } = useFeatureGate(asked.gate);
    answers.gate = described(gate);
    loading ||= isLoading;
  }
  if (asked.config) answers.config = described(useConfig(asked.config).config);
  if (asked.experiment) answers.experiment = described(useExperiment(asked.experiment).config);
  if (asked.layer) {
    const { layer } = useLayer(asked.layer);
    answers.layer = { ...described(layer), value: layer.get(asked.parameter, null) };
  }
  useEffect(() => {
    if (!loading) show(answers);
  });
  return null;
}

function described(it) {
  return { value: it.value, ruleID: it.getRuleID(), group: it.getGroupName() };
}
