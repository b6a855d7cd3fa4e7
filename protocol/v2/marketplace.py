"""marketplace/*: lists of plugins that the user has added."""

from protocol.methods import ClientRequest
from protocol.wire import AbsolutePath, Wire


class MarketplaceAddParams(Wire):
    """Add a marketplace: a folder, or a Git repository, of which `ref_name` and `sparse_paths` choose a part."""

    source: str
    ref_name: str | None = None
    sparse_paths: list[str] | None = None


class MarketplaceAddResponse(Wire):
    """Where the marketplace is now."""

    already_added: bool
    installed_root: AbsolutePath
    marketplace_name: str


MARKETPLACE_ADD = ClientRequest("marketplace/add", MarketplaceAddParams, MarketplaceAddResponse, availability="later")


class MarketplaceRemoveParams(Wire):
    """Take away a marketplace that was added."""

    marketplace_name: str


class MarketplaceRemoveResponse(Wire):
    """It is gone; `installed_root` is the copy that was removed, null for a folder of the user's."""

    marketplace_name: str
    installed_root: AbsolutePath | None = None


MARKETPLACE_REMOVE = ClientRequest(
    "marketplace/remove", MarketplaceRemoveParams, MarketplaceRemoveResponse, availability="later"
)


class MarketplaceUpgradeParams(Wire):
    """Fetch a marketplace from its repository again, or all of them."""

    marketplace_name: str | None = None


class MarketplaceUpgradeErrorInfo(Wire):
    """Why a marketplace could not be fetched."""

    marketplace_name: str
    message: str


class MarketplaceUpgradeResponse(Wire):
    """Which were chosen, and which of them are newer now."""

    errors: list[MarketplaceUpgradeErrorInfo]
    selected_marketplaces: list[str]
    upgraded_roots: list[AbsolutePath]


MARKETPLACE_UPGRADE = ClientRequest(
    "marketplace/upgrade", MarketplaceUpgradeParams, MarketplaceUpgradeResponse, availability="later"
)
