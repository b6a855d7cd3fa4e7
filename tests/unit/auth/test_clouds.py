"""What this machine has to sign in to other clouds with."""

from pathlib import Path

import pytest

from app_server.auth.clouds import AwsProfile, aws_environment, aws_profiles, set_up_bedrock, set_up_gcp
from protocol.jsonrpc import RpcError

CONFIG = """
[default]
region = eu-west-1
[profile dev]
region=us-west-2
sso_session = work
[sso-session work]
sso_region = us-east-1
[profile plain]
"""
CREDENTIALS = "[default]\naws_access_key_id=AK\naws_secret_access_key=never%shown\n[other]\naws_access_key_id=AK\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(CONFIG)
    (tmp_path / ".aws" / "credentials").write_text(CREDENTIALS)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.setenv(name, "")
    return tmp_path


def test_profiles_come_from_both_files(home: Path) -> None:
    assert aws_profiles() == [
        AwsProfile("default", "eu-west-1", True),
        AwsProfile("dev", "us-west-2", True),
        AwsProfile("other", None, True),
        AwsProfile("plain", None, False),
    ]
    assert "never" not in repr(aws_profiles())


def test_files_that_cannot_be_understood_have_no_profiles(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\xff no section\n[x\n")
    environ = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": str(broken), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path)}
    assert aws_profiles(environ) == []
    assert aws_profiles({"HOME": str(tmp_path / "nobody")}) == []


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, []),
        ({"AWS_ACCESS_KEY_ID": "A"}, []),
        ({"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": " "}, []),
        ({"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B"}, [("accessKeys", None)]),
        ({"AWS_BEARER_TOKEN_BEDROCK": "t", "AWS_DEFAULT_REGION": "r"}, [("bedrockApiKey", None)]),
        (
            {
                "AWS_ACCESS_KEY_ID": "A",
                "AWS_SECRET_ACCESS_KEY": "B",
                "AWS_BEARER_TOKEN_BEDROCK": "t",
                "AWS_REGION": "r",
            },
            [("accessKeys", "r"), ("bedrockApiKey", "r")],
        ),
    ],
)
def test_credentials_in_the_environment_are_told_by_their_kind(
    environ: dict[str, str], found: list[tuple[str, str | None]]
) -> None:
    assert aws_environment(environ) == found


@pytest.mark.parametrize(
    ("region", "profile", "message"),
    [
        ("us-east-1", "", "AWS profile name must not be empty."),
        ("nowhere", "default", "Amazon Bedrock does not support region `nowhere`"),
        ("us-east-1", "plain", "failed to load credentials for AWS profile `plain`"),
        ("us-east-1", "missing", "failed to load credentials for AWS profile `missing`"),
        ("us-east-1", None, "No AWS credentials found."),
        ("us-east-1", "dev", "turnloom cannot ask models through Amazon Bedrock yet, so nothing was changed."),
    ],
)
def test_bedrock_is_refused_with_what_is_missing(home: Path, region: str, profile: str | None, message: str) -> None:
    with pytest.raises(RpcError) as refused:
        set_up_bedrock(region, profile)
    assert (refused.value.code, refused.value.message.startswith(message)) == (-32600, True)


@pytest.mark.parametrize(
    ("project", "location", "content", "reason", "message"),
    [
        ("", None, None, None, "model_providers.gcp.project_id must be non-empty"),
        ("p", "no where", None, None, "model_providers.gcp.location must be non-empty"),
        ("p", None, None, "authCommandFailed", "The Google Cloud auth command could not obtain an access token."),
        ("p", None, "x", "credentialFileInvalid", "Expected a Google Cloud credential file"),
        ("p", None, '{"type": ""}', "credentialFileInvalid", "Expected a Google Cloud credential file"),
        ("p", "global", '{"type": "authorized_user"}', None, "turnloom cannot ask models through Google Cloud yet"),
    ],
)
def test_google_cloud_is_refused_with_what_is_missing(
    home: Path, project: str, location: str | None, content: str | None, reason: str | None, message: str
) -> None:
    file = home / "google.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RpcError) as refused:
        set_up_gcp(project, location, None if content is None else str(file))
    assert (refused.value.code, refused.value.message.startswith(message)) == (-32600, True)
    assert refused.value.data == (None if reason is None else {"reason": reason})


@pytest.mark.parametrize("path", ["relative.json", "/nowhere/at/all.json"])
def test_a_credential_file_that_is_not_there_is_told(home: Path, path: str) -> None:
    with pytest.raises(RpcError) as refused:
        set_up_gcp("p", None, path)
    assert refused.value.data == {"reason": "credentialFileInvalid"}
