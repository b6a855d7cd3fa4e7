"""What all tests share: hypothesis without deadlines, because a busy machine is no bug."""

from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if settings.get_current_profile_name() == "ci" else "here")
