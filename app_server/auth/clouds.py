"""What this machine has to sign in to other clouds with. Nothing here tells a secret. All of it blocks."""

import configparser
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from msgspec import Struct

from protocol.jsonrpc import INVALID_REQUEST, RpcError, invalid_request

BEDROCK_REGIONS = frozenset(
    {
        "ap-northeast-1",
        "ap-south-1",
        "ap-southeast-3",
        "eu-central-1",
        "eu-north-1",
        "eu-south-1",
        "eu-west-1",
        "eu-west-2",
        "sa-east-1",
        "us-east-1",
        "us-east-2",
        "us-gov-east-1",
        "us-gov-west-1",
        "us-west-2",
    }
)
UNSUPPORTED = (
    "turnloom cannot ask models through {} yet, so nothing was changed. "
    "Use a gateway that speaks the Responses API: modelProvider/config/write"
)
_NAME = re.compile(r"[A-Za-z0-9-]+")

CredentialType = Literal["accessKeys", "bedrockApiKey"]


class AwsProfile(Struct, frozen=True):
    """A profile of the AWS files. `has_credentials` tells whether it names keys or a way to get them."""

    name: str
    region: str | None
    has_credentials: bool


def aws_profiles(environ: Mapping[str, str] = os.environ) -> list[AwsProfile]:
    """The profiles of the user's AWS files, by name. Files that cannot be read have none."""
    folder = Path(environ.get("HOME") or Path.home()) / ".aws"
    settings = _sections(Path(environ.get("AWS_CONFIG_FILE") or folder / "config"))
    keys = _sections(Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or folder / "credentials"))
    known: dict[str, dict[str, str]] = {}
    for section, values in settings.items():
        kind, _, name = section.partition(" ")
        if section == "default" or (kind == "profile" and name.strip()):
            known.setdefault(name.strip() or section, {}).update(values)
    for name, values in keys.items():
        known.setdefault(name, {}).update(values)
    ways = {"aws_access_key_id", "role_arn", "sso_session", "sso_start_url", "credential_process"}
    return [AwsProfile(name, known[name].get("region"), bool(ways & set(known[name]))) for name in sorted(known)]


def aws_environment(environ: Mapping[str, str] = os.environ) -> list[tuple[CredentialType, str | None]]:
    """The kinds of AWS credentials in the environment, each with the region beside it."""
    region = environ.get("AWS_REGION", "").strip() or None
    found: list[tuple[CredentialType, str | None]] = []
    if environ.get("AWS_ACCESS_KEY_ID", "").strip() and environ.get("AWS_SECRET_ACCESS_KEY", "").strip():
        found.append(("accessKeys", region))
    if environ.get("AWS_BEARER_TOKEN_BEDROCK", "").strip():
        found.append(("bedrockApiKey", region))
    return found


def check_bedrock_region(region: str) -> None:
    """Raises -32600 for a region without the models."""
    if region not in BEDROCK_REGIONS:
        raise invalid_request(f"Amazon Bedrock does not support region `{region}`")


def set_up_bedrock(region: str, profile: str | None) -> None:
    """Say why Amazon Bedrock cannot be used with a profile, or with the environment if None. Always raises -32600."""
    if profile is not None and not profile.strip():
        raise invalid_request("AWS profile name must not be empty.")
    check_bedrock_region(region)
    if profile is None and not aws_environment():
        raise invalid_request(
            "No AWS credentials found. Please Configure AWS credentials or complete AWS sign-in, then try again."
        )
    if profile is not None and not any(one.name == profile and one.has_credentials for one in aws_profiles()):
        raise invalid_request(
            f"failed to load credentials for AWS profile `{profile}`: it has none in the AWS files of this user"
        )
    raise invalid_request(UNSUPPORTED.format("Amazon Bedrock"))


def set_up_gcp(project: str, location: str | None, credential_file: str | None) -> None:
    """Say why Google Cloud cannot be used. Always raises -32600."""
    for name, value in (("project_id", project), ("location", location)):
        if value is not None and _NAME.fullmatch(value) is None:
            raise invalid_request(
                f"model_providers.gcp.{name} must be non-empty and contain only ASCII letters, digits, and hyphens"
            )
    if credential_file is not None:
        _check_credential_file(credential_file)
    if credential_file is None and not _has_google_login():
        message = "The Google Cloud auth command could not obtain an access token."
        raise RpcError(INVALID_REQUEST, message, {"reason": "authCommandFailed"})
    raise invalid_request(UNSUPPORTED.format("Google Cloud"))


def _has_google_login(environ: Mapping[str, str] = os.environ) -> bool:
    named = environ.get("GOOGLE_APPLICATION_CREDENTIALS", "").strip()
    home = Path(environ.get("HOME") or Path.home())
    return os.path.exists(named or home / ".config" / "gcloud" / "application_default_credentials.json")


def _check_credential_file(path: str) -> None:
    reason = None
    if not os.path.isabs(path):
        reason = "provider credential_file must be an absolute path"
    else:
        try:
            with open(path, "rb") as file:
                content: Any = json.loads(file.read(1 << 20))
            kind = cast("dict[str, Any]", content).get("type") if isinstance(content, dict) else None
            if not isinstance(kind, str) or not kind:
                reason = "Expected a Google Cloud credential file: a JSON object with a text `type` that is not empty."
        except OSError as error:
            reason = f"Cannot read the Google Cloud credential file: {error.strerror}"
        except ValueError:
            reason = "Expected a Google Cloud credential file: a JSON object with a text `type` that is not empty."
    if reason is not None:
        raise RpcError(INVALID_REQUEST, reason, {"reason": "credentialFileInvalid"})


def _sections(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, strict=False, default_section="\0")
    try:
        parser.read_string(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, configparser.Error):
        return {}
    return {name: dict(parser.items(name)) for name in parser.sections()}
