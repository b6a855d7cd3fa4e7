"""Writing the user's config.toml. Values are written as TOML; comments and the order of the file are kept."""

from typing import Any, Literal

from protocol.methods import ClientRequest
from protocol.v2.config import ConfigLayerMetadata
from protocol.wire import AbsolutePath, Wire

MergeStrategy = Literal["replace", "upsert"]
"""What becomes of a table that is there already: it is replaced, or merged with the new one key by key."""


class ConfigValueWriteParams(Wire):
    """Write one value. `key_path` is dotted, with quotes around segments that have dots: `projects."/a.b".trust_level`.

    A `value` of null takes away what is there. With `expected_version`, that of the user's layer in `config/read`,
    nothing is written to a file that has changed since. `file_path` may only be the user's own file, the default.
    """

    key_path: str
    merge_strategy: MergeStrategy
    value: Any
    expected_version: str | None = None
    file_path: str | None = None


class OverriddenMetadata(Wire):
    """Why a written value is not in force: the stronger layer that has another, and that value."""

    effective_value: Any
    message: str
    overriding_layer: ConfigLayerMetadata


WriteStatus = Literal["ok", "okOverridden"]
"""Whether what was written is in force."""


class ConfigWriteResponse(Wire):
    """The file, and the version of the user's layer now. The metadata are for the first value that is overridden."""

    file_path: AbsolutePath
    status: WriteStatus
    version: str
    overridden_metadata: OverriddenMetadata | None = None


CONFIG_VALUE_WRITE = ClientRequest("config/value/write", ConfigValueWriteParams, ConfigWriteResponse)


class ConfigEdit(Wire):
    """One of several changes, as in `ConfigValueWriteParams`."""

    key_path: str
    merge_strategy: MergeStrategy
    value: Any


class ConfigBatchWriteParams(Wire):
    """Make several changes at once, in their order: all of them or none.

    What is written comes to be in force in loaded threads in any case, so `reload_user_config` changes nothing.
    """

    edits: list[ConfigEdit]
    expected_version: str | None = None
    file_path: str | None = None
    reload_user_config: bool = False


CONFIG_BATCH_WRITE = ClientRequest("config/batchWrite", ConfigBatchWriteParams, ConfigWriteResponse)
