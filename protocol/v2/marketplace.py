"""marketplace"""

from protocol.methods import ClientRequest
from protocol.wire import AbsolutePath, Wire


class MarketplaceAddParams(Wire):
    source: str
    ref_name: str | None = None
    sparse_paths: list[str] | None = None


class MarketplaceAddResponse(Wire):
    already_added: bool
    installed_root: AbsolutePath
    marketplace_name: str


MARKETPLACE_ADD = ClientRequest("marketplace/add", MarketplaceAddParams, MarketplaceAddResponse, availability="later")


class MarketplaceRemoveParams(Wire):
    marketplace_name: str


class MarketplaceRemoveResponse(Wire):
    marketplace_name: str
    installed_root: AbsolutePath | None = None


MARKETPLACE_REMOVE = ClientRequest(
    "marketplace/remove", MarketplaceRemoveParams, MarketplaceRemoveResponse, availability="later"
)


class MarketplaceUpgradeParams(Wire):
    marketplace_name: str | None = None


class MarketplaceUpgradeErrorInfo(Wire):
    marketplace_name: str
    message: str


class MarketplaceUpgradeResponse(Wire):
    errors: list[MarketplaceUpgradeErrorInfo]
    selected_marketplaces: list[str]
    upgraded_roots: list[AbsolutePath]


MARKETPLACE_UPGRADE = ClientRequest(
    "marketplace/upgrade", MarketplaceUpgradeParams, MarketplaceUpgradeResponse, availability="later"
)
