"""The source that the settings name."""

from polserve.serving.settings.settings import BUNDLED_POLICIES, Settings
from polserve.serving.sources.folder_source import FolderSource
from polserve.serving.sources.source import Source


def make_source(settings: Settings) -> Source:
    """Make the source: the registry when a tracking URI is set, else a folder.

    What follows a registry is started here: it takes longer to import its client than the service takes to start.

    Raises:
        ConfigurationError: neither can be used.
    """
    if not settings.mlflow_tracking_uri:
        folder = settings.policies or BUNDLED_POLICIES
        return FolderSource(folder, settings.policy, settings.poll_interval, settings.state_folder(folder))
    from polserve.serving.sources.follower_config import FollowerConfig
    from polserve.serving.sources.registry_source import RegistrySource

    source = RegistrySource(
        FollowerConfig(
            tracking_uri=settings.mlflow_tracking_uri,
            policies=settings.policy,
            aliases=settings.aliases,
            poll_interval_s=settings.poll_interval,
            cache_dir=str(settings.registry_cache),
            service=settings.service,
            max_artifact_bytes=settings.max_artifact_mib * 2**20,
            is_signed=settings.trusted_keys is not None,
        ),
        settings.max_silence,
    )
    source.warm_up()
    return source
