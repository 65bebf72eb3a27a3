// Shows what the edge pushes to one visitor: a gate, a config, and how long each
// change took. When the connection is lost the page says so and comes back by
// itself, offering what it holds, so that only what it missed is sent.

const settings = await (await fetch('/demo/settings.json')).json();
const byId = (id) => document.getElementById(id);
byId('gate-name').textContent = `Gate ${settings.gate}`;
byId('config-name').textContent = `Config ${settings.config}`;

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
const HEALTHY_AFTER_MS = 60_000;
const SILENT_AFTER_MS = 60_000; // the edge pings twice as often
const STAY_AWAY = new Set([1009, 4400, 4401, 4403, 4426]);

const entries = { feature_gates: {}, dynamic_configs: {}, layer_configs: {} };
let held = null;
let attempt = 0;

function setConnection(state, text) {
  byId('connection').dataset.state = state;
  byId('connection').textContent = text;
}

function render() {
  const on = entries.feature_gates[settings.gate]?.value ?? false;
  byId('gate-value').dataset.value = String(on);
  byId('gate-value').textContent = on ? 'on' : 'off';
  byId('config-value').textContent = JSON.stringify(entries.dynamic_configs[settings.config]?.value ?? {}, null, 2);
}

function describe(frame) {
  const names = [];
  for (const section of Object.keys(entries)) {
    for (const [name, entry] of Object.entries(frame.set?.[section] ?? {})) names.push(`${name} = ${JSON.stringify(entry.value)}`);
    for (const name of frame.delete?.[section] ?? []) names.push(`${name} removed`);
  }
  return names.join(', ');
}

// log adds a row. A change that was missed while disconnected has no delay to
// speak of.
function log(frame, delay) {
  const row = document.createElement('tr');
  for (const text of [String(frame.seq), describe(frame), delay === null ? 'caught up' : `${Math.max(0, delay)} ms`]) {
    row.append(Object.assign(document.createElement('td'), { textContent: text }));
  }
  row.dataset.seq = frame.seq;
  if (delay !== null) row.dataset.delay = delay;
  byId('changes').prepend(row);
  while (byId('changes').rows.length > 20) byId('changes').deleteRow(-1);
}

function setLive(stale) {
  setConnection('live', stale ? 'Live, but the edge is cut off from the log' : 'Live');
}

let catchingUp = false;

const handlers = {
  intent(frame) {
    setLive(frame.stale);
    catchingUp = frame.intent === 'changes';
    if (frame.intent === 'none') render();
  },
  full(frame) {
    for (const section of Object.keys(entries)) entries[section] = { ...frame.payload[section] };
    held = { epoch: frame.epoch, seq: frame.seq, context: frame.context };
    render();
  },
  change(frame, socket) {
    const delay = catchingUp ? null : Date.now() - frame.time;
    catchingUp = false;
    if (held === null || held.seq < frame.prev) {
      socket.send(JSON.stringify({ type: 'position', ...(held ?? { epoch: 'none' }) }));
      return;
    }
    for (const section of Object.keys(entries)) {
      Object.assign(entries[section], frame.set?.[section]);
      for (const name of frame.delete?.[section] ?? []) delete entries[section][name];
    }
    held.seq = frame.seq;
    render();
    if (frame.set || frame.delete) log(frame, delay);
  },
  ping(frame) {
    setLive(frame.stale);
    if (held !== null) held.seq = Math.max(held.seq, frame.seq);
  },
};

function connect() {
  const socket = new WebSocket(settings.live);
  let retryAt = null;
  let healthy;
  let silence;
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => socket.close(), SILENT_AFTER_MS);
  };

  socket.onopen = () => {
    listen();
    healthy = setTimeout(() => { attempt = 0; }, HEALTHY_AFTER_MS);
    const hello = { type: 'hello', protocol: 1, key: settings.key, mode: 'values', user: settings.user };
    if (held !== null) Object.assign(hello, held);
    socket.send(JSON.stringify(hello));
  };
  socket.onmessage = (message) => {
    listen();
    const frame = JSON.parse(message.data);
    if (frame.type === 'goodbye') retryAt = frame.retryMs;
    else handlers[frame.type]?.(frame, socket);
  };
  socket.onclose = (event) => {
    clearTimeout(silence);
    clearTimeout(healthy);
    if (STAY_AWAY.has(event.code)) {
      setConnection('lost', `Closed for good (${event.code}): reload the page`);
      return;
    }
    const wait = retryAt ?? Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt++);
    setConnection('lost', 'Disconnected; what you see is the last known state. Reconnecting…');
    setTimeout(connect, wait);
  };
}

connect();
