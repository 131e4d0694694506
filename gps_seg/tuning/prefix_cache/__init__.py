"""The outputs of a frozen prefix, computed once, kept on the disk, and trained on."""

from gps_seg.tuning.prefix_cache.cache import PrefixCache
from gps_seg.tuning.prefix_cache.keeping import keep_prefix
from gps_seg.tuning.prefix_cache.plain import cache_prefix, turned
from gps_seg.tuning.prefix_cache.settings import CacheSettings

__all__ = ['CacheSettings', 'PrefixCache', 'cache_prefix', 'keep_prefix', 'turned']
