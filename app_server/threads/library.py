"""The thread library: how users keep and find their threads."""

from functools import cached_property
from typing import TYPE_CHECKING

from app_server.store.database import Database
from app_server.store.search_index import SearchIndex

if TYPE_CHECKING:
    from app_server.threads.attachments import Attachments
    from app_server.threads.manager import ThreadManager
    from app_server.threads.metadata import Metadata
    from app_server.threads.projects import Projects
    from app_server.threads.search import Search
    from app_server.threads.sections import Sections
    from app_server.threads.world import World


class Library:
    """One of each for the whole daemon, made when somebody first asks for it."""

    def __init__(self, threads: "ThreadManager", world: "World", database: Database) -> None:
        self._threads, self._world, self._database = threads, world, database
        self.index = SearchIndex(database)
        """Where the text of threads is looked up; it is filled while nobody asks."""

    @cached_property
    def projects(self) -> "Projects":
        """Folders of threads that belong together."""
        from app_server.store.projects import ProjectStore
        from app_server.threads.projects import Projects

        return Projects(self._threads, self._world, ProjectStore(self._database))

    @cached_property
    def sections(self) -> "Sections":
        """The user's own order of threads."""
        from app_server.store.sections import SectionStore
        from app_server.threads.sections import Sections

        return Sections(self._threads, self._world, SectionStore(self._database, self._world.thread_store))

    @cached_property
    def attachments(self) -> "Attachments":
        """What clients have attached to threads."""
        from app_server.store.attachments import AttachmentStore
        from app_server.threads.attachments import Attachments

        return Attachments(self._threads, self._world, AttachmentStore(self._database, self._world.thread_store))

    @cached_property
    def metadata(self) -> "Metadata":
        """What users keep about single threads."""
        from app_server.threads.metadata import Metadata

        return Metadata(self._threads, self._world, self.projects)

    @cached_property
    def search(self) -> "Search":
        """The text of all threads."""
        from app_server.threads.search import Search

        return Search(self._threads, self._world, self.index)
