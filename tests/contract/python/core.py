"""statsig-python-core, the Rust core behind a Python binding."""

from statsig_python_core import DataStore, DataStoreResponse, SpecAdapterConfig, Statsig, StatsigOptions, StatsigUser

from serve import described, members, question, serve


class Store(DataStore):
    """Keeps what the SDK writes under the SDK's own keys."""

    def __init__(self):
        super().__init__()
        self.kept = {}

    def get(self, key):
        value, time = self.kept.get(key, (None, None))
        return DataStoreResponse(result=value, time=time)

    def set(self, key, value, time=None):
        self.kept[key] = (value, time)


class Driver:
    def __init__(self):
        self.instances = {}
        self.updates = {}
        self.store = Store()

    def open(self, name, key, base, tier=None, values=None, store=False, local=False, stream=None, polls=None, options=None, user=None):
        if values:
            raise NotImplementedError("this SDK starts from values through a data store only")
        adapters = None
        if stream:
            adapters = [SpecAdapterConfig(adapter_type="network_grpc_websocket", specs_url=f"http://{stream}", init_timeout_ms=3000)]
            if polls:
                adapters.append(SpecAdapterConfig(adapter_type="network_http", specs_url=f"{polls}/v2/download_config_specs", init_timeout_ms=3000))
        given = {
            "specs_url": f"{base}/v2/download_config_specs",
            "log_event_url": f"{base}/v1/log_event",
            "id_lists_url": f"{base}/v1/get_id_lists",
            "enable_id_lists": True,
            "environment": tier,
            "specs_sync_interval_ms": 1000,  # as short as it allows
            "id_lists_sync_interval_ms": 1000,
            "disable_network": local,
            "data_store": self.store if store else None,
            "spec_adapter_configs": adapters,
            "output_log_level": "none",
        }
        more = dict(options or {})
        if "spec_adapter_configs" in more:
            more["spec_adapter_configs"] = [SpecAdapterConfig(**adapter) for adapter in more["spec_adapter_configs"]]
        statsig = Statsig(key, StatsigOptions(**given | more))
        self.updates[name] = 0

        def updated(_):
            self.updates[name] += 1

        statsig.subscribe("specs_updated", updated)
        statsig.initialize().wait()
        self.instances[name] = statsig

    def check(self, name, user, **asked):
        statsig, user = self.instances[name], StatsigUser(**members(user))

        def gate(gate):
            got = statsig.get_feature_gate(user, gate)
            return described(got.value, got.rule_id, None)

        def config(config):
            got = statsig.get_dynamic_config(user, config)
            return described(got.value, got.rule_id, None)

        def experiment(experiment):
            got = statsig.get_experiment(user, experiment)
            return described(got.value, got.rule_id, got.group_name)

        def layer(layer):
            got = statsig.get_layer(user, layer)
            return described(got.get(asked["parameter"]), got.rule_id, got.group_name)

        return question(asked, gate=gate, config=config, experiment=experiment, layer=layer)

    def refresh(self, **_):
        """It polls by itself."""

    def event(self, name, user, event, value=None, metadata=None):
        self.instances[name].log_event(StatsigUser(**members(user)), event, value, metadata)

    def flush(self, name):
        self.instances[name].flush_events().wait()

    def payload(self, name, user, client=None):
        return self.instances[name].get_client_initialize_response(
            StatsigUser(**members(user)), hash="djb2", client_sdk_key=client
        )

    def stored(self, name):
        return next((value for key, (value, _) in self.store.kept.items() if "download_config_specs" in key), "")

    def updated(self, name):
        return self.updates[name]

    def override(self, name, gate, value):
        self.instances[name].override_gate(gate, value)

    def close(self, name):
        self.instances[name].shutdown().wait()


if __name__ == "__main__":
    serve(Driver())
