"""Gatelet in a container, for Testcontainers: `pip install gatelet[testcontainers]`."""

import json
import secrets
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HttpWaitStrategy

from ._namespace import Namespace
from ._server import Server
from ._types import Creation, Seed

if TYPE_CHECKING:
    from os import PathLike

PORT = 8283


class GateletContainer(DockerContainer):
    """A mock in memory, with the control API.

        with GateletContainer("ghcr.io/gatelet/gatelet:0.1.0") as container:
            namespace = container.namespace(seed="seed.toml")
    """

    def __init__(self, image: str, **options: Any) -> None:
        super().__init__(image, **options)
        self.api_key = f"sk-let-{secrets.token_hex(24)}"
        """The API key of the server."""
        self._server: Server | None = None
        self.with_exposed_ports(PORT)
        self.with_envs(GATELET_EPHEMERAL="true", GATELET_CONTROL="true", GATELET_BOOTSTRAP_API_KEY=self.api_key)
        self.waiting_for(HttpWaitStrategy(PORT, "/readyz"))

    def with_seed(self, path: "str | PathLike[str]") -> Self:
        """What the namespace `default` begins with: a seed, an agent file, or a folder of them."""
        return self._with_file(path, "GATELET_SEED")

    def with_script(self, path: "str | PathLike[str]") -> Self:
        """The scripted replies of all namespaces."""
        return self._with_file(path, "GATELET_SCRIPT")

    @property
    def base_url(self) -> str:
        """What SDKs of this machine take as their base URL."""
        return f"http://{self.get_container_host_ip()}:{self.get_exposed_port(PORT)}"

    @property
    def server(self) -> Server:
        """The server, once it has started."""
        self._server = self._server or Server(self.base_url, self.api_key)
        return self._server

    def namespace(
        self, name: str | None = None, *, seed: Seed | None = None, **creation: Unpack[Creation]
    ) -> Namespace:
        """Creates a namespace."""
        return self.server.namespace(name, seed=seed, **creation)

    def start(self) -> Self:
        # An engine on another machine is reached by a name that the control API must know.
        host = self.get_docker_client().host()
        if not _is_known(host):
            self.with_env("GATELET_CONTROL__HOSTS", json.dumps([host]))
        return super().start()

    def _with_file(self, path: "str | PathLike[str]", variable: str) -> Self:
        source, folder = Path(path).resolve(), f"/gatelet/{variable.lower()}"
        target = f"{folder}/{source.name}"
        # Testcontainers copies a folder into its destination, under its own name.
        return self.with_copy_into_container(source, folder if source.is_dir() else target).with_env(variable, target)


def _is_known(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
