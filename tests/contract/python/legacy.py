"""statsig, the server SDK in Python."""

import json

from statsig import HashingAlgorithm, IDataStore, StatsigEvent, StatsigOptions, StatsigServer, StatsigUser
from statsig.evaluation_details import DataSource
from statsig.interface_network import NetworkEndpoint, NetworkProtocol
from statsig.statsig_options import ProxyConfig

from serve import described, members, question, serve


class Store(IDataStore):
    """Keeps what the SDK writes under the SDK's own key."""

    def __init__(self):
        self.kept = {}

    def get(self, key):
        return self.kept.get(key)

    def set(self, key, value):
        self.kept[key] = value


class Driver:
    def __init__(self):
        self.instances = {}
        self.updates = {}
        self.told = {}
        self.store = Store()

    def open(self, name, key, base, tier=None, values=None, store=False, local=False, stream=None, polls=None, options=None, user=None):
        self.updates[name] = 0

        def updated(rules):
            self.updates[name] += 1
            self.told[name] = rules

        proxies = None
        if stream:
            # Back to the stream soon, and polling as soon as it is lost.
            proxies = {
                NetworkEndpoint.DOWNLOAD_CONFIG_SPECS: ProxyConfig(
                    protocol=NetworkProtocol.GRPC_WEBSOCKET,
                    proxy_address=stream,
                    max_retry_attempt=100,
                    retry_backoff_base_ms=500,
                    retry_backoff_multiplier=1,
                    push_worker_failover_threshold=1,
                )
            }
        given = {
            "api": f"{base}/v1/",
            "tier": tier,
            "init_timeout": 3,
            "timeout": 10,
            "rulesets_sync_interval": 1,
            "idlists_sync_interval": 1,
            "local_mode": local,
            "bootstrap_values": values or None,
            "rules_updated_callback": updated,
            "data_store": self.store if store else None,
            "proxy_configs": proxies,
            "disable_diagnostics": True,
        }
        more = dict(options or {})
        for sources in {"initialize_sources", "config_sync_sources"} & more.keys():
            more[sources] = [DataSource(name) for name in more[sources]]
        server = StatsigServer()
        server.initialize(key, StatsigOptions(**given | more))
        self.instances[name] = server

    def check(self, name, user, **asked):
        server, user = self.instances[name], StatsigUser(**members(user))

        def gate(gate):
            got = server.get_feature_gate(user, gate)
            return described(got.value, got.rule_id, got.group_name)

        def config(config):
            got = server.get_config(user, config)
            return described(got.value, got.rule_id, got.group_name)

        def experiment(experiment):
            got = server.get_experiment(user, experiment)
            return described(got.value, got.rule_id, got.group_name)

        def layer(layer):
            got = server.get_layer(user, layer)
            return described(got.get(asked["parameter"]), got.rule_id, got.group_name)

        return question(asked, gate=gate, config=config, experiment=experiment, layer=layer)

    def refresh(self, **_):
        """It polls by itself."""

    def event(self, name, user, event, value=None, metadata=None):
        self.instances[name].log_event(StatsigEvent(StatsigUser(**members(user)), event, value, metadata))

    def flush(self, name):
        self.instances[name].flush()

    def payload(self, name, user, client=None):
        return json.dumps(
            self.instances[name].get_client_initialize_response(
                StatsigUser(**members(user)), client_sdk_key=client, hash=HashingAlgorithm.DJB2
            )
        )

    def stored(self, name):
        return self.store.get("statsig.cache") or ""

    def rules(self, name):
        return self.told.get(name, "")

    def updated(self, name):
        return self.updates[name]

    def override(self, name, gate, value):
        self.instances[name].override_gate(gate, value)

    def close(self, name):
        self.instances[name].shutdown()


if __name__ == "__main__":
    serve(Driver())
