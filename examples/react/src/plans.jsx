// A page of prices behind a gate: who passes it sees the new list, everybody else
// the old sentence. What the plans cost is a dynamic config, the colour of the
// button an experiment, and choosing a plan the event that decides it.
import { Statsig, useConfig, useExperiment, useGate } from 'statsig-react';

// What the page shows when nobody can be asked: values in code, next to their use.
const PRICES = { free: 0, basic: 12 };

export function PlansPage() {
  const { value: newPricing } = useGate('new_pricing_ui');
  return newPricing ? <NewPlans /> : <OldPlans />;
}

function OldPlans() {
  return <p data-page="old">One plan, twelve a month. Write to us.</p>;
}

function NewPlans() {
  const { config } = useConfig('pricing_tiers');
  const prices = config.get('prices', PRICES);
  return (
    <ul className="plans" data-page="new">
      {Object.entries(prices).map(([plan, price]) => (
        <li key={plan} data-plan={plan}>
          <h2>{plan}</h2>
          <p>{price === 0 ? 'free' : `${price} a month`}</p>
          <Choose plan={plan} price={price} />
        </li>
      ))}
    </ul>
  );
}

function Choose({ plan, price }) {
  const { config } = useExperiment('button_color_test');
  const choose = () => Statsig.logEvent('plan_chosen', price, { plan });
  return (
    <button type="button" style={{ background: config.get('color', 'navy') }} onClick={choose}>
      Choose {plan}
    </button>
  );
}
