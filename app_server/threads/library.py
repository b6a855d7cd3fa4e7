"""The thread library: how users keep and find their threads."""

from typing import TYPE_CHECKING

from app_server.store.attachments import AttachmentStore
from app_server.store.database import Database
from app_server.store.projects import ProjectStore
from app_server.store.sections import SectionStore
from app_server.threads.attachments import Attachments
from app_server.threads.metadata import Metadata
from app_server.threads.projects import Projects
from app_server.threads.search import Search
from app_server.threads.sections import Sections

if TYPE_CHECKING:
    from app_server.threads.manager import ThreadManager
    from app_server.threads.world import World


class Library:
    """One of each for the whole daemon."""

    def __init__(self, threads: "ThreadManager", world: "World", database: Database) -> None:
        store = world.thread_store
        self.projects = Projects(threads, world, ProjectStore(database))
        self.sections = Sections(threads, world, SectionStore(database, store))
        self.attachments = Attachments(threads, world, AttachmentStore(database, store))
        self.metadata = Metadata(threads, world, self.projects)
        self.search = Search(threads, world, database)
