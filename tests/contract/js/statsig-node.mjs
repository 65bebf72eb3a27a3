import Statsig from 'statsig-node';
import { answer, task } from './sdk.mjs';

await Statsig.initialize(task.key, { api: `${task.base}/v1`, environment: { tier: 'production' } });
const rows = [];
for (const user of task.users) {
  const experiment = Statsig.getExperimentSync(user, task.experiment);
  rows.push({
    gate: Statsig.checkGateSync(user, task.gate),
    config: Statsig.getConfigSync(user, task.config).value,
    experiment: experiment.value,
    group: experiment.getGroupName(),
  });
  if (task.converts[rows.length - 1]) Statsig.logEvent(user, task.event, 12.5, { sdk: 'statsig-node' });
}
await Statsig.flush();
await Statsig.shutdownAsync();
answer(rows);
