// Where the page learns whom to ask: ?api=http://127.0.0.1:8080&key=client-…&user=ann
import { createRoot } from 'react-dom/client';
import { StatsigProvider } from 'statsig-react';
import { PlansPage } from './plans.jsx';

const query = new URLSearchParams(location.search);
const options = {
  api: `${query.get('api') ?? 'http://127.0.0.1:8080'}/v1`,
  eventLoggingApi: `${query.get('api') ?? 'http://127.0.0.1:8080'}/v1`,
  environment: { tier: 'production' },
};

createRoot(document.getElementById('page')).render(
  <StatsigProvider
    sdkKey={query.get('key') ?? ''}
    user={{ userID: query.get('user') ?? 'visitor' }}
    options={options}
    waitForInitialization
    initializingComponent={<p>One moment…</p>}
  >
    <PlansPage />
  </StatsigProvider>,
);
