import { Statsig, StatsigUser } from '@statsig/statsig-node-core';
import { answer, task } from './sdk.mjs';

const statsig = new Statsig(task.key, {
  specsUrl: `${task.base}/v2/download_config_specs`,
  logEventUrl: `${task.base}/v1/log_event`,
  idListsUrl: `${task.base}/v1/get_id_lists`,
  environment: 'production',
});
await statsig.initialize();
const rows = [];
for (const raw of task.users) {
  const user = new StatsigUser(raw);
  const experiment = statsig.getExperiment(user, task.experiment);
  rows.push({
    gate: statsig.checkGate(user, task.gate),
    config: statsig.getDynamicConfig(user, task.config).value,
    experiment: experiment.value,
    group: experiment.groupName,
  });
  if (task.converts[rows.length - 1]) statsig.logEvent(user, task.event, 12.5, { sdk: 'statsig-node-core' });
}
await statsig.flushEvents();
await statsig.shutdown();
answer(rows);
