"""The integer engine: codes, gates, and steps that compute listed sites (design, sections 3 to
5)."""

from mquans.runtime.lowering.sites.analysis import (
    Analysis,
    Coding,
    analyse,
    is_site_layer,
    order_read,
)

__all__ = ["Analysis", "Coding", "analyse", "is_site_layer", "order_read"]
