"""realtime"""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification
from protocol.wire import UInt16, UInt32, Wire

CodexResponseHandoffMode = Literal["thinking", "commentary", "bemTags"]


ConversationTextRole = Literal["user", "developer", "assistant"]


ThreadRealtimeTranscriptRole = Literal["user", "assistant"]


class WholeItemThreadRealtimeBemItemPresentation(Wire):
    type: Literal["wholeItem"] = "wholeItem"


class InlineMarkdownThreadRealtimeBemItemPresentation(Wire):
    type: Literal["inlineMarkdown"] = "inlineMarkdown"


class InlineVisualizationThreadRealtimeBemItemPresentation(Wire):
    type: Literal["inlineVisualization"] = "inlineVisualization"
    index: UInt32


ThreadRealtimeBemItemPresentation = Annotated[
    WholeItemThreadRealtimeBemItemPresentation
    | InlineMarkdownThreadRealtimeBemItemPresentation
    | InlineVisualizationThreadRealtimeBemItemPresentation,
    Field(discriminator="type"),
]


ThreadRealtimeSessionOutcome = Literal["ended", "failed"]


class _ThreadRealtimeItem(Wire):
    id: str
    realtime_session_id: str


class RealtimeSessionStartedThreadRealtimeItem(_ThreadRealtimeItem):
    type: Literal["realtimeSessionStarted"] = "realtimeSessionStarted"


class TranscriptSegmentThreadRealtimeItem(_ThreadRealtimeItem):
    type: Literal["transcriptSegment"] = "transcriptSegment"
    role: ThreadRealtimeTranscriptRole
    text: str


class BemItemPromotedThreadRealtimeItem(_ThreadRealtimeItem):
    type: Literal["bemItemPromoted"] = "bemItemPromoted"
    item_id: Annotated[str, Field(alias="item_id")]
    presentation: ThreadRealtimeBemItemPresentation
    turn_id: Annotated[str, Field(alias="turn_id")]


class RealtimeSessionClosedThreadRealtimeItem(_ThreadRealtimeItem):
    type: Literal["realtimeSessionClosed"] = "realtimeSessionClosed"
    outcome: ThreadRealtimeSessionOutcome


ThreadRealtimeItem = Annotated[
    RealtimeSessionStartedThreadRealtimeItem
    | TranscriptSegmentThreadRealtimeItem
    | BemItemPromotedThreadRealtimeItem
    | RealtimeSessionClosedThreadRealtimeItem,
    Field(discriminator="type"),
]


class ThreadRealtimeInitialItem(Wire):
    role: ConversationTextRole
    text: str


RealtimeOutputModality = Literal["text", "audio"]


class WebsocketThreadRealtimeStartTransport(Wire):
    type: Literal["websocket"] = "websocket"


class WebrtcThreadRealtimeStartTransport(Wire):
    type: Literal["webrtc"] = "webrtc"
    sdp: str


class ExistingCallThreadRealtimeStartTransport(Wire):
    type: Literal["existingCall"] = "existingCall"
    call_id: str


ThreadRealtimeStartTransport = Annotated[
    WebsocketThreadRealtimeStartTransport
    | WebrtcThreadRealtimeStartTransport
    | ExistingCallThreadRealtimeStartTransport,
    Field(discriminator="type"),
]


RealtimeConversationVersion = Literal["v1", "v2", "v3"]


RealtimeVoice = Literal[
    "alloy",
    "arbor",
    "ash",
    "aube",
    "ballad",
    "breeze",
    "bubbie",
    "cedar",
    "coral",
    "cove",
    "echo",
    "ember",
    "haetsal",
    "hanul",
    "himari",
    "juniper",
    "leher",
    "maple",
    "marin",
    "miko",
    "neer",
    "porto",
    "rindo",
    "rio",
    "rivage",
    "sage",
    "selva",
    "shimmer",
    "sol",
    "sonna",
    "spruce",
    "tinta",
    "vale",
    "verse",
    "viola",
]


class ThreadRealtimeStartParams(Wire):
    output_modality: RealtimeOutputModality
    thread_id: str
    backend_reasoning_status: bool = False
    client_managed_handoffs: bool | None = None
    codex_response_handoff_channel_prefixes: dict[str, list[str]] | None = None
    codex_response_handoff_mode: CodexResponseHandoffMode | None = None
    codex_response_item_prefix: str | None = None
    codex_responses_as_items: bool | None = None
    delegation_ack_filler: bool | None = None
    flush_transcript_tail_on_session_end: bool | None = None
    include_startup_context: bool | None = None
    initial_items: list[ThreadRealtimeInitialItem] | None = None
    model: str | None = None
    prompt: str | None = None
    realtime_end_instructions: str | None = None
    realtime_session_id: str | None = None
    realtime_start_instructions: str | None = None
    transport: ThreadRealtimeStartTransport | None = None
    version: RealtimeConversationVersion | None = None
    voice: RealtimeVoice | None = None
    voice_session_id: str | None = None


class ThreadRealtimeStartResponse(Wire): ...


THREAD_REALTIME_START = ClientRequest(
    "thread/realtime/start",
    ThreadRealtimeStartParams,
    ThreadRealtimeStartResponse,
    experimental="thread/realtime/start",
    access="act",
    availability="later",
)


class ThreadRealtimeAudioChunk(Wire):
    data: str
    num_channels: UInt16
    sample_rate: UInt32
    item_id: str | None = None
    samples_per_channel: UInt32 | None = None


class ThreadRealtimeAppendAudioParams(Wire):
    audio: ThreadRealtimeAudioChunk
    thread_id: str


class ThreadRealtimeAppendAudioResponse(Wire): ...


THREAD_REALTIME_APPEND_AUDIO = ClientRequest(
    "thread/realtime/appendAudio",
    ThreadRealtimeAppendAudioParams,
    ThreadRealtimeAppendAudioResponse,
    experimental="thread/realtime/appendAudio",
    access="act",
    availability="later",
)


class ThreadRealtimeAppendTextParams(Wire):
    text: str
    thread_id: str
    role: ConversationTextRole = "user"


class ThreadRealtimeAppendTextResponse(Wire): ...


THREAD_REALTIME_APPEND_TEXT = ClientRequest(
    "thread/realtime/appendText",
    ThreadRealtimeAppendTextParams,
    ThreadRealtimeAppendTextResponse,
    experimental="thread/realtime/appendText",
    access="act",
    availability="later",
)


class ThreadRealtimeAppendSpeechParams(Wire):
    text: str
    thread_id: str


class ThreadRealtimeAppendSpeechResponse(Wire): ...


THREAD_REALTIME_APPEND_SPEECH = ClientRequest(
    "thread/realtime/appendSpeech",
    ThreadRealtimeAppendSpeechParams,
    ThreadRealtimeAppendSpeechResponse,
    experimental="thread/realtime/appendSpeech",
    access="act",
    availability="later",
)


class ThreadRealtimeStopParams(Wire):
    thread_id: str


class ThreadRealtimeStopResponse(Wire): ...


THREAD_REALTIME_STOP = ClientRequest(
    "thread/realtime/stop",
    ThreadRealtimeStopParams,
    ThreadRealtimeStopResponse,
    experimental="thread/realtime/stop",
    access="act",
    availability="later",
)


class ThreadRealtimeListVoicesParams(Wire): ...


class RealtimeVoicesList(Wire):
    default_v1: RealtimeVoice
    default_v2: RealtimeVoice
    v1: list[RealtimeVoice]
    v2: list[RealtimeVoice]
    v3: list[RealtimeVoice] = []


class ThreadRealtimeListVoicesResponse(Wire):
    voices: RealtimeVoicesList


THREAD_REALTIME_LIST_VOICES = ClientRequest(
    "thread/realtime/listVoices",
    ThreadRealtimeListVoicesParams,
    ThreadRealtimeListVoicesResponse,
    experimental="thread/realtime/listVoices",
    access="read",
    availability="later",
)


class ThreadRealtimeStartedNotification(Wire):
    thread_id: str
    version: RealtimeConversationVersion
    realtime_session_id: str | None = None


THREAD_REALTIME_STARTED = ServerNotification("thread/realtime/started", ThreadRealtimeStartedNotification)


class ThreadRealtimeItemAddedNotification(Wire):
    item: Any
    thread_id: str


THREAD_REALTIME_ITEM_ADDED = ServerNotification("thread/realtime/itemAdded", ThreadRealtimeItemAddedNotification)


class ThreadRealtimeItemStartedNotification(Wire):
    item: ThreadRealtimeItem
    thread_id: str


THREAD_REALTIME_ITEM_STARTED = ServerNotification("thread/realtime/item/started", ThreadRealtimeItemStartedNotification)


class ThreadRealtimeItemTranscriptDeltaNotification(Wire):
    delta: str
    item_id: str
    thread_id: str


THREAD_REALTIME_ITEM_TRANSCRIPT_DELTA = ServerNotification(
    "thread/realtime/item/transcript/delta", ThreadRealtimeItemTranscriptDeltaNotification
)


class ThreadRealtimeItemCompletedNotification(Wire):
    item: ThreadRealtimeItem
    thread_id: str


THREAD_REALTIME_ITEM_COMPLETED = ServerNotification(
    "thread/realtime/item/completed", ThreadRealtimeItemCompletedNotification
)


class ThreadRealtimeTranscriptDeltaNotification(Wire):
    delta: str
    role: str
    thread_id: str


THREAD_REALTIME_TRANSCRIPT_DELTA = ServerNotification(
    "thread/realtime/transcript/delta", ThreadRealtimeTranscriptDeltaNotification
)


class ThreadRealtimeTranscriptDoneNotification(Wire):
    role: str
    text: str
    thread_id: str


THREAD_REALTIME_TRANSCRIPT_DONE = ServerNotification(
    "thread/realtime/transcript/done", ThreadRealtimeTranscriptDoneNotification
)


class ThreadRealtimeOutputAudioDeltaNotification(Wire):
    audio: ThreadRealtimeAudioChunk
    thread_id: str


THREAD_REALTIME_OUTPUT_AUDIO_DELTA = ServerNotification(
    "thread/realtime/outputAudio/delta", ThreadRealtimeOutputAudioDeltaNotification
)


class ThreadRealtimeSdpNotification(Wire):
    sdp: str
    thread_id: str


THREAD_REALTIME_SDP = ServerNotification("thread/realtime/sdp", ThreadRealtimeSdpNotification)


class ThreadRealtimeErrorNotification(Wire):
    message: str
    thread_id: str


THREAD_REALTIME_ERROR = ServerNotification("thread/realtime/error", ThreadRealtimeErrorNotification)


class ThreadRealtimeClosedNotification(Wire):
    thread_id: str
    reason: str | None = None


THREAD_REALTIME_CLOSED = ServerNotification("thread/realtime/closed", ThreadRealtimeClosedNotification)
