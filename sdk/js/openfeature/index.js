// Reports what the remote evaluation protocol leaves out: which flags were read
// (exposures), and what users did (events). Both go to the platform's log
// endpoint in batches, marked as coming from "ofrep". A batch is sent again with
// the same bytes until it is acknowledged, three times at most: the platform
// counts it once.

const exposures = { gate: 'statsig::gate_exposure', config: 'statsig::config_exposure', experiment: 'statsig::config_exposure', layer: 'statsig::layer_exposure' };
const properties = ['userID', 'email', 'ip', 'userAgent', 'country', 'locale', 'appVersion', 'customIDs', 'custom'];
const known = new Map(properties.map((name) => [name.toLowerCase(), name]));
const attempts = 3;

export class Reporter {
  constructor({ baseUrl, key, flushInterval = 5_000, queueSize = 1_000, unitTypes = [], fetch = globalThis.fetch.bind(globalThis) }) {
    if (!baseUrl || !key) throw new TypeError('a Reporter needs a baseUrl and a key');
    this.dropped = 0;
    this.#url = `${baseUrl.replace(/\/+$/, '')}/v1/log_event`;
    this.#key = key;
    this.#fetch = fetch;
    this.#queueSize = queueSize;
    this.#unitTypes = ['stableID', ...unitTypes];
    this.#timer = setInterval(() => this.flush(), flushInterval);
    this.#timer.unref?.(); // a process may end; close sends what waits
  }

  #url;
  #key;
  #fetch;
  #queueSize;
  #unitTypes;
  #timer;
  #queue = [];
  #seen = new Map(); // exposures of this hour
  #hour = 0;
  #sending = Promise.resolve();

  hook() {
    return { after: (hookContext, details) => this.#read(hookContext, details) };
  }

  tracking(provider) {
    provider.track = (name, context, details) => this.track(name, context, details);
    return provider;
  }

  track(name, context = {}, details = {}) {
    const { value, ...fields } = details;
    const metadata = {};
    for (const [field, v] of Object.entries(fields)) metadata[field] = typeof v === 'string' ? v : JSON.stringify(v);
    this.#add({ eventName: name, user: user(context, this.#unitTypes), value: value ?? null, metadata, time: Date.now() });
  }

  flush() {
    const events = this.#queue.splice(0);
    if (events.length > 0) this.#sending = this.#sending.then(() => this.#send(events));
    return this.#sending;
  }

  close() {
    clearInterval(this.#timer);
    return this.flush();
  }

  // A flag was read. What was decided without a rule of ours is no exposure: an
  // error, or a flag that leaves the code its default.
  #read(hookContext, { flagKey, variant, value, errorCode, flagMetadata = {} }) {
    const { kind, name = flagKey, parameter = '', ruleID, idType, experiment, deferred } = flagMetadata;
    const eventName = exposures[kind];
    if (!eventName || errorCode || !ruleID || deferred) return;
    const who = user(hookContext.context, idType ? [idType, ...this.#unitTypes] : this.#unitTypes);
    if (!this.#first([who.userID, JSON.stringify(who.customIDs ?? {}), kind, name, ruleID, parameter].join('\n'))) return;
    const metadata = { ruleID, reason: 'ofrep' };
    if (kind === 'gate') {
      metadata.gate = name;
      metadata.gateValue = String(variant === undefined ? value : variant === 'on');
    } else {
      metadata.config = name;
    }
    if (kind === 'layer') {
      metadata.parameterName = parameter;
      metadata.allocatedExperiment = experiment ?? '';
      metadata.isExplicitParameter = String(Boolean(experiment));
    }
    this.#add({ eventName, user: who, value: null, metadata, time: Date.now() });
  }

  // Whether an exposure is the first of its hour.
  #first(exposure) {
    const hour = Math.floor(Date.now() / 3_600_000);
    if (hour !== this.#hour || this.#seen.size >= 10_000) {
      this.#hour = hour;
      this.#seen.clear();
    }
    if (this.#seen.has(exposure)) return false;
    this.#seen.set(exposure, true);
    return true;
  }

  #add(event) {
    if (this.#queue.length >= this.#queueSize) {
      this.dropped++;
      return;
    }
    this.#queue.push(event);
  }

  async #send(events) {
    const body = JSON.stringify({ events, statsigMetadata: { sdkType: 'ofrep', sdkVersion: '0.1.0' } });
    const headers = { 'content-type': 'application/json', 'statsig-api-key': this.#key };
    for (let attempt = 0; attempt < attempts; attempt++) {
      if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, 1_000 * 2 ** attempt * Math.random()));
      try {
        const res = await this.#fetch(this.#url, { method: 'POST', headers, body });
        if (res.ok) return;
        if (res.status < 500 && res.status !== 429) break; // it would be refused again
      } catch {
        // the network: try again
      }
    }
    this.dropped += events.length;
  }
}

// The user that a context describes, as the edge reads it. Private attributes
// stay where they are.
function user(context = {}, unitTypes) {
  const out = {};
  const custom = {};
  const customIDs = {};
  for (const [name, value] of Object.entries(context)) {
    const lower = name.toLowerCase();
    if (value === null || value === undefined || name === 'targetingKey' || lower === 'privateattributes') continue;
    const property = known.get(lower);
    const unit = unitTypes.find((type) => type.toLowerCase() === lower);
    if (property) out[property] ??= value;
    else if (unit) customIDs[unit] = String(value);
    else custom[name] = value;
  }
  if (context.targetingKey && out.userID === undefined) out.userID = context.targetingKey;
  if (Object.keys(customIDs).length > 0) out.customIDs = { ...customIDs, ...out.customIDs };
  if (Object.keys(custom).length > 0) out.custom = { ...custom, ...out.custom };
  return out;
}
