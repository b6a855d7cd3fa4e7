"""Speaking with a thread: live audio and text between the user and a realtime model that hands work to the thread."""

from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.methods import ClientRequest, ServerNotification, by_thread
from protocol.wire import UInt16, UInt32, Wire

CodexResponseHandoffMode = Literal["thinking", "commentary", "bemTags"]
"""What of the thread's answers the realtime model is given, and in which form."""


ConversationTextRole = Literal["user", "developer", "assistant"]
"""Who says a text."""


ThreadRealtimeTranscriptRole = Literal["user", "assistant"]
"""Who was heard."""


class WholeItemThreadRealtimeBemItemPresentation(Wire):
    """All of it."""

    type: Literal["wholeItem"] = "wholeItem"


class InlineMarkdownThreadRealtimeBemItemPresentation(Wire):
    """Its text."""

    type: Literal["inlineMarkdown"] = "inlineMarkdown"


class InlineVisualizationThreadRealtimeBemItemPresentation(Wire):
    """One of its pictures, counted from 0."""

    type: Literal["inlineVisualization"] = "inlineVisualization"
    index: UInt32


ThreadRealtimeBemItemPresentation = Annotated[
    WholeItemThreadRealtimeBemItemPresentation
    | InlineMarkdownThreadRealtimeBemItemPresentation
    | InlineVisualizationThreadRealtimeBemItemPresentation,
    Field(discriminator="type"),
]
"""How much of the promoted item is shown in the conversation."""


ThreadRealtimeSessionOutcome = Literal["ended", "failed"]
"""How a realtime session came to its end."""


class _ThreadRealtimeItem(Wire):
    id: str
    realtime_session_id: str


class RealtimeSessionStartedThreadRealtimeItem(_ThreadRealtimeItem):
    """A session began."""

    type: Literal["realtimeSessionStarted"] = "realtimeSessionStarted"


class TranscriptSegmentThreadRealtimeItem(_ThreadRealtimeItem):
    """Something was said."""

    type: Literal["transcriptSegment"] = "transcriptSegment"
    role: ThreadRealtimeTranscriptRole
    text: str


class BemItemPromotedThreadRealtimeItem(_ThreadRealtimeItem):
    """An item of one of the thread's turns is shown in the conversation."""

    type: Literal["bemItemPromoted"] = "bemItemPromoted"
    item_id: Annotated[str, Field(alias="item_id")]
    presentation: ThreadRealtimeBemItemPresentation
    turn_id: Annotated[str, Field(alias="turn_id")]


class RealtimeSessionClosedThreadRealtimeItem(_ThreadRealtimeItem):
    """A session ended."""

    type: Literal["realtimeSessionClosed"] = "realtimeSessionClosed"
    outcome: ThreadRealtimeSessionOutcome


ThreadRealtimeItem = Annotated[
    RealtimeSessionStartedThreadRealtimeItem
    | TranscriptSegmentThreadRealtimeItem
    | BemItemPromotedThreadRealtimeItem
    | RealtimeSessionClosedThreadRealtimeItem,
    Field(discriminator="type"),
]
"""An entry of a realtime conversation."""


class ThreadRealtimeInitialItem(Wire):
    """Something that was said before the session."""

    role: ConversationTextRole
    text: str


RealtimeOutputModality = Literal["text", "audio"]
"""Whether the realtime model answers in writing or in speech."""


class WebsocketThreadRealtimeStartTransport(Wire):
    """Audio travels in `thread/realtime/appendAudio` and `thread/realtime/outputAudio/delta`."""

    type: Literal["websocket"] = "websocket"


class WebrtcThreadRealtimeStartTransport(Wire):
    """The client's WebRTC offer; the answer comes as `thread/realtime/sdp`."""

    type: Literal["webrtc"] = "webrtc"
    sdp: str


class ExistingCallThreadRealtimeStartTransport(Wire):
    """A call that the client has opened."""

    type: Literal["existingCall"] = "existingCall"
    call_id: str


ThreadRealtimeStartTransport = Annotated[
    WebsocketThreadRealtimeStartTransport
    | WebrtcThreadRealtimeStartTransport
    | ExistingCallThreadRealtimeStartTransport,
    Field(discriminator="type"),
]
"""The way of the audio: this connection, WebRTC from the client, or a call that is there already."""


RealtimeConversationVersion = Literal["v1", "v2", "v3"]
"""The version of the realtime API."""


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
"""A voice of the realtime model."""


class ThreadRealtimeStartParams(Wire):
    """Begin a realtime session in a thread. None leaves a setting to the server.

    `transport` defaults to the websocket, `voice` to that of the version. `initial_items` are what was said before,
    `prompt` and the two `*_instructions` are for the realtime model, and the members about handoffs say what it is told
    of the thread's work. `realtime_session_id` continues a session.
    """

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


class ThreadRealtimeStartResponse(Wire):
    """The session is being opened: `thread/realtime/started` or `thread/realtime/error` follows."""


THREAD_REALTIME_START = ClientRequest(
    "thread/realtime/start",
    ThreadRealtimeStartParams,
    ThreadRealtimeStartResponse,
    experimental="thread/realtime/start",
    order=by_thread,
    access="act",
    availability="later",
)


class ThreadRealtimeAudioChunk(Wire):
    """Samples of 16 bits in base64, with their rate in Hz and the number of channels."""

    data: str
    num_channels: UInt16
    sample_rate: UInt32
    item_id: str | None = None
    samples_per_channel: UInt32 | None = None


class ThreadRealtimeAppendAudioParams(Wire):
    """The user speaks."""

    audio: ThreadRealtimeAudioChunk
    thread_id: str


class ThreadRealtimeAppendAudioResponse(Wire):
    """The audio was taken."""


THREAD_REALTIME_APPEND_AUDIO = ClientRequest(
    "thread/realtime/appendAudio",
    ThreadRealtimeAppendAudioParams,
    ThreadRealtimeAppendAudioResponse,
    experimental="thread/realtime/appendAudio",
    order=by_thread,
    access="act",
    availability="later",
)


class ThreadRealtimeAppendTextParams(Wire):
    """Somebody writes to the realtime model."""

    text: str
    thread_id: str
    role: ConversationTextRole = "user"


class ThreadRealtimeAppendTextResponse(Wire):
    """The text was taken."""


THREAD_REALTIME_APPEND_TEXT = ClientRequest(
    "thread/realtime/appendText",
    ThreadRealtimeAppendTextParams,
    ThreadRealtimeAppendTextResponse,
    experimental="thread/realtime/appendText",
    order=by_thread,
    access="act",
    availability="later",
)


class ThreadRealtimeAppendSpeechParams(Wire):
    """A text that the realtime model shall say."""

    text: str
    thread_id: str


class ThreadRealtimeAppendSpeechResponse(Wire):
    """The text was taken."""


THREAD_REALTIME_APPEND_SPEECH = ClientRequest(
    "thread/realtime/appendSpeech",
    ThreadRealtimeAppendSpeechParams,
    ThreadRealtimeAppendSpeechResponse,
    experimental="thread/realtime/appendSpeech",
    order=by_thread,
    access="act",
    availability="later",
)


class ThreadRealtimeStopParams(Wire):
    """End the session."""

    thread_id: str


class ThreadRealtimeStopResponse(Wire):
    """The session is being closed: `thread/realtime/closed` follows."""


THREAD_REALTIME_STOP = ClientRequest(
    "thread/realtime/stop",
    ThreadRealtimeStopParams,
    ThreadRealtimeStopResponse,
    experimental="thread/realtime/stop",
    order=by_thread,
    access="act",
    availability="later",
)


class ThreadRealtimeListVoicesParams(Wire):
    """Ask which voices there are."""


class RealtimeVoicesList(Wire):
    """The voices of each version of the realtime API, and the defaults; the third version has the first one's."""

    default_v1: RealtimeVoice
    default_v2: RealtimeVoice
    v1: list[RealtimeVoice]
    v2: list[RealtimeVoice]
    v3: list[RealtimeVoice] = []


class ThreadRealtimeListVoicesResponse(Wire):
    """All voices."""

    voices: RealtimeVoicesList


THREAD_REALTIME_LIST_VOICES = ClientRequest(
    "thread/realtime/listVoices",
    ThreadRealtimeListVoicesParams,
    ThreadRealtimeListVoicesResponse,
    experimental="thread/realtime/listVoices",
    access="read",
)


class ThreadRealtimeStartedNotification(Wire):
    """The session is open."""

    thread_id: str
    version: RealtimeConversationVersion
    realtime_session_id: str | None = None


THREAD_REALTIME_STARTED = ServerNotification("thread/realtime/started", ThreadRealtimeStartedNotification)


class ThreadRealtimeItemAddedNotification(Wire):
    """An event of the realtime API as it came."""

    item: Any
    thread_id: str


THREAD_REALTIME_ITEM_ADDED = ServerNotification("thread/realtime/itemAdded", ThreadRealtimeItemAddedNotification)


class ThreadRealtimeItemStartedNotification(Wire):
    """An entry of the conversation began."""

    item: ThreadRealtimeItem
    thread_id: str


THREAD_REALTIME_ITEM_STARTED = ServerNotification("thread/realtime/item/started", ThreadRealtimeItemStartedNotification)


class ThreadRealtimeItemTranscriptDeltaNotification(Wire):
    """More of what is being said in an entry."""

    delta: str
    item_id: str
    thread_id: str


THREAD_REALTIME_ITEM_TRANSCRIPT_DELTA = ServerNotification(
    "thread/realtime/item/transcript/delta", ThreadRealtimeItemTranscriptDeltaNotification
)


class ThreadRealtimeItemCompletedNotification(Wire):
    """An entry is complete."""

    item: ThreadRealtimeItem
    thread_id: str


THREAD_REALTIME_ITEM_COMPLETED = ServerNotification(
    "thread/realtime/item/completed", ThreadRealtimeItemCompletedNotification
)


class ThreadRealtimeTranscriptDeltaNotification(Wire):
    """More of what is being said."""

    delta: str
    role: str
    thread_id: str


THREAD_REALTIME_TRANSCRIPT_DELTA = ServerNotification(
    "thread/realtime/transcript/delta", ThreadRealtimeTranscriptDeltaNotification
)


class ThreadRealtimeTranscriptDoneNotification(Wire):
    """What was said, complete."""

    role: str
    text: str
    thread_id: str


THREAD_REALTIME_TRANSCRIPT_DONE = ServerNotification(
    "thread/realtime/transcript/done", ThreadRealtimeTranscriptDoneNotification
)


class ThreadRealtimeOutputAudioDeltaNotification(Wire):
    """The realtime model speaks."""

    audio: ThreadRealtimeAudioChunk
    thread_id: str


THREAD_REALTIME_OUTPUT_AUDIO_DELTA = ServerNotification(
    "thread/realtime/outputAudio/delta", ThreadRealtimeOutputAudioDeltaNotification
)


class ThreadRealtimeSdpNotification(Wire):
    """The answer to a WebRTC offer."""

    sdp: str
    thread_id: str


THREAD_REALTIME_SDP = ServerNotification("thread/realtime/sdp", ThreadRealtimeSdpNotification)


class ThreadRealtimeErrorNotification(Wire):
    """The session could not be opened, or failed."""

    message: str
    thread_id: str


THREAD_REALTIME_ERROR = ServerNotification("thread/realtime/error", ThreadRealtimeErrorNotification)


class ThreadRealtimeClosedNotification(Wire):
    """The session is over; `reason` is `requested` where a client asked for it."""

    thread_id: str
    reason: str | None = None


THREAD_REALTIME_CLOSED = ServerNotification("thread/realtime/closed", ThreadRealtimeClosedNotification)
