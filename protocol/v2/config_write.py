"""config_write"""

from typing import Any, Literal

from protocol.methods import ClientRequest
from protocol.v2.config import ConfigLayerMetadata
from protocol.wire import AbsolutePath, Wire

MergeStrategy = Literal["replace", "upsert"]


class ConfigValueWriteParams(Wire):
    key_path: str
    merge_strategy: MergeStrategy
    value: Any
    expected_version: str | None = None
    file_path: str | None = None


class OverriddenMetadata(Wire):
    effective_value: Any
    message: str
    overriding_layer: ConfigLayerMetadata


WriteStatus = Literal["ok", "okOverridden"]


class ConfigWriteResponse(Wire):
    file_path: AbsolutePath
    status: WriteStatus
    version: str
    overridden_metadata: OverriddenMetadata | None = None


CONFIG_VALUE_WRITE = ClientRequest(
    "config/value/write", ConfigValueWriteParams, ConfigWriteResponse, availability="later"
)


class ConfigEdit(Wire):
    key_path: str
    merge_strategy: MergeStrategy
    value: Any


class ConfigBatchWriteParams(Wire):
    edits: list[ConfigEdit]
    expected_version: str | None = None
    file_path: str | None = None
    reload_user_config: bool = False


CONFIG_BATCH_WRITE = ClientRequest(
    "config/batchWrite", ConfigBatchWriteParams, ConfigWriteResponse, availability="later"
)
