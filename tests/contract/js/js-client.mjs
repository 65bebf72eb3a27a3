import { StatsigClient } from '@statsig/js-client';
import { answer, task } from './sdk.mjs';

const rows = [];
for (const user of task.users) {
  const client = new StatsigClient(task.key, user, {
    networkConfig: { api: `${task.base}/v1` },
    loggingEnabled: 'always', // outside a browser nothing would be sent otherwise
    environment: { tier: 'production' },
  });
  const { success } = await client.initializeAsync();
  if (!success) throw new Error('js-client did not initialise');
  const experiment = client.getExperiment(task.experiment);
  rows.push({
    gate: client.checkGate(task.gate),
    config: client.getDynamicConfig(task.config).value,
    experiment: experiment.value,
    group: experiment.groupName,
  });
  if (task.converts[rows.length - 1]) client.logEvent(task.event, 12.5, { sdk: 'js-client' });
  await client.flush();
  await client.shutdown();
}
answer(rows);
