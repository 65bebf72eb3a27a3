"""Feature flags for this service.

Everything the service asks of flags goes through Flags, so that routes name what
they want to know and nothing else, and a test can put another in its place.
"""

import os

from statsig import StatsigOptions, StatsigServer, StatsigUser
from statsig.statsig_event import StatsigEvent


class Flags:
    """What the service knows about one Sluice project.

    Answers come from memory; a thread of the SDK keeps the rules current. Without
    a server it answers what it last knew, and before that each question's default.
    """

    def __init__(self, url: str, key: str, tier: str = "production"):
        self._sdk = StatsigServer()
        self._options = StatsigOptions(
            api=f"{url}/v1/",
            tier=tier,
            init_timeout=3,  # seconds that a start may wait for rules
            rulesets_sync_interval=1,  # seconds until a flip is known here
        )
        self._key = key

    @classmethod
    def from_environment(cls) -> "Flags":
        return cls(os.environ["SLUICE_URL"], os.environ["SLUICE_SDK_KEY"], os.environ.get("SLUICE_TIER", "production"))

    def start(self) -> None:
        self._sdk.initialize(self._key, self._options)

    def stop(self) -> None:
        """Sends what was logged and ends the SDK's threads."""
        self._sdk.shutdown()

    def enabled(self, gate: str, user: StatsigUser) -> bool:
        return self._sdk.check_gate(user, gate)

    def settings(self, config: str, user: StatsigUser, default: dict) -> dict:
        """The value of a config, on top of what the code can do without it."""
        return default | self._sdk.get_config(user, config).get_value()

    def happened(self, event: str, user: StatsigUser, value: float | None = None, **metadata: str) -> None:
        self._sdk.log_event(StatsigEvent(user, event, value, metadata))
