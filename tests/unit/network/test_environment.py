"""The variables that lead a command's programs to the proxy."""

from app_server.network.environment import proxied

HTTP = "http://turnloom:secret@127.0.0.1:4321"
SOCKS = "socks5h://turnloom:secret@127.0.0.1:4321"
LOCAL = "localhost,127.0.0.1,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"

EVERYTHING = {
    "ALL_PROXY": SOCKS,
    "BUNDLE_HTTPS_PROXY": HTTP,
    "BUNDLE_HTTP_PROXY": HTTP,
    "BUNDLE_NO_PROXY": "",
    "CODEX_NETWORK_ALLOW_LOCAL_BINDING": "0",
    "CODEX_NETWORK_PROXY_ACTIVE": "1",
    "DOCKER_HTTPS_PROXY": HTTP,
    "DOCKER_HTTP_PROXY": HTTP,
    "ELECTRON_GET_USE_PROXY": "true",
    "FTP_PROXY": SOCKS,
    "HTTPS_PROXY": HTTP,
    "HTTP_PROXY": HTTP,
    "NODE_USE_ENV_PROXY": "1",
    "NO_PROXY": "",
    "NPM_CONFIG_HTTPS_PROXY": HTTP,
    "NPM_CONFIG_HTTP_PROXY": HTTP,
    "NPM_CONFIG_NOPROXY": "",
    "NPM_CONFIG_PROXY": HTTP,
    "PIP_PROXY": HTTP,
    "WSS_PROXY": HTTP,
    "WS_PROXY": HTTP,
    "YARN_HTTPS_PROXY": HTTP,
    "YARN_HTTP_PROXY": HTTP,
    "all_proxy": SOCKS,
    "ftp_proxy": SOCKS,
    "http_proxy": HTTP,
    "https_proxy": HTTP,
    "no_proxy": "",
    "npm_config_http_proxy": HTTP,
    "npm_config_https_proxy": HTTP,
    "npm_config_noproxy": "",
    "npm_config_proxy": HTTP,
    "ws_proxy": HTTP,
    "wss_proxy": HTTP,
}
"""What was recorded, but for the port and the credential in the URLs."""


SSH = {"GIT_SSH_COMMAND", "TURNLOOM_SSH_CONNECT"}


def test_every_variable_leads_to_the_proxy() -> None:
    environment = proxied({}, 4321, "secret")
    assert {name: value for name, value in environment.items() if name not in SSH} == EVERYTHING
    assert environment.keys() - EVERYTHING.keys() == SSH


def test_what_the_user_has_set_is_kept_unless_it_leads_around_the_proxy() -> None:
    base = {"PATH": "/bin", "NO_PROXY": "*", "https_proxy": "http://mine", "GIT_SSH_COMMAND": "ssh -v"}
    assert proxied(base, 4321, "secret") == {**EVERYTHING, "PATH": "/bin", "GIT_SSH_COMMAND": "ssh -v"}
    assert base["NO_PROXY"] == "*"
    assert not SSH & proxied({"GIT_SSH": "plink"}, 4321, "secret").keys()


def test_local_binding_says_what_is_reached_directly() -> None:
    environment = proxied({"GIT_SSH": "plink"}, 4321, "secret", local_binding=True)
    changed = {name: value for name, value in environment.items() if EVERYTHING.get(name) != value}
    names = ("NO_PROXY", "no_proxy", "NPM_CONFIG_NOPROXY", "npm_config_noproxy", "BUNDLE_NO_PROXY")
    expected = {**dict.fromkeys(names, LOCAL), "CODEX_NETWORK_ALLOW_LOCAL_BINDING": "1", "GIT_SSH": "plink"}
    assert changed == expected


def test_without_socks_everything_goes_by_http() -> None:
    environment = proxied({}, 4321, "secret", socks=False)
    assert SOCKS not in environment.values()
    assert environment["ALL_PROXY"] == environment["ftp_proxy"] == HTTP
