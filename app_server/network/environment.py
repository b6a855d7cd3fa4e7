"""The variables that lead a command's programs to the proxy."""

from base64 import b64encode
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


_SSH = """ssh -o 'ProxyCommand=bash -c "$TURNLOOM_SSH_CONNECT" ssh %h %p'"""
_SSH_CONNECT = r"""
exec 3<>/dev/tcp/127.0.0.1/{port} 4<&0 || exit 1
printf 'CONNECT %s:%s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Basic {basic}\r\n\r\n' "$1" "$2" "$1" >&3
IFS= read -r status <&3
while IFS= read -r line <&3 && [ "$line" != $'\r' ]; do :; done
case $status in *' 200 '*) ;; *) cat <&3 >&2; exit 1 ;; esac
cat <&4 >&3 &
cat <&3
kill $! 2>/dev/null
exit 0
"""
"""Opens a tunnel for ssh, which knows no proxies. There is no other program for this that can show a credential and is
found everywhere."""


def proxied(
    base: Mapping[str, str], port: int, credential: str, *, socks: bool = True, local_binding: bool = False
) -> dict[str, str]:
    """`base` with the proxy on a port of 127.0.0.1 in every variable that programs look at.

    `socks` says that the proxy also takes SOCKS5; `local_binding` that local addresses are reached without it. Git's
    ssh is led through it unless `base` says which ssh to use.
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
    if "GIT_SSH_COMMAND" not in base and "GIT_SSH" not in base:
        basic = b64encode(f"{USER}:{credential}".encode()).decode()
        environment["GIT_SSH_COMMAND"] = _SSH
        environment["TURNLOOM_SSH_CONNECT"] = _SSH_CONNECT.format(port=port, basic=basic).strip()
    return environment
