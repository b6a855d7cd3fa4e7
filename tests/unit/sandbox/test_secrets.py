"""What of the daemon's own stays hidden, whatever a profile opens."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from app_server.sandbox.permissions import PermissionProfile, Secrets
from app_server.sandbox.sandbox import Confinement, SandboxedCommand


class Recorder:
    """A backend that keeps the profile it is given."""

    def __init__(self) -> None:
        self.profile: PermissionProfile | None = None

    async def available(self) -> None:
        """Always."""

    async def wrap(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        profile: PermissionProfile,
        terminal: bool = False,
        proxy_port: int | None = None,
    ) -> SandboxedCommand:
        """The command as it is."""
        self.profile = profile
        return SandboxedCommand(argv, env)


async def test_nothing_within_a_secret_is_opened(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "turnloom" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(home / "turnloom")
    backend = Recorder()
    opened = [f"{home}/turnloom", f"{home}/turnloom/deep", f"{tmp_path}/link/deep", f"{home}/auth.json"]
    fine = [str(tmp_path), str(home), f"{home}/turnloom2"]
    profile = PermissionProfile(
        "restricted", network=False, writable_roots=(*opened, *fine), readable_roots=(*fine, *opened)
    )
    await Confinement(backend, Secrets(home)).wrap(["true"], cwd="/", env={}, profile=profile)
    assert backend.profile is not None
    assert backend.profile.writable_roots == tuple(fine)
    assert backend.profile.readable_roots == tuple(fine)
    assert f"{home}/turnloom" in backend.profile.denied


async def test_without_secrets_the_profile_is_as_it_was() -> None:
    backend = Recorder()
    profile = PermissionProfile("restricted", network=False, writable_roots=("/a",))
    await Confinement(backend).wrap(["true"], cwd="/", env={}, profile=profile)
    assert backend.profile == profile
