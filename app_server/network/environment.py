"""The variables that lead a command's programs to the proxy."""

import sys
from collections.abc import Mapping

USER = "turnloom"
"""The user name in the proxy's URLs; the password is the command's credential."""

LOCAL_HOSTS = "localhost,127.0.0.1,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
"""What programs reach directly where local connections are allowed."""

_HTTP = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "WS_PROXY",
    "WSS_PROXY",
    "ws_proxy",
    "wss_proxy",
    "YARN_HTTP_PROXY",
    "YARN_HTTPS_PROXY",
    "NPM_CONFIG_PROXY",
    "NPM_CONFIG_HTTP_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
    "npm_config_proxy",
    "npm_config_http_proxy",
    "npm_config_https_proxy",
    "BUNDLE_HTTP_PROXY",
    "BUNDLE_HTTPS_PROXY",
    "PIP_PROXY",
    "DOCKER_HTTP_PROXY",
    "DOCKER_HTTPS_PROXY",
)
_ANYTHING = ("ALL_PROXY", "all_proxy", "FTP_PROXY", "ftp_proxy")
_DIRECT = ("NO_PROXY", "no_proxy", "NPM_CONFIG_NOPROXY", "npm_config_noproxy", "BUNDLE_NO_PROXY")


def proxied(
    base: Mapping[str, str],
    port: int,
    credential: str,
    *,
    socks: bool = True,
    local_binding: bool = False,
    platform: str = sys.platform,
) -> dict[str, str]:
    """`base` with the proxy on a port of 127.0.0.1 in every variable that programs look at.

    `socks` says that the proxy also takes SOCKS5; `local_binding` that local addresses are reached without it.
    """
    address = f"{USER}:{credential}@127.0.0.1:{port}"
    http = f"http://{address}"
    environment = dict(base)
    environment["CODEX_NETWORK_PROXY_ACTIVE"] = "1"
    environment["CODEX_NETWORK_ALLOW_LOCAL_BINDING"] = "1" if local_binding else "0"
    environment["ELECTRON_GET_USE_PROXY"] = "true"
    environment["NODE_USE_ENV_PROXY"] = "1"
    environment.update(dict.fromkeys(_HTTP, http))
    environment.update(dict.fromkeys(_ANYTHING, f"socks5h://{address}" if socks else http))
    environment.update(dict.fromkeys(_DIRECT, LOCAL_HOSTS if local_binding else ""))
    if platform == "darwin" and socks and "GIT_SSH_COMMAND" not in base:
        # The nc of macOS speaks SOCKS5; it cannot send a password, so this works where none is needed.
        environment["GIT_SSH_COMMAND"] = f"ssh -o ProxyCommand='nc -X 5 -x 127.0.0.1:{port} %h %p'"
    return environment
